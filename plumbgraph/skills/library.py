"""The library: every skill of its sources, found, ranked, opened and accounted for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from plumbgraph.content.digest import digest_of
from plumbgraph.errors import SkillInvalid
from plumbgraph.skills.catalog import Catalog, make_catalog
from plumbgraph.skills.events import SkillsSearched
from plumbgraph.skills.frontmatter import read_body, read_frontmatter
from plumbgraph.skills.merge import Shelf, merge
from plumbgraph.skills.package import files_of, package_digest, safe_path
from plumbgraph.skills.ranking.analysis import Vocabulary
from plumbgraph.skills.ranking.index import Index, Weights
from plumbgraph.skills.ranking.live import LiveIndex
from plumbgraph.skills.ranking.search import DenseScorer, SearchResult, named_first, rank
from plumbgraph.skills.sources.base import Source
from plumbgraph.skills.sources.directory import DirectorySource, default_cache
from plumbgraph.skills.tokens import TokenCounter, count_tokens
from plumbgraph.skills.values import SKILL_FILE, Report, Skill, SkillRecord
from plumbgraph.tracing import emit

CacheFolder = Path | str | None


class SkillLibrary:
    """Skills of several sources under one roof; needs no server.

    Of two skills with one name the earlier source wins; the other stays reachable as
    `source/name`, and the report names it. Every call but `refresh` works on the shelf as last
    seen; the first call scans.

    Args:
        sources: Folders or source objects in order of precedence; a single one may stand alone.
        cache: Folder to remember scans and the search index in, `None` for memory only.
        dense: An optional second opinion for `search`, for example sentence embeddings.
        weights: How `search` weighs its evidence.
        counter: Counts the tokens of a text; exact tokenizers fit here.
    """

    def __init__(
        self,
        sources: Iterable[Source | str | os.PathLike[str]] | Source | str | os.PathLike[str],
        *,
        cache: CacheFolder = "default",
        dense: DenseScorer | None = None,
        weights: Weights | None = None,
        counter: TokenCounter = count_tokens,
    ) -> None:
        self._cache = default_cache() if cache == "default" else Path(cache) if cache else None
        several = [sources] if isinstance(sources, (str, os.PathLike, Source)) else sources
        self.sources = _labelled([_source(source, self._cache) for source in several])
        self.counter = counter
        self._dense = dense
        self._lock = threading.RLock()
        self._shelf: Shelf | None = None
        self._live = LiveIndex(self._cache_file(), weights or Weights(), self._body)
        self._index: tuple[str, Index, tuple[SkillRecord, ...], Vocabulary] | None = None

    def refresh(self) -> Report:
        """Look at every source again; what changed is visible from now on."""
        with self._lock:
            self._shelf = merge([source.scan() for source in self.sources])
            return self._shelf.report

    def report(self) -> Report:
        """What loaded, what is shadowed, what was rejected and why."""
        return self._at_hand().report

    def __len__(self) -> int:
        return len(self._at_hand().by_name)

    def __contains__(self, name: object) -> bool:
        shelf = self._at_hand()
        return name in shelf.by_name or name in shelf.by_address

    @property
    def fingerprint(self) -> str:
        """Changes whenever a scan finds anything changed."""
        return self._at_hand().fingerprint

    def record(self, name: str) -> SkillRecord:
        """What the catalog knows of a skill; see `open` for the names it takes."""
        return self._at_hand().find(name)

    def search(self, query: str, k: int = 5) -> SearchResult:
        """The `k` skills nearest to a request, the best first, each with score and reason.

        `.fits` is False when nothing fits; the hits are then the nearest, not answers.
        """
        with self._lock:
            index, records, vocabulary = self._indexed()
        result = rank(index, vocabulary, records, query, k=k, dense=self._dense)
        named = self._at_hand().by_name.get("-".join(query.casefold().split()))
        if named is not None:
            result = named_first(result, named, k)
        emit(
            SkillsSearched(
                query_digest=digest_of(query.encode())[:16],
                k=k,
                fits=result.fits,
                names=tuple(hit.name for hit in result),
                scores=tuple(hit.score for hit in result),
            )
        )
        return result

    def catalog(
        self,
        token_budget: int = 4_000,
        *,
        query: str = "",
        pinned: Sequence[str] = (),
        recent: Sequence[str] = (),
        previous: Sequence[str] = (),
    ) -> Catalog:
        """What the model is told about the skills, within `token_budget` at any library size.

        Args:
            token_budget: Most tokens of the text, by the library's counter.
            query: What the user wants now; the best hits are described.
            pinned: Names that are always described.
            recent: Names loaded lately.
            previous: `shown` of the last turn's catalog: they keep their place unless something
                clearly better needs it, so that provider prompt caches survive.
        """
        shelf = self._at_hand()
        ranked = self.search(query, k=24) if query.strip() else None
        return make_catalog(
            shelf.report.loaded,
            token_budget=token_budget,
            ranked=ranked,
            pinned=pinned,
            recent=recent,
            previous=previous,
            counter=self.counter,
        )

    def open(self, name: str) -> Skill:
        """A skill with its instructions and every file, exactly as it is now.

        Args:
            name: Its name, `source/name`, or `source/location` for a shadowed one.

        Raises:
            SkillNotFound: No source offers it.
            SkillInvalid: It can no longer be read.
        """
        record = self._at_hand().find(name)
        return open_package(record, self._source_of(record).files(record))

    async def arefresh(self) -> Report:
        """See `refresh`."""
        return await asyncio.to_thread(self.refresh)

    async def areport(self) -> Report:
        """See `report`."""
        return await asyncio.to_thread(self.report)

    async def asearch(self, query: str, k: int = 5) -> SearchResult:
        """See `search`."""
        return await asyncio.to_thread(self.search, query, k)

    async def acatalog(
        self,
        token_budget: int = 4_000,
        *,
        query: str = "",
        pinned: Sequence[str] = (),
        recent: Sequence[str] = (),
        previous: Sequence[str] = (),
    ) -> Catalog:
        """See `catalog`."""
        return await asyncio.to_thread(
            self.catalog,
            token_budget,
            query=query,
            pinned=pinned,
            recent=recent,
            previous=previous,
        )

    async def aopen(self, name: str) -> Skill:
        """See `open`."""
        return await asyncio.to_thread(self.open, name)

    def _at_hand(self) -> Shelf:
        if self._shelf is None:
            with self._lock:
                if self._shelf is None:
                    self.refresh()
        assert self._shelf is not None
        return self._shelf

    def _source_of(self, record: SkillRecord) -> Source:
        return next(source for source in self.sources if source.label == record.source)

    def _indexed(self) -> tuple[Index, tuple[SkillRecord, ...], Vocabulary]:
        shelf = self._at_hand()
        if self._index is None or self._index[0] != shelf.fingerprint:
            records = shelf.report.loaded
            index, vocabulary = self._live.of(records)
            self._index = (shelf.fingerprint, index, records, vocabulary)
        return self._index[1:]

    def _body(self, record: SkillRecord) -> str:
        try:
            data = self._source_of(record).skill_md(record)
        except SkillInvalid:
            return ""
        return read_body(data)

    def _cache_file(self) -> Path | None:
        if self._cache is None:
            return None
        labels = "|".join(
            f"{source.label}={getattr(source, 'root', '')}" for source in self.sources
        )
        return self._cache / f"{hashlib.sha256(os.fsencode(labels)).hexdigest()[:32]}.index"


def open_package(record: SkillRecord, contents: Mapping[str, bytes]) -> Skill:
    """The skill a folder's files make.

    Raises:
        SkillInvalid: There is no readable `SKILL.md` among them, or a path leaves the folder.
    """
    for path in contents:
        if not safe_path(path):
            raise SkillInvalid(
                f"A file of {record.address!r} has the path {path!r}.",
                path=path,
                line=None,
                reason="skills.path_unsafe",
            )
    parsed = read_frontmatter(contents.get(SKILL_FILE, b""), f"{record.address}/{SKILL_FILE}")
    if parsed.fields is None:
        fault = parsed.diagnostics[-1]
        raise SkillInvalid(str(fault), path=fault.path, line=fault.line, reason=fault.code)
    return Skill(record, package_digest(contents), parsed.body, files_of(contents), dict(contents))


def _source(source: Source | str | os.PathLike[str], cache: Path | None) -> Source:
    if isinstance(source, (str, os.PathLike)):
        return DirectorySource(source, cache=cache)
    return source


def _labelled(sources: list[Source]) -> tuple[Source, ...]:
    """The sources, those with a label in use under `label-2`, `label-3`, and so on."""
    taken: set[str] = set()
    for source in sources:
        label, number = source.label, 1
        while source.label in taken:
            number += 1
            source.relabel(f"{label}-{number}")
        taken.add(source.label)
    return tuple(sources)

"""Loaded skills by digest: stored whole when loaded, read back the same bytes ever after."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from plumbgraph.content.digest import digest_of
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.content.store import Ref
from plumbgraph.skills.frontmatter import read_frontmatter
from plumbgraph.skills.package import blobs_of, read_manifest
from plumbgraph.skills.record import make_record
from plumbgraph.skills.render import Body
from plumbgraph.skills.values import SKILL_FILE, Skill, SkillFile, SkillRecord

_KEPT, _KEPT_TEXTS = 256, 2_048


class Blobs(Protocol):
    """The part of a blob store that skills use; see `plumbgraph.content.store.BlobStore`."""

    def put_many(self, blobs: Mapping[str, bytes], *, refs: Iterable[Ref] = ()) -> None:
        """Store content under its digests, durably."""

    def get_many(self, digests: Iterable[str]) -> dict[str, bytes]:
        """The content of each digest, verified."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A loaded skill as it was stored: what rendering and gating need, without the other files."""

    body: Body
    record: SkillRecord


class Bodies:
    """Reads and writes loaded skills in a blob store, with a small cache in memory.

    Args:
        blobs: Where content lies; a folder of the user's data by default.
    """

    def __init__(self, blobs: Blobs | None = None) -> None:
        self._chosen = blobs is not None
        self._blobs: Blobs = blobs or FolderBlobs(default_blob_folder(), space="skills")
        self._stored: OrderedDict[str, Stored] = OrderedDict()
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def prefer(self, blobs: Blobs) -> None:
        """Keep them there from now on, unless a place was chosen by name."""
        if not self._chosen:
            self._blobs, self._chosen = blobs, True
            self._stored.clear()
            self._texts.clear()

    def put(self, skill: Skill) -> Stored:
        """Store a skill whole; once it returns, its digest is enough to open it."""
        if (known := self._known(skill.digest)) is not None:
            return known
        owner = f"skill:{skill.name}"
        self._blobs.put_many(blobs_of(skill.contents), refs=[Ref(owner, skill.digest)])
        return self._keep(skill.digest, skill.contents[SKILL_FILE], skill.name, skill.files)

    def get(self, digest: str, name: str) -> Stored:
        """A stored skill.

        Raises:
            BlobMissing: It was never stored here, or its content is lost.
            SkillTampered: The digest is not a skill's.
        """
        if (known := self._known(digest)) is not None:
            return known
        files = read_manifest(self._blobs.get_many([digest])[digest])
        main = next(file.digest for file in files if file.path == SKILL_FILE)
        return self._keep(digest, self._blobs.get_many([main])[main], name, files)

    def files(self, digest: str, name: str, paths: Iterable[str] | None = None) -> dict[str, bytes]:
        """The bytes of a stored skill's files by path; all of them unless `paths` chooses."""
        known = {file.path: file.digest for file in self.get(digest, name).body.files}
        wanted = {path: known[path] for path in (known if paths is None else paths)}
        contents = self._blobs.get_many(wanted.values())
        return {path: contents[digest] for path, digest in wanted.items()}

    def put_texts(self, texts: Iterable[str]) -> list[str]:
        """Store texts and give their digests; what is known costs nothing."""
        given = list(texts)
        digests = [digest_of(text.encode()) for text in given]
        by_digest = dict(zip(digests, given, strict=True))
        with self._lock:
            fresh = {d: text for d, text in by_digest.items() if d not in self._texts}
        if fresh:
            refs = [Ref("skill-catalog", digest) for digest in fresh]
            self._blobs.put_many({d: text.encode() for d, text in fresh.items()}, refs=refs)
        for digest, text in by_digest.items():
            self._remember(self._texts, digest, text, _KEPT_TEXTS)
        return digests

    def texts(self, digests: Iterable[str]) -> list[str]:
        """Stored texts, read at once."""
        wanted = list(digests)
        with self._lock:
            found = {d: self._texts[d] for d in wanted if d in self._texts}
        if missing := [digest for digest in wanted if digest not in found]:
            found |= {d: data.decode() for d, data in self._blobs.get_many(missing).items()}
        for digest in wanted:
            self._remember(self._texts, digest, found[digest], _KEPT_TEXTS)
        return [found[digest] for digest in wanted]

    def _known(self, digest: str) -> Stored | None:
        with self._lock:
            return self._stored.get(digest)

    def _keep(self, digest: str, skill_md: bytes, name: str, files: Iterable[SkillFile]) -> Stored:
        parsed = read_frontmatter(skill_md, f"{name}/{SKILL_FILE}")
        record = make_record(parsed, source="loaded", location=name, folder=name)
        record = record or SkillRecord(name, "loaded", name, "")
        stored = Stored(Body(name, digest, parsed.body, tuple(files)), record)
        self._remember(self._stored, digest, stored, _KEPT)
        return stored

    def _remember(self, cache: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
        with self._lock:
            cache[key] = value
            cache.move_to_end(key)
            while len(cache) > most:
                cache.popitem(last=False)


def default_blob_folder() -> Path:
    """Where loaded skills are kept without a database: the user's data folder."""
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "plumbgraph" / "content"

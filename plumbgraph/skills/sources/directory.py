"""Skills of a folder on disk: one walk, validated by `stat`, remembered between processes."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.errors import SettingsError, SkillInvalid
from plumbgraph.skills.frontmatter import Parsed, read_frontmatter
from plumbgraph.skills.record import make_record
from plumbgraph.skills.sources.base import Scan
from plumbgraph.skills.sources.safe_read import open_folder, read_file, read_package, shown
from plumbgraph.skills.sources.scan_cache import (
    Folder,
    Found,
    Seen,
    list_folder,
    load_seen,
    save_seen,
)
from plumbgraph.skills.values import (
    RESOURCE_FOLDERS,
    SKILL_FILE,
    Diagnostic,
    Limits,
    Rejected,
    SkillRecord,
)

_RACY_NS = 50_000_000


def default_cache() -> Path:
    """Where scans are remembered unless told otherwise: the user's cache folder."""
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plumbgraph" / "skills"
    )


class DirectorySource:
    """Skills below a folder, found at any level down to `limits.depth`.

    A second scan costs two `stat` calls a skill; files are read again only when they changed.
    Symlinks are never followed: give the link's target as a source of its own.

    Args:
        root: The folder. It may be missing; the scan then says so.
        label: First part of qualified names; the folder's name when not given.
        cache: Folder to remember scans in across processes, `None` to remember them only in
            this object. The default is the user's cache folder.
        limits: What is read before a skill is refused.
        clock: Tells how fresh a file's time is; a file as young as the scan is read again.

    Raises:
        SettingsError: `root` cannot be a path at all.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        label: str | None = None,
        cache: Path | str | None = "default",
        limits: Limits | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.root = Path(root)
        if "\0" in str(self.root):
            raise SettingsError(f"{str(self.root)!r} cannot be a folder: it holds a NUL character.")
        self._label = label
        self._cache = default_cache() if cache == "default" else Path(cache) if cache else None
        self.limits = limits or Limits()
        self._clock = clock
        self._seen: Seen | None = None

    @property
    def label(self) -> str:
        """Name of the source."""
        return self._label or self.root.absolute().name or "root"

    def relabel(self, label: str) -> None:
        """Take another name; what was seen under the old one is forgotten."""
        self._label, self._seen = label, None

    def scan(self) -> Scan:
        """What the folder offers now."""
        with _collector_paused():
            return self._scan()

    def _scan(self) -> Scan:
        before = self._seen or load_seen(self._cache_file(), self._cache_key()) or Seen()
        walk = _Walk(self, before, round(self._clock.now() * 1e9) - _RACY_NS)
        scan = walk.run()
        if walk.seen.changed_since(before):
            failed = save_seen(self._cache_file(), self._cache_key(), walk.seen)
            scan = replace(scan, notices=(*scan.notices, *failed))
        self._seen = walk.seen
        return scan

    def skill_md(self, record: SkillRecord) -> bytes:
        """The `SKILL.md` of a record of this source."""
        folder = f"{self.root}/{record.location}"
        try:
            return read_file(f"{folder}/{SKILL_FILE}", self.limits.skill_md_bytes)
        except SkillInvalid as refused:
            if refused.reason != "skills.gone":
                raise
            return read_file(f"{folder}/{SKILL_FILE.lower()}", self.limits.skill_md_bytes)

    def files(self, record: SkillRecord) -> Mapping[str, bytes]:
        """Every file of the skill, `SKILL.md` under that very name."""
        with open_folder(str(self.root), record.location) as fd:
            found = read_package(fd, self.limits)
        if SKILL_FILE not in found and (body := found.pop(SKILL_FILE.lower(), None)) is not None:
            found[SKILL_FILE] = body
        return found

    def _cache_key(self) -> str:
        return f"{self.root.absolute()}|{self.label}|{self.limits}"

    def _cache_file(self) -> Path | None:
        if self._cache is None:
            return None
        return (
            self._cache / f"{hashlib.sha256(os.fsencode(self._cache_key())).hexdigest()[:32]}.json"
        )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cyclic collector from searching tens of thousands of lasting objects for garbage.

    They arise all at once and none of them is in a cycle; at ten thousand skills this is a third
    of the time.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()


class _Walk:
    """One scan: what was seen before goes in, what is there now comes out."""

    def __init__(self, source: DirectorySource, before: Seen, trusted_ns: int) -> None:
        self.source, self.before, self.trusted_ns = source, before, trusted_ns
        self.root = str(source.root)
        self.folder_name = source.root.absolute().name
        self.seen = Seen()
        self.records: list[SkillRecord] = []
        self.rejected: list[Rejected] = []
        self.notices: list[Diagnostic] = []

    def run(self) -> Scan:
        stack: list[tuple[str, str | None, bool]] = [("", None, False)]
        while stack:
            rel, owner, resource = stack.pop()
            if len(self.seen.folders) >= self.source.limits.folders:
                self._notice("skills.too_many_folders", "the scan stopped here", rel)
                break
            folder = self._folder(rel)
            if folder is None:
                continue
            if folder.skill_file:
                self._skill_file(rel, folder, owner=owner, resource=resource)
                owner = rel
            self._odd(rel, folder, owner)
            below = rel.count("/") + bool(rel)
            if folder.subfolders and below >= self.source.limits.depth:
                self._notice("skills.too_deep", "folders below are not searched", rel)
                continue
            for name in reversed(folder.subfolders):
                inner = resource or (owner is not None and name in RESOURCE_FOLDERS)
                stack.append((f"{rel}/{name}" if rel else name, owner, inner))
        return Scan(
            tuple(self.records), tuple(self.rejected), tuple(self.notices), self.seen.fingerprint()
        )

    def _path(self, rel: str, name: str = "") -> str:
        folder = f"{self.root}/{rel}" if rel else self.root
        return f"{folder}/{name}" if name else folder

    def _folder(self, rel: str) -> Folder | None:
        path = self._path(rel)
        try:
            mtime = os.stat(path, follow_symlinks=not rel).st_mtime_ns  # noqa: PTH116 - as above
            known = self.before.folders.get(rel)
            if known is None or known.mtime_ns != mtime or mtime > self.trusted_ns:
                known = list_folder(path, mtime)
        except OSError as error:
            self._notice("skills.unreadable", f"cannot be searched ({error.strerror})", rel)
            return None
        self.seen.folders[rel] = known
        return known

    def _skill_file(self, rel: str, folder: Folder, *, owner: str | None, resource: bool) -> None:
        if resource:
            message = f"it belongs to the skill in {shown(owner or '.')!r} as a resource"
            self._reject(rel, "skills.nested_resource", message)
            return
        try:
            found = self._found(rel, folder)
        except SkillInvalid as refused:
            self._reject(rel, refused.reason, refused.message)
            return
        if found.record is not None:
            self.records.append(found.record)
        else:
            self.rejected.append(Rejected(shown(self._path(rel)), found.diagnostics))

    def _found(self, rel: str, folder: Folder) -> Found:
        path = self._path(rel, folder.skill_file)
        try:
            status = os.lstat(path)
        except OSError as error:
            raise SkillInvalid("It vanished.", path=shown(path), reason="skills.gone") from error
        known = self.before.found.get(rel)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if known is None or known.stamp != stamp or status.st_mtime_ns > self.trusted_ns:
            data = read_file(path, self.source.limits.skill_md_bytes)
            known = self._parse(rel, folder, data, stamp)
        self.seen.found[rel] = known
        return known

    def _parse(self, rel: str, folder: Folder, data: bytes, stamp: tuple[int, int, int]) -> Found:
        parsed = read_frontmatter(data, shown(self._path(rel, folder.skill_file)))
        self._file_oddities(rel, folder, parsed)
        location = rel or "."
        record = make_record(
            parsed,
            source=self.source.label,
            location=location,
            folder=rel.rpartition("/")[2] or self.folder_name,
            fingerprint=hashlib.sha256(data).hexdigest()[:32],
        )
        return Found(stamp, record, tuple(parsed.diagnostics))

    def _file_oddities(self, rel: str, folder: Folder, parsed: Parsed) -> None:
        if folder.skill_file != SKILL_FILE:
            parsed.note("lowercase_file", "the file should be named SKILL.md", 1, "warning")
        if not rel.isascii() and rel != shown(rel):
            parsed.note("folder_name", "the folder's name is not UTF-8", None, "error")

    def _odd(self, rel: str, folder: Folder, owner: str | None) -> None:
        for name, code, holds_skill in folder.odd:
            path = shown(self._path(rel, name))
            diagnostic = Diagnostic(code, "left out: links and special files are not read", path)
            broken = code in {"skills.symlink_dangling", "skills.symlink_loop"}
            if holds_skill or (broken and (owner is None or name == SKILL_FILE)):
                refusal = Diagnostic(
                    code, "not followed: give its target as a source", path, level="error"
                )
                self.rejected.append(Rejected(path, (refusal,)))
            else:
                self.notices.append(diagnostic)

    def _reject(self, rel: str, code: str, message: str) -> None:
        path = shown(self._path(rel, SKILL_FILE))
        self.rejected.append(Rejected(path, (Diagnostic(code, message, path, level="error"),)))

    def _notice(self, code: str, message: str, rel: str) -> None:
        self.notices.append(Diagnostic(code, message, shown(self._path(rel))))

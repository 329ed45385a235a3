"""Skills of a local git clone, pinned to a commit: read from its objects, never checked out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from plumbgraph.errors import SkillInvalid
from plumbgraph.skills.frontmatter import read_frontmatter
from plumbgraph.skills.package import safe_path
from plumbgraph.skills.record import make_record
from plumbgraph.skills.sources.base import Scan
from plumbgraph.skills.values import (
    RESOURCE_FOLDERS,
    SKILL_FILE,
    Diagnostic,
    Limits,
    Rejected,
    SkillRecord,
)

_TIMEOUT_S = 60.0
_QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "core.fsmonitor=")


class GitSource:
    """Skills of a commit.

    The reference is resolved at every scan, so a branch moves on when the clone is fetched; give
    a commit's full hash to pin it. Nothing is fetched and no hook of the clone runs.

    Args:
        clone: The clone, with or without a working tree.
        ref: Branch, tag or commit.
        folder: Only skills below this folder of the tree.
        label: First part of qualified names; the clone's name when not given.
        limits: What is read before a skill is refused.
    """

    def __init__(
        self,
        clone: Path | str,
        ref: str = "HEAD",
        *,
        folder: str = "",
        label: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.root = Path(clone)
        self.ref = ref
        self.folder = folder.strip("/")
        self.commit = ""
        self._label = label or self.root.absolute().name.removesuffix(".git")
        self.limits = limits or Limits()
        self._tree: dict[str, tuple[str, str, int]] = {}
        self._scan: Scan | None = None
        self._cached: dict[str, bytes] = {}

    @property
    def label(self) -> str:
        """Name of the source."""
        return self._label

    def relabel(self, label: str) -> None:
        """Take another name."""
        self._label, self._scan, self.commit = label, None, ""

    def scan(self) -> Scan:
        """What the commit offers; read once, since a commit never changes."""
        try:
            commit = self._resolve()
            if self._scan is None or commit != self.commit:
                self.commit, self._tree = commit, self._list(commit)
                self._scan = self._read()
        except SkillInvalid as error:
            notice = Diagnostic("skills.git", error.message, str(self.root))
            return Scan(notices=(notice,), fingerprint="unreadable")
        return self._scan

    def skill_md(self, record: SkillRecord) -> bytes:
        """The `SKILL.md` of a record of this source."""
        return self._blob(_inside(record.location, SKILL_FILE), self.limits.skill_md_bytes)

    def files(self, record: SkillRecord) -> Mapping[str, bytes]:
        """Every regular file of the skill; symlinks and submodules are left out."""
        prefix = _inside(record.location, "")
        nested = [
            _folder(path)
            for path in self._skills()
            if _folder(path) != record.location and not _owner(path, [record.location])
        ]
        own = [
            path
            for path, (mode, _, _) in self._tree.items()
            if path.startswith(prefix)
            and mode.startswith("100")
            and safe_path(path.removeprefix(prefix))
            and not any(path.startswith(f"{n}/") and n.startswith(prefix) for n in nested)
        ]
        if any(self._tree[path][2] > self.limits.file_bytes for path in own):
            raise self._refuse("A file of the skill is too large", record.location)
        blobs = self._blobs(self._tree[path][1] for path in own)
        found = {path.removeprefix(prefix): blobs[self._tree[path][1]] for path in own}
        if len(found) > self.limits.package_files or sum(map(len, found.values())) > (
            self.limits.package_bytes
        ):
            raise self._refuse("The skill's folder holds too much", record.location)
        return found

    def _resolve(self) -> str:
        if self.ref.startswith("-"):
            raise self._refuse("A reference cannot begin with '-'", self.ref)
        return (
            self._git("rev-parse", "--verify", "--quiet", f"{self.ref}^{{commit}}").decode().strip()
        )

    def _list(self, commit: str) -> dict[str, tuple[str, str, int]]:
        where = [f"{self.folder}/"] if self.folder else []
        rows = self._git("ls-tree", "-r", "-z", "-l", commit, "--", *where).split(b"\0")
        tree: dict[str, tuple[str, str, int]] = {}
        for row in filter(None, rows):
            facts, _, path = row.partition(b"\t")
            mode, _, digest, size = facts.decode().split()
            name = path.decode("utf-8", "backslashreplace")
            tree[name] = (mode, digest, int(size) if size.isdigit() else 0)
        return tree

    def _skills(self) -> list[str]:
        return [path for path in self._tree if PurePosixPath(path).name == SKILL_FILE]

    def _read(self) -> Scan:
        records: list[SkillRecord] = []
        rejected: list[Rejected] = []
        owners: list[str] = []
        small = [self._tree[path] for path in self._skills()]
        self._blobs(d for _, d, size in small if size <= self.limits.skill_md_bytes)
        for path in sorted(self._skills(), key=lambda p: (p.count("/"), p)):
            found = self._record(path, owners)
            if isinstance(found, SkillRecord):
                records.append(found)
                owners.append(found.location)
            else:
                rejected.append(found)
        records.sort(key=lambda record: record.location)
        return Scan(tuple(records), tuple(rejected), (), self.commit)

    def _record(self, path: str, owners: list[str]) -> SkillRecord | Rejected:
        where = f"{self.label}@{self.commit[:12]}:{path}"
        if self._tree[path][0] == "120000":
            return _rejected(where, "skills.symlink", "a symbolic link is not followed")
        if owner := _owner(path, owners):
            return _rejected(where, "skills.nested_resource", f"it belongs to {owner!r}")
        try:
            data = self._blob(path, self.limits.skill_md_bytes)
        except SkillInvalid as refused:
            return _rejected(where, refused.reason, refused.message)
        parsed = read_frontmatter(data, where)
        record = make_record(
            parsed,
            source=self.label,
            location=_folder(path),
            folder=PurePosixPath(_folder(path)).name or self.label,
            fingerprint=self._tree[path][1],
        )
        return record or Rejected(where, tuple(parsed.diagnostics))

    def _blob(self, path: str, limit: int) -> bytes:
        if path not in self._tree:
            raise self._refuse("There is no such file in the commit", path)
        _, digest, size = self._tree[path]
        if size > limit:
            raise SkillInvalid(
                f"{path!r} has {size} bytes, more than {limit}.",
                path=path,
                line=None,
                reason="skills.too_large",
            )
        return self._blobs([digest])[digest]

    def _blobs(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Objects by digest, all in one call of git."""
        wanted = list(dict.fromkeys(digests))
        found = {digest: self._cached[digest] for digest in wanted if digest in self._cached}
        missing = [digest for digest in wanted if digest not in found]
        if missing:
            asked = "".join(f"{digest}\n" for digest in missing).encode()
            found |= _objects(self._git("cat-file", "--batch", given=asked))
        self._cached = found
        if absent := [digest for digest in wanted if digest not in found]:
            raise self._refuse("An object is not in the clone", absent[0])
        return found

    def _git(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["git", "-C", str(self.root), *_QUIET, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words, hashes and a checked reference
                command, capture_output=True, check=False, timeout=_TIMEOUT_S, input=given
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._refuse(f"git cannot be run ({error})", str(self.root)) from error
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[-1] if said else f"no commit {self.ref!r}"
            raise self._refuse(f"git refuses: {reason}", str(self.root))
        return done.stdout

    def _refuse(self, message: str, path: str) -> SkillInvalid:
        return SkillInvalid(f"{message}: {path!r}.", path=path, line=None, reason="skills.git")


def _objects(data: bytes) -> dict[str, bytes]:
    """The objects in the output of `git cat-file --batch`."""
    found: dict[str, bytes] = {}
    place = 0
    while place < len(data):
        end = data.index(b"\n", place)
        words = data[place:end].decode().split()
        if len(words) != 3:  # noqa: PLR2004 - digest, type, size; else "missing"
            place = end + 1
            continue
        size = int(words[2])
        found[words[0]] = data[end + 1 : end + 1 + size]
        place = end + 2 + size
    return found


def _rejected(path: str, code: str, message: str) -> Rejected:
    return Rejected(path, (Diagnostic(code, message, path, level="error"),))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _inside(location: str, name: str) -> str:
    return f"{location}/{name}" if location else name


def _owner(path: str, owners: list[str]) -> str:
    """The skill whose resource folder this path stands in, or nothing."""
    for owner in owners:
        inner = path.removeprefix(f"{owner}/" if owner else "")
        below = inner != path or not owner
        if below and RESOURCE_FOLDERS & set(inner.split("/")[:-1]):
            return owner or "."
    return ""

"""A skill's folder as one digest: the manifest that names every file, and back again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plumbgraph.content.digest import digest_of, is_digest
from plumbgraph.errors import SkillTampered
from plumbgraph.skills.values import SkillFile

_HEADER = b"plumbgraph skill 1\n"


def manifest_of(files: Iterable[SkillFile]) -> bytes:
    """The manifest: a header, then a line for each file, sorted by path.

    Its own digest is the digest of the skill, so that one blob store holds both.
    """
    lines = [
        f"{file.digest} {file.size_bytes} {file.path}\n" for file in sorted(files, key=_by_path)
    ]
    return _HEADER + "".join(lines).encode("utf-8", "surrogateescape")


def files_of(contents: Mapping[str, bytes]) -> tuple[SkillFile, ...]:
    """Each file of a folder with its digest, sorted by path."""
    files = (SkillFile(path, digest_of(data), len(data)) for path, data in contents.items())
    return tuple(sorted(files, key=_by_path))


def package_digest(contents: Mapping[str, bytes]) -> str:
    """The digest of a whole folder."""
    return digest_of(manifest_of(files_of(contents)))


def read_manifest(manifest: bytes) -> tuple[SkillFile, ...]:
    """The files a manifest names.

    Raises:
        SkillTampered: It is not a manifest, or names a path outside the skill.
    """
    if not manifest.startswith(_HEADER):
        raise SkillTampered("The stored content is not a skill's manifest.")
    text = manifest[len(_HEADER) :].decode("utf-8", "surrogateescape")
    return tuple(_file(line) for line in text.removesuffix("\n").split("\n"))


def blobs_of(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Everything to store so that the skill can be opened by its digest alone."""
    files = files_of(contents)
    manifest = manifest_of(files)
    return {
        digest_of(manifest): manifest,
        **{file.digest: contents[file.path] for file in files},
    }


class SkillTracer:
    """Tells a blob store's `collect` that a skill's manifest keeps its files alive."""

    def __init__(self) -> None:
        self._manifests: set[str] = set()

    def starts(self, root: str) -> Iterable[str]:
        """The skill's manifest, whose digest is the skill's."""
        self._manifests.add(root)
        return (root,)

    def holds(self, digest: str) -> bool:
        """Manifests name other content; files do not."""
        return digest in self._manifests

    def children(self, digest: str, data: bytes) -> Iterable[str]:
        """The files a manifest names."""
        if digest not in self._manifests or not data.startswith(_HEADER):
            return ()
        return tuple(file.digest for file in read_manifest(data))


def safe_path(path: str) -> bool:
    """Whether a path stays inside the skill's folder."""
    parts = path.split("/")
    return not any(c in path for c in "\0\n\r\\") and not set(parts) & {"", ".", ".."}


def _file(line: str) -> SkillFile:
    digest, _, rest = line.partition(" ")
    size, _, path = rest.partition(" ")
    if not (is_digest(digest) and size.isdigit() and safe_path(path)):
        raise SkillTampered(f"A manifest line is not sound: {line[:120]!r}.")
    return SkillFile(path, digest, int(size))


def _by_path(file: SkillFile) -> str:
    return file.path

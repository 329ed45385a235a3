"""Skills that come with installed Python packages: as package data, or by entry points."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from plumbgraph.skills.sources.base import Scan
from plumbgraph.skills.sources.directory import DirectorySource
from plumbgraph.skills.values import Diagnostic, Limits, SkillRecord

GROUP = "plumbgraph.skills"


class PackageSource:
    """Skills in a folder of an installed package; none of the package's code is run.

    Args:
        package: Name of the importable package.
        folder: The folder inside it.
        label: First part of qualified names; the package's name when not given.
        cache: See `DirectorySource`.
        limits: What is read before a skill is refused.
    """

    def __init__(
        self,
        package: str,
        folder: str = "skills",
        *,
        label: str | None = None,
        cache: Path | str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.package, self.folder = package, folder
        self._label = label or package
        self._cache, self._limits = cache, limits
        self._inner: DirectorySource | None = None

    @property
    def label(self) -> str:
        """Name of the source."""
        return self._label

    def relabel(self, label: str) -> None:
        """Take another name."""
        self._label, self._inner = label, None

    def scan(self) -> Scan:
        """What the package offers; a package that is not there is a notice."""
        if self._inner is None:
            found = package_folder(self.package)
            if found is None:
                message = f"the package {self.package!r} is not installed as files"
                return Scan(notices=(Diagnostic("skills.no_package", message, self.label),))
            self._inner = DirectorySource(
                found / self.folder, label=self.label, cache=self._cache, limits=self._limits
            )
        return self._inner.scan()

    def skill_md(self, record: SkillRecord) -> bytes:
        """The `SKILL.md` of a record of this source."""
        return self._opened().skill_md(record)

    def files(self, record: SkillRecord) -> Mapping[str, bytes]:
        """Every file of the skill."""
        return self._opened().files(record)

    def _opened(self) -> DirectorySource:
        if self._inner is None:
            self.scan()
        assert self._inner is not None
        return self._inner


def entry_point_sources(
    group: str = GROUP, *, cache: Path | str | None = None
) -> list[PackageSource]:
    """A source for each entry point of the group, sorted by name; none of them is imported.

    A package offers its skills with `[project.entry-points."plumbgraph.skills"]` and a line
    `name = "its.package"`, or `name = "its.package:folder"`; the folder is `skills` by default.
    """
    found = sorted(entry_points(group=group), key=lambda point: (point.name, point.value))
    return [_of(point, cache) for point in found]


def package_folder(package: str) -> Path | None:
    """Where a package's files stand, found without importing it (parents excepted)."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _of(point: EntryPoint, cache: Path | str | None) -> PackageSource:
    folder = (point.attr or "skills").replace(".", "/")
    return PackageSource(point.module, folder, label=point.name, cache=cache)

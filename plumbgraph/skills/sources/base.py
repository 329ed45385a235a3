"""What a source of skills must do, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from plumbgraph.skills.values import Diagnostic, Rejected, SkillRecord


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at a source found.

    Attributes:
        records: Sound skills in a stable order; of two with one name the first wins.
        rejected: Every `SKILL.md` that is not among the records.
        notices: What is odd but is no skill: a symlink left out, a registry that is down.
        fingerprint: Equal for two scans that found the same.
    """

    records: tuple[SkillRecord, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    notices: tuple[Diagnostic, ...] = ()
    fingerprint: str = ""


@runtime_checkable
class Source(Protocol):
    """A place that offers skills. Both methods block; async callers use a thread."""

    @property
    def label(self) -> str:
        """Name of the source, the first part of qualified names."""

    def relabel(self, label: str) -> None:
        """Take another name, because an earlier source of the library has this one."""

    def scan(self) -> Scan:
        """What the source offers now. Raises nothing: what is wrong stands in the scan."""

    def skill_md(self, record: SkillRecord) -> bytes:
        """The `SKILL.md` of a record of this source.

        Raises:
            SkillInvalid: It is gone or no longer readable.
        """

    def files(self, record: SkillRecord) -> Mapping[str, bytes]:
        """Every file of the skill by its path inside the skill's folder.

        Raises:
            SkillInvalid: The folder is gone, too large, or holds what a skill must not.
        """

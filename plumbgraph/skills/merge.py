"""Many sources, one set of names: who wins, who is shadowed, and that nobody is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plumbgraph.errors import SkillNotFound
from plumbgraph.skills.sources.base import Scan
from plumbgraph.skills.values import Diagnostic, Report, Shadowed, SkillRecord


@dataclass(frozen=True, slots=True)
class Shelf:
    """Every skill of a library at one moment.

    Attributes:
        report: What loaded, what is shadowed and what was rejected.
        by_name: The winners by name.
        by_address: Every sound skill by `source/name` and by `source/location`.
    """

    report: Report
    by_name: dict[str, SkillRecord]
    by_address: dict[str, SkillRecord]
    fingerprint: str

    def find(self, name: str) -> SkillRecord:
        """The skill of a name, of `source/name`, or of `source/location`.

        Raises:
            SkillNotFound: With the nearest names as a hint.
        """
        record = self.by_name.get(name) or self.by_address.get(name)
        if record is not None:
            return record
        near = [known for known in self.by_name if name.casefold() in known.casefold()][:5]
        hint = f"Did you mean {', '.join(map(repr, near))}?" if near else None
        raise SkillNotFound(f"There is no skill {name[:120]!r}.", hint=hint, skill=name)


def merge(scans: Sequence[Scan]) -> Shelf:
    """One shelf from scans in order of precedence: of two equal names the earlier wins.

    Names that differ only in case collide too, because a model and many disks cannot tell them
    apart; within one source the lower-case one, which the standard asks for, wins.
    """
    by_name: dict[str, SkillRecord] = {}
    by_address: dict[str, SkillRecord] = {}
    by_case: dict[str, SkillRecord] = {}
    shadowed: list[Shadowed] = []
    for record in (record for scan in scans for record in sorted(scan.records, key=_odd_case)):
        by_address.setdefault(record.address, record)
        winner = by_case.setdefault(record.name.casefold(), record)
        if winner is record:
            by_name[record.name] = record
        else:
            shadowed.append(Shadowed(record, winner, _collision(record, winner)))
    for record in [*by_name.values(), *(s.record for s in shadowed)]:
        by_address.setdefault(record.qualified, record)
    report = Report(
        tuple(by_name.values()),
        tuple(shadowed),
        tuple(rejected for scan in scans for rejected in scan.rejected),
        tuple(notice for scan in scans for notice in scan.notices),
    )
    return Shelf(report, by_name, by_address, "|".join(scan.fingerprint for scan in scans))


def _odd_case(record: SkillRecord) -> bool:
    return record.name != record.name.casefold()


def _collision(record: SkillRecord, winner: SkillRecord) -> Diagnostic:
    same = record.name == winner.name
    code = "skills.shadowed" if same else "skills.case_collision"
    message = f"{record.name!r} is hidden by {winner.address!r}; open it as {record.address!r}"
    return Diagnostic(code, message, record.address)

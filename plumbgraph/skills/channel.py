"""The state of loaded skills: references only, merged so that parallel writers lose nothing.

These keys persist in threads, so they are a contract: `VERSION` counts its changes, and
`upgraded` reads every earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from typing_extensions import TypedDict

VERSION = 2

Mode = Literal["bounded", "pinned", "turn"]


class SkillEntry(TypedDict):
    """One loaded or unloaded skill, about 200 bytes in a checkpoint.

    Attributes:
        rev: Lamport time of the last load or unload; the highest wins.
        used: Lamport time of the last use, for least-recently-used eviction.
        at: Lamport time of loading: the order in the prompt.
        digest: The exact folder that was loaded. Absent in a tombstone.
        tokens: What its instructions cost in the prompt.
        mode: `bounded` may be put down to make room, `pinned` never, `turn` at the turn's end.
        gone: True in a tombstone: unloaded at `rev`, so that an older load cannot return.
        why: In a tombstone: `asked`, `budget` or `turn`.
        drifted: True once the model is told that the source has changed.
    """

    rev: int
    used: int
    at: NotRequired[int]
    digest: NotRequired[str]
    tokens: NotRequired[int]
    mode: NotRequired[Mode]
    gone: NotRequired[bool]
    why: NotRequired[str]
    drifted: NotRequired[bool]


class CatalogRef(TypedDict):
    """The catalog of the current turn, by digest.

    Attributes:
        turn: The turn it was made for.
        digest: The text before the described skills; the whole text where there are no `lines`,
            as in version 1.
        shown: Names described in it.
        lines: Digest of each described skill's line. Turns of many threads share them, so what is
            stored grows with the library's versions and not with the turns.
    """

    turn: str
    digest: str
    shown: list[str]
    lines: NotRequired[list[str]]


def merge_skills(
    left: Mapping[str, SkillEntry] | None, right: Mapping[str, SkillEntry] | None
) -> dict[str, SkillEntry]:
    """Both sides' entries; of one skill's two entries the later load or unload wins.

    The merge is commutative, associative and idempotent: it takes the maximum of a total order,
    and the maximum of `used`. On equal `rev` a load beats an unload.
    """
    merged: dict[str, SkillEntry] = {name: upgraded(entry) for name, entry in (left or {}).items()}
    for name, entry in (right or {}).items():
        new, old = upgraded(entry), merged.get(name)
        merged[name] = new if old is None else _later(old, new)
    return {name: merged[name] for name in sorted(merged)}


def merge_catalog(left: CatalogRef | None, right: CatalogRef | None) -> CatalogRef | None:
    """The newer write, so that parallel branches of one turn do not conflict."""
    return left if right is None else right


class SkillState(TypedDict, total=False):
    """State keys of the skills part; mix it into a graph's state."""

    skills: Annotated[dict[str, SkillEntry], merge_skills]
    skills_catalog: Annotated[CatalogRef | None, merge_catalog]


def loaded_entry(
    entries: Mapping[str, SkillEntry], digest: str, tokens: int, *, mode: Mode = "bounded"
) -> SkillEntry:
    """The entry of a skill loaded now."""
    now = clock_of(entries) + 1
    return {"rev": now, "used": now, "at": now, "digest": digest, "tokens": tokens, "mode": mode}


def unloaded_entry(entries: Mapping[str, SkillEntry], name: str, why: str) -> SkillEntry:
    """The tombstone of a skill unloaded now."""
    return {"rev": clock_of(entries) + 1, "used": entries[name]["used"], "gone": True, "why": why}


def used_entry(entries: Mapping[str, SkillEntry], name: str) -> SkillEntry:
    """The entry of a loaded skill that is used now."""
    entry = entries[name].copy()
    entry["used"] = clock_of(entries) + 1
    return entry


def clock_of(entries: Mapping[str, SkillEntry]) -> int:
    """The highest Lamport time seen."""
    return max((max(entry["rev"], entry["used"]) for entry in entries.values()), default=0)


def active(entries: Mapping[str, SkillEntry] | None) -> dict[str, SkillEntry]:
    """The skills that are loaded, in the order they were loaded."""
    present = {name: e for name, e in (entries or {}).items() if not e.get("gone")}
    return dict(sorted(present.items(), key=lambda item: (item[1]["at"], item[0])))


def drifted_entry(entries: Mapping[str, SkillEntry], name: str) -> SkillEntry:
    """The entry of a loaded skill whose source was found changed now."""
    entry = entries[name].copy()
    entry["rev"], entry["drifted"] = clock_of(entries) + 1, True
    return entry


def upgraded(entry: Mapping[str, Any]) -> SkillEntry:
    """An entry of any version as one of this version; unknown keys are kept."""
    known: Any = dict(entry)
    known.setdefault("rev", 0)
    known.setdefault("used", known["rev"])
    if not known.get("gone"):
        known.setdefault("at", known["rev"])
        known.setdefault("tokens", 0)
    entry_now: SkillEntry = known
    return entry_now


def _later(left: SkillEntry, right: SkillEntry) -> SkillEntry:
    winner = max(left, right, key=_order)
    used = max(left["used"], right["used"])
    if winner["used"] == used:
        return winner
    merged = winner.copy()
    merged["used"] = used
    return merged


def _order(entry: SkillEntry) -> tuple[int, bool, str]:
    facts = sorted((key, str(value)) for key, value in entry.items() if key != "used")
    return entry["rev"], not entry.get("gone"), repr(facts)

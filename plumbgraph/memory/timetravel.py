"""Which version of an item counted at some moment, and what changed between two versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plumbgraph.memory.records import Record, Version, from_us

_ASIDE = ("late", "outvoted")


def by_version(records: Sequence[Record], version: int) -> Record | None:
    """The version with this number, if it is still known and no deletion."""
    found = next((r for r in records if r.version == version), None)
    return None if found is None or found.kind == "deleted" else found


def as_known_at(records: Sequence[Record], at_us: int) -> Record | None:
    """The version that was current at a moment of transaction time."""
    known = [r for r in records if r.updated_us <= at_us and r.kind not in _ASIDE]
    latest = max(known, key=lambda r: r.updated_us, default=None)
    return None if latest is None or latest.kind == "deleted" else latest


def valid_at(
    records: Sequence[Record], at_us: int, *, known_us: int | None = None
) -> Record | None:
    """The version that describes a moment of valid time, as known at a moment, by default now.

    Of the versions that cover the moment, the one whose validity began last; of equals, the one
    written last. A deletion takes back everything before it. Outvoted claims never count.
    """
    known = [r for r in records if known_us is None or r.updated_us <= known_us]
    cut = max((r.updated_us for r in known if r.kind == "deleted"), default=-1)
    covering = [
        r for r in known if r.updated_us > cut and r.kind != "outvoted" and r.holds_at(at_us)
    ]
    return max(covering, key=lambda r: (r.valid_from_us, r.updated_us), default=None)


def versions(records: Sequence[Record]) -> list[Version]:
    """The history as values, newest first."""
    ordered = sorted(records, key=lambda r: r.version, reverse=True)
    told: list[Version] = []
    next_us: int | None = None
    for record in ordered:
        aside = record.kind in _ASIDE
        told.append(_version(record, record.updated_us if aside else next_us))
        if not aside:
            next_us = record.updated_us
    return told


def _version(record: Record, superseded_us: int | None) -> Version:
    return Version(
        version=record.number,
        kind=record.kind,
        value=None if record.kind == "deleted" else record.value,
        at=from_us(record.updated_us),
        superseded_at=None if superseded_us is None else from_us(superseded_us),
        valid_from=from_us(record.valid_from_us),
        valid_to=None if record.to_us is None else from_us(record.to_us),
        marks=record.marks,
        provenance=record.provenance,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One place in which two values differ; `None` on the side where it is missing.

    Attributes:
        path: Keys and list positions, joined by dots.
        op: `added`, `removed` or `changed`.
    """

    path: str
    op: str
    before: Any
    after: Any


def difference(before: Any, after: Any, path: str = "") -> list[Change]:
    """Every place in which two JSON values differ, in the order of the keys."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _difference_of(before, after, sorted({*before, *after}), path)
    if isinstance(before, list) and isinstance(after, list):
        left, right = dict(enumerate(before)), dict(enumerate(after))
        return _difference_of(left, right, sorted({*left, *right}), path)
    return [Change(path, "changed", before, after)]


def _difference_of(
    before: Mapping[Any, Any], after: Mapping[Any, Any], keys: Sequence[Any], path: str
) -> list[Change]:
    changes: list[Change] = []
    for key in keys:
        place = f"{path}.{key}" if path else str(key)
        if key not in before:
            changes.append(Change(place, "added", None, after[key]))
        elif key not in after:
            changes.append(Change(place, "removed", before[key], None))
        else:
            changes.extend(difference(before[key], after[key], place))
    return changes

"""Operations as values: what `batch` and `abatch` carry besides LangGraph's own four."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.records import Marks, Moment, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write an item; the result is its new version.

    Attributes:
        ttl: Minutes to live after the last access; `None` for no end.
        if_version: Write only over this version; 0 means only where there is nothing.
        valid_from: Since when the value is true; by default, since it was written.
        valid_to: Until when it is true.
        idempotency_key: A repeat with the same key writes nothing and returns the same version.
    """

    namespace: Namespace
    key: str
    value: Mapping[str, Any]
    ttl: float | None = None
    if_version: int | None = None
    valid_from: Moment | None = None
    valid_to: Moment | None = None
    idempotency_key: str = ""
    marks: Marks = field(default_factory=Marks)
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete an item; the result says whether there was one."""

    namespace: Namespace
    key: str
    if_version: int | None = None
    idempotency_key: str = ""
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Read one item; the result is the item or `None`.

    Attributes:
        as_of: A version number (an int), or a moment of transaction time: what was known then.
        valid_at: A moment of valid time: what was true then.
    """

    namespace: Namespace
    key: str
    as_of: Moment | None = None
    valid_at: Moment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Read the versions of one item, newest first."""

    namespace: Namespace
    key: str

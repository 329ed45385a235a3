"""A thread's checkpoints as steps: what each one added, without decoding its whole state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import decode, load_item
from plumbgraph.state.core import Core
from plumbgraph.state.frames import Item
from plumbgraph.state.ids import unpack_id
from plumbgraph.state.reading import Stored, Write, absorb, in_order, items_of
from plumbgraph.state.refs import Kind, Numbered, Ref
from plumbgraph.state.spans import Span, minus
from plumbgraph.state.statements import STEPS

_PAGE = 500
_WHOLE = (Kind.INLINE, Kind.SINGLE)
_DELTAS = (Kind.DELTA_LIST, Kind.DELTA_DICT)
_TRIGGER = "branch:to:"


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One checkpoint as `steps` tells it.

    Attributes:
        step: The step's number; -1 is the input of a first run.
        source: "input", "loop", "update" or "fork".
        ts: When it was made, as LangGraph wrote it.
        branch: Empty for the first branch, else the id of the fork it descends from.
        changed: The channels whose version differs from the parent's.
        next: The nodes it triggers.
        added: By list channel, the elements the parent does not have; for a DeltaChannel, what
            the parent's tasks wrote to it.
        values: The values of small channels and of those that were asked for, whole.
        errors: Task and error of each task that failed on it.
        interrupts: Task and value of each question it asked.
        answered: Whether an answer to its questions is stored.
        wrote: Task ids whose ordinary writes are stored, in no particular order.
    """

    checkpoint_id: str
    parent_id: str | None
    step: int
    source: str
    ts: str
    branch: str
    metadata: Mapping[str, Any]
    changed: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    added: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    errors: tuple[tuple[str, Any], ...] = ()
    interrupts: tuple[tuple[str, Any], ...] = ()
    answered: bool = False
    wrote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    stored: Stored
    skeleton: Mapping[str, Any]
    metadata: Mapping[str, Any]
    refs: Mapping[str, Ref]
    writes: Sequence[tuple[Write, list[Numbered]]]

    @property
    def deltas(self) -> set[str]:
        """The DeltaChannels, whose additions are what tasks wrote."""
        counted = set(self.metadata.get("counters_since_delta_snapshot") or ())
        return counted | {name for name, ref in self.refs.items() if ref.kind in _DELTAS}


def steps(
    core: Core,
    serde: SerializerProtocol,
    stream: tuple[str, str, str],
    channels: Collection[str],
    limit: int | None,
) -> SqlPlan[list[StepInfo]]:
    """The newest steps of a namespace, oldest first; each element is decoded once."""
    found: list[_Opened] = []
    # One more than asked for, so that the oldest has its parent to be compared with.
    most = None if limit is None else limit + 1
    while most is None or len(found) < most:
        size = _PAGE if most is None else min(_PAGE, most - len(found))
        last = found[-1].stored.id if found else None
        page = yield from _page(core, serde, stream, last, size)
        found += page
        if len(page) < size:
            break
    found.reverse()
    told = yield from _told(core, serde, found, channels)
    return told if limit is None else told[-limit:]


def _page(
    core: Core,
    serde: SerializerProtocol,
    stream: tuple[str, str, str],
    before: bytes | None,
    most: int,
) -> SqlPlan[list[_Opened]]:
    tenant, thread, ns = stream
    params = {"tenant": tenant, "thread": thread, "ns": ns, "before": before, "most": str(most)}
    rows = absorb(core, tenant, (yield (Statement(STEPS, params),))[0])
    rows.sort(key=lambda stored: stored.id, reverse=True)
    return [_open(stored, serde) for stored in rows]


def _open(stored: Stored, serde: SerializerProtocol) -> _Opened:
    skeleton, metadata, _ = stored.opened()
    return _Opened(
        stored,
        load_item(serde, as_item(skeleton)),
        load_item(serde, as_item(metadata)),
        stored.refs(),
        [(write, write.refs()) for write in stored.writes],
    )


def as_item(stored: Any) -> Item:
    """An item as msgpack gave it back."""
    return tuple(stored) if isinstance(stored, list) else stored


def _told(
    core: Core, serde: SerializerProtocol, found: Sequence[_Opened], channels: Collection[str]
) -> SqlPlan[list[StepInfo]]:
    by_id = {each.stored.id: each for each in found}
    told = []
    for each in found:
        parent = by_id.get(each.stored.parent or b"")
        before: Mapping[str, Ref] = parent.refs if parent is not None else {}
        fresh = _fresh(each, before)
        whole = {n: ref for n, ref in each.refs.items() if ref.kind in _WHOLE or n in channels}
        wrote = _delta_writes(each, parent)
        # Beside a list that is stored whole in its row, elements are compared by value.
        old = {
            name: before[name]
            for name, ref in fresh.items()
            if name in before and Kind.INLINE in (ref.kind, before[name].kind)
        }
        named = [*fresh.values(), *whole.values(), *old.values()]
        named += [ref for refs in wrote.values() for ref in refs]
        items = yield from items_of(core, named, each.stored.cipher)
        added = {}
        for name, ref in fresh.items():
            known = _list(serde, old[name], items) if name in old else []
            added[name] = tuple(v for v in _list(serde, ref, items) if v not in known)
        for name, refs in wrote.items():
            added[name] = tuple(v for ref in refs for v in _list(serde, ref, items))
        values = {name: decode(serde, ref, items)[0] for name, ref in whole.items()}
        told.append(_info(each, parent, {n: v for n, v in added.items() if v}, values, serde))
    return told


def _fresh(each: _Opened, before: Mapping[str, Ref]) -> dict[str, Ref]:
    """The new part of each list, as a reference of its own."""
    fresh = {}
    for name, ref in each.refs.items():
        if name in each.deltas or ref == before.get(name):
            continue
        old = before.get(name)
        if ref.kind is Kind.INLINE:
            fresh[name] = ref
        elif ref.kind is Kind.LIST:
            known = () if old is None or old.kind is Kind.INLINE else old.spans
            if spans := minus(ref.spans, known):
                fresh[name] = Ref(Kind.LIST, None, tuple(spans))
    return fresh


def _delta_writes(each: _Opened, parent: _Opened | None) -> dict[str, list[Ref]]:
    if parent is None or not each.deltas:
        return {}
    found: dict[str, list[Ref]] = {}
    for write, name, ref in in_order(parent.writes):
        if write.slot >= 0 and name in each.deltas:
            found.setdefault(name, []).append(ref)
    return found


def _list(serde: SerializerProtocol, ref: Ref, items: Mapping[Span, Any]) -> list[Any]:
    value = decode(serde, ref, items)[0]
    return value if isinstance(value, list) else []


def _info(
    each: _Opened,
    parent: _Opened | None,
    added: Mapping[str, tuple[Any, ...]],
    values: Mapping[str, Any],
    serde: SerializerProtocol,
) -> StepInfo:
    stored = each.stored
    now = each.skeleton["channel_versions"]
    then = parent.skeleton["channel_versions"] if parent is not None else {}
    special = [
        (write.task, name, decode(serde, ref, {})[0])
        for write, refs in each.writes
        if write.slot < 0
        for _, name, ref in refs
    ]
    return StepInfo(
        checkpoint_id=unpack_id(stored.id),
        parent_id=unpack_id(stored.parent) if stored.parent else None,
        step=int(each.metadata.get("step", -1)),
        source=str(each.metadata.get("source", "loop")),
        ts=str(each.skeleton.get("ts", "")),
        branch="" if stored.branch is None else stored.branch.hex(),
        metadata=each.metadata,
        changed=tuple(sorted(name for name, v in now.items() if then.get(name) != v)),
        next=triggered(each.refs),
        added=added,
        values=values,
        errors=tuple((task, value) for task, name, value in special if name == ERROR),
        interrupts=tuple((task, v) for task, name, v in special if name == INTERRUPT),
        answered=any(name == RESUME for _, name, _ in special),
        wrote=tuple({write.task: None for write, _ in each.writes if write.slot >= 0}),
    )


def triggered(names: Iterable[str]) -> tuple[str, ...]:
    """The nodes that full trigger channels name."""
    waiting = {name.removeprefix(_TRIGGER) for name in names if name.startswith(_TRIGGER)}
    return tuple(sorted(waiting | ({"__start__"} if "__start__" in names else set())))


def of_tuples(found: Sequence[CheckpointTuple], channels: Collection[str]) -> list[StepInfo]:
    """Steps of checkpoints that were read whole, newest first; the result is oldest first."""
    by_id = {each.checkpoint["id"]: each for each in found}
    return [_of_tuple(each, by_id.get(_parent(each) or ""), channels) for each in reversed(found)]


def _parent(each: CheckpointTuple) -> str | None:
    return each.parent_config["configurable"]["checkpoint_id"] if each.parent_config else None


def _of_tuple(
    each: CheckpointTuple, parent: CheckpointTuple | None, channels: Collection[str]
) -> StepInfo:
    checkpoint, metadata = each.checkpoint, each.metadata
    before = parent.checkpoint if parent is not None else None
    values = checkpoint["channel_values"]
    then = before["channel_versions"] if before is not None else {}
    versions = checkpoint["channel_versions"]
    changed = tuple(sorted(name for name, v in versions.items() if then.get(name) != v))
    old = before["channel_values"] if before is not None else {}
    fresh = ((name, values[name]) for name in changed if isinstance(values.get(name), list))
    added = {n: tuple(v for v in now if v not in (old.get(n) or ())) for n, now in fresh}
    special = each.pending_writes or []
    return StepInfo(
        checkpoint_id=checkpoint["id"],
        parent_id=_parent(each),
        step=int(metadata.get("step", -1)),
        source=str(metadata.get("source", "loop")),
        ts=checkpoint["ts"],
        branch="",
        metadata=metadata,
        changed=changed,
        next=triggered(values),
        added={name: new for name, new in added.items() if new},
        values={n: v for n, v in values.items() if n in channels or not isinstance(v, list | dict)},
        errors=tuple((task, v) for task, name, v in special if name == ERROR),
        interrupts=tuple((task, v) for task, name, v in special if name == INTERRUPT),
        answered=any(name == RESUME for _, name, _ in special),
        wrote=tuple({task: None for task, name, _ in special if name not in WRITES_IDX_MAP}),
    )

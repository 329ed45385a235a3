"""Plans of reads: one statement brings checkpoints, their writes and the missing elements."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import DataCorrupt
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import Molds, decode, load_item
from plumbgraph.state.context import StreamKey, on_branch, read_explicitly, reading_of
from plumbgraph.state.core import Core
from plumbgraph.state.frames import Cipher, Item, loads, place, unpack_items, unwrap
from plumbgraph.state.ids import pack_id, unpack_id
from plumbgraph.state.refs import (
    Channels,
    Kind,
    Numbered,
    Ref,
    Shelf,
    Tracked,
    load,
    load_writes,
)
from plumbgraph.state.spans import BLOCK, Span
from plumbgraph.state.statements import CHAIN, ELEMENTS, GET, array

_CHAIN = 64


@dataclass(slots=True)
class Stored:
    """One checkpoint as it came from the database."""

    number: int
    id: bytes
    parent: bytes | None
    body: bytes
    spans: list[int]
    ns: str
    thread: str
    head: bytes | None
    branch: bytes | None
    generation: int
    cipher: Cipher | None
    writes: list[Write] = field(default_factory=list)
    content: list[Any] | None = None

    @property
    def is_head(self) -> bool:
        """Whether it is the latest of its stream."""
        return self.id == self.head

    def opened(self) -> list[Any]:
        """Skeleton, metadata and references."""
        if self.content is None:
            bound = place("checkpoint", self.ns, self.id)
            self.content = loads(unwrap(self.body, self.cipher, bound))
        return self.content

    def refs(self) -> dict[str, Ref]:
        """The references of the channels that are not empty."""
        logs = self.spans[::3]
        found = ((name, load(ref, logs)) for name, ref in self.opened()[2].items())
        return {name: ref for name, ref in found if ref is not None}


@dataclass(frozen=True, slots=True)
class Write:
    """One stored row of a task's writes."""

    slot: int
    task: str
    path: str
    spans: list[int]
    content: bytes

    def refs(self) -> list[Numbered]:
        """Each write's index, channel and reference."""
        return load_writes(self.slot, loads(self.content), self.spans[::3])


def get(core: Core, stream: StreamKey, checkpoint_id: str | None) -> SqlPlan[Stored | None]:
    """The latest checkpoint of a stream, or the one with this id; its elements are cached."""
    known = core.logs.get(stream) or []
    params = {
        **_who(stream),
        "id": pack_id(checkpoint_id),
        **held_params(core, known),
    }
    found = absorb(core, stream[0], (yield (Statement(GET, params, often=True),))[0])
    if not found:
        return None
    core.learn_generation(*stream[:2], found[0].generation)
    core.logs.put(stream, list(_triples(found[0].spans)))
    return found[0]


def get_tuple(
    core: Core, stream: StreamKey, checkpoint_id: str | None, serde: SerializerProtocol
) -> SqlPlan[CheckpointTuple | None]:
    """The checkpoint with its values; the context notes what was read and how."""
    stored = yield from get(core, stream, checkpoint_id)
    if stored is None:
        if not stream[2]:
            on_branch(*stream[:2], "")
        return None
    branch = "" if stored.branch is None else stored.branch.hex()
    key = core.scope(stream[0]), *stream[1:]
    if checkpoint_id:
        mint = read_explicitly(key, checkpoint_id, stored.head)
        branch = branch if stored.is_head else mint.hex()
    # A look at the head during a run from an older checkpoint does not change its branch.
    if not stream[2] and (checkpoint_id or reading_of(key) is None):
        on_branch(*stream[:2], branch)
    return (yield from to_tuple(core, stored, serde, tenant=stream[0], track=True))


def _who(stream: StreamKey) -> dict[str, Any]:
    return dict(zip(("tenant", "thread", "ns"), stream, strict=True))


def held_params(core: Core, known: Iterable[Span]) -> dict[str, str]:
    """What this process holds of these logs, so that it is not sent again."""
    held = core.cached.held(known)
    return {
        "held_logs": array([log for log, _, _ in held]),
        "held_starts": array([start for _, start, _ in held]),
        "held_stops": array([stop for _, _, stop in held]),
    }


def absorb(
    core: Core, tenant: str, rows: Sequence[Sequence[Any]], cipher: Cipher | None = None
) -> list[Stored]:
    """Put element rows into the cache; return the checkpoints, each with its writes.

    Args:
        core: Has the cache and the keys.
        tenant: Whose rows these are.
        rows: A reply.
        cipher: Of the elements, where the reply has no checkpoints that tell it.
    """
    kinds: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for row in rows:
        kinds[row[0]].append(row)
    found: dict[tuple[int, bytes], Stored] = {}
    ciphers: dict[int, Cipher | None] = {}
    for _, number, _, a, b, body, spans, ns, thread, head, branch, generation, secret in kinds[0]:
        own = core.cipher(tenant, thread, secret)
        stored = Stored(number, a, b, body, spans or [], ns, thread, head, branch, generation, own)
        found[number, a] = stored
        ciphers.update(dict.fromkeys(stored.spans[::3], own))
    for _, number, slot, a, task, body, spans, path, *_ in kinds[1]:
        stored = found[number, a]
        content = unwrap(body, stored.cipher, place("write", stored.ns, a, task, slot))
        task_id = unpack_id(task) if task else ""
        stored.writes.append(Write(slot, task_id, path, spans or [], content))
        ciphers.update(dict.fromkeys((spans or [])[::3], stored.cipher))
    for _, log, slot, _, _, body, *_ in kinds[2]:
        _keep(core, log, slot, unwrap(body, ciphers.get(log, cipher), place("element", log, slot)))
    return list(found.values())


def _keep(core: Core, log: int, slot: int, content: bytes) -> None:
    last = slot // 2
    start = last - BLOCK + 1 if slot % 2 else last
    core.cached.put(log, start, unpack_items(content))


def _triples(flat: Sequence[int]) -> Iterable[Span]:
    return ((flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3))


def items_of(
    core: Core, refs: Iterable[Ref], cipher: Cipher | None
) -> SqlPlan[dict[Span, list[Item | None]]]:
    """The serialized elements that references name, from the cache, else from the database."""
    spans = {span for ref in refs for span in ref.spans}
    items = {span: core.cached.get(span) for span in spans}
    lacking = [span for span, found in items.items() if None in found]
    if lacking:
        core.cached.drop({log for log, _, _ in lacking})
        params = {
            "logs": array([log for log, _, _ in lacking]),
            "starts": array([start for _, start, _ in lacking]),
            "stops": array([stop for _, _, stop in lacking]),
        }
        absorb(core, "", (yield (Statement(ELEMENTS, params),))[0], cipher)
        items |= {span: core.cached.get(span) for span in lacking}
    return items


def to_tuple(
    core: Core,
    stored: Stored,
    serde: SerializerProtocol,
    *,
    tenant: str,
    track: bool,
    molds: Molds | None = None,
) -> SqlPlan[CheckpointTuple]:
    """The checkpoint with its values decoded; they belong to the caller alone."""
    refs = stored.refs()
    writes = [(write, write.refs()) for write in stored.writes]
    named = [*refs.values(), *(ref for _, found in writes for _, _, ref in found)]
    items = yield from items_of(core, named, stored.cipher)
    skeleton = load_item(serde, _item(stored.opened()[0]))
    values: dict[str, Any] = {}
    tracked: dict[str, Tracked] = {}
    for channel, ref in refs.items():
        values[channel], seen = decode(serde, ref, items, molds)
        if seen is not None:
            tracked[channel] = seen
    pending = _pending(writes, serde, items, molds)
    key = ((tenant, stored.thread, stored.ns), unpack_id(stored.id))
    if track:
        versions = skeleton["channel_versions"]
        known = {name: (version, refs.get(name)) for name, version in versions.items()}
        core.channels.put(key, Channels(known, tracked))
        core.handed.put(key, _shelves(writes, items))
    return _tuple(stored, skeleton, load_item(serde, _item(stored.opened()[1])), values, pending)


def _item(stored: Any) -> Item:
    return tuple(stored) if isinstance(stored, list) else stored


def _tuple(
    stored: Stored, skeleton: Any, metadata: Any, values: Any, pending: list[PendingWrite]
) -> CheckpointTuple:
    checkpoint_id = unpack_id(stored.id)
    base = {"thread_id": stored.thread, "checkpoint_ns": stored.ns}
    parent = stored.parent
    return CheckpointTuple(
        {"configurable": {**base, "checkpoint_id": checkpoint_id}},
        cast("Checkpoint", {**skeleton, "id": checkpoint_id, "channel_values": values}),
        metadata,
        {"configurable": {**base, "checkpoint_id": unpack_id(parent)}} if parent else None,
        pending,
    )


def in_order(
    writes: Iterable[tuple[Write, list[Numbered]]],
) -> list[tuple[Write, str, Ref]]:
    """Writes in the order in which a live run applies them; of two under one index the first."""
    found: dict[tuple[str, int], tuple[Any, Write, str, Ref]] = {}
    for write, refs in sorted(writes, key=lambda pair: pair[0].slot):
        for at, channel, ref in refs:
            key = writes_sort_key(write.path, write.task, at)
            found.setdefault((write.task, at), (key, write, channel, ref))
    return [each[1:] for each in sorted(found.values(), key=operator.itemgetter(0))]


def _pending(
    writes: Iterable[tuple[Write, list[Numbered]]],
    serde: SerializerProtocol,
    items: Mapping[Span, list[Item | None]],
    molds: Molds | None = None,
) -> list[PendingWrite]:
    return [
        (write.task, channel, decode(serde, ref, items, molds)[0])
        for write, channel, ref in in_order(writes)
    ]


def _shelves(
    writes: Iterable[tuple[Write, list[Numbered]]],
    items: Mapping[Span, list[Item | None]],
) -> dict[str, Shelf]:
    shelves: dict[str, Shelf] = {}
    for _, refs in writes:
        for _, channel, ref in refs:
            shelf = shelves.setdefault(channel, Shelf()) if ref.kind is not Kind.INLINE else None
            for span in ref.spans:
                for position, raw in enumerate(items[span], span[1]):
                    if shelf is not None and raw is not None:
                        shelf.by_raw[raw] = (span[0], position)
    return shelves


def learn_parent(
    core: Core, stream: StreamKey, checkpoint_id: str, serde: SerializerProtocol
) -> SqlPlan[Channels | None]:
    """What a checkpoint that this process has not read consists of."""
    stored = yield from get(core, stream, checkpoint_id)
    if stored is None:
        return None
    refs = stored.refs()
    yield from items_of(core, refs.values(), stored.cipher)
    versions = load_item(serde, _item(stored.opened()[0]))["channel_versions"]
    found = Channels({name: (version, refs.get(name)) for name, version in versions.items()})
    core.channels.put((stream, checkpoint_id), found)
    return found


@dataclass(slots=True)
class _Walk:
    """What is gathered on the way from a checkpoint back to its channels' stored values."""

    core: Core
    serde: SerializerProtocol
    channels: Sequence[str]
    backwards: list[list[PendingWrite]] = field(default_factory=list)
    seeds: dict[str, Any] = field(default_factory=dict)
    trail: dict[str, Shelf] = field(default_factory=dict)

    def visit(self, stored: Stored) -> SqlPlan[None]:
        """Take one ancestor's writes and values."""
        sought = [name for name in self.channels if name not in self.seeds]
        refs = {name: ref for name, ref in stored.refs().items() if name in sought}
        writes = [
            (write, [named for named in write.refs() if named[1] in sought])
            for write in stored.writes
        ]
        named = [ref for _, found in writes for _, _, ref in found]
        items = yield from items_of(self.core, [*refs.values(), *named], stored.cipher)
        self.backwards.append(_pending(writes, self.serde, items))
        for name, shelf in _shelves(writes, items).items():
            self.trail.setdefault(name, Shelf()).add(shelf)
        for name, ref in refs.items():
            self.seeds[name] = decode(self.serde, ref, items)[0]

    def result(self) -> dict[str, DeltaChannelHistory]:
        """Writes oldest first, and the value they come after."""
        found: dict[str, DeltaChannelHistory] = {name: {"writes": []} for name in self.channels}
        for writes in reversed(self.backwards):
            for write in writes:
                found[write[1]]["writes"].append(write)
        for name, seed in self.seeds.items():
            found[name]["seed"] = seed
        return found


def history(
    core: Core,
    stream: StreamKey,
    checkpoint_id: str | None,
    channels: Sequence[str],
    serde: SerializerProtocol,
) -> SqlPlan[dict[str, DeltaChannelHistory]]:
    """Per channel the writes since it was last stored whole, and that value; see LangGraph."""
    walk = _Walk(core, serde, channels)
    cursor, target = pack_id(checkpoint_id), None
    while len(walk.seeds) < len(channels):
        held = held_params(core, core.logs.get(stream) or [])
        params = {**_who(stream), "id": cursor, "most": str(_CHAIN), **held}
        chain = _in_order(absorb(core, stream[0], (yield (Statement(CHAIN, params),))[0]))
        target = target or next(iter(chain), None)
        for stored in chain[1:]:
            yield from walk.visit(stored)
        if len(chain) <= _CHAIN:
            break
        cursor = chain[-1].id
    if target is not None and (known := core.channels.get((stream, unpack_id(target.id)))):
        known.trail = walk.trail
    return walk.result()


def ancestors(
    core: Core, stream: StreamKey, head: bytes, channels: set[str]
) -> SqlPlan[list[tuple[int, bytes]]]:
    """Stream number and id of the ancestors back to where each of these channels is stored."""
    found: list[tuple[int, bytes]] = []
    sought, cursor = set(channels), head
    while sought:
        params = {**_who(stream), "id": cursor, "most": str(_CHAIN), **held_params(core, ())}
        chain = _in_order(absorb(core, stream[0], (yield (Statement(CHAIN, params),))[0]))
        for stored in chain[1:]:
            if sought:
                found.append((stored.number, stored.id))
                sought -= stored.refs().keys()
        if len(chain) <= _CHAIN:
            break
        cursor = chain[-1].id
    return found


def _in_order(chain: Sequence[Stored]) -> list[Stored]:
    by_id = {stored.id: stored for stored in chain}
    parents = {stored.parent for stored in chain}
    ordered = [stored for stored in chain if stored.id not in parents]
    while ordered and (following := by_id.get(ordered[-1].parent or b"")) is not None:
        ordered.append(following)
    if len(ordered) != len(chain):
        raise DataCorrupt("The ancestors of a checkpoint do not form a line.")
    return ordered

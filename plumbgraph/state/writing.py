"""Plans of `put` and `put_writes`: one statement each, unless somebody else was faster."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import errors

from plumbgraph.errors import ClaimLost, StaleWriter, StoreUnavailable, ThreadBusy, ThreadDeleted
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import Encoder, dump_item
from plumbgraph.state.context import Claim, Reading, StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.frames import Item, pack_items, wrap
from plumbgraph.state.ids import checked_text, pack_id, tag
from plumbgraph.state.logs import Staged
from plumbgraph.state.reading import learn_parent
from plumbgraph.state.refs import Channels, Ref, Shelf, dump, spans_of
from plumbgraph.state.statements import PUT, PUT_WRITES, STORED_WRITES, array

_ATTEMPTS = 8
_TRAIL = 20_000
_UNTAGGED = frozenset({"parents", "writes", "counters_since_delta_snapshot"})


@dataclass(frozen=True, slots=True)
class PutRequest:
    """Everything one `put` was asked to store, and under which right."""

    stream: StreamKey
    parent: str | None
    checkpoint: Checkpoint
    metadata: Mapping[str, Any]
    new_versions: ChannelVersions
    serde: SerializerProtocol
    claim: Claim | None
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the statement decided, and why."""

    stream: int | None
    thread: int | None
    generation: int | None
    deleted: bool | None
    owned: bool | None
    fresh: bool | None
    owner: str | None
    head: bytes | None


def put(core: Core, ask: PutRequest) -> SqlPlan[str]:
    """Store a checkpoint and move the head; returns the branch it is on.

    Raises:
        StaleWriter: The parent is no longer the head, and this is no deliberate fork.
        ThreadDeleted: The thread was deleted.
        ClaimLost: The claim this call was made under has run out or passed on.
        ThreadBusy: Another process has claimed the thread.
    """
    for _ in range(_ATTEMPTS):
        parent = yield from _parent(core, ask)
        encoder = _encoder(core, ask.serde, ask.stream, parent, ask.parent)
        staged = encoder.staged
        try:
            now, params = _put_params(core, ask, encoder, parent)
            reply = (yield (Statement(PUT, params),))[0][0]
        except errors.UniqueViolation:
            # Two processes share a log, as after a fork of this one: open new ones.
            staged.abort()
            core.book.forget(ask.stream[:2])
            continue
        except BaseException:
            staged.abort()
            raise
        verdict = Verdict(*reply[:8])
        if verdict.generation is not None:
            core.learn_generation(*ask.stream[:2], verdict.generation)
        if verdict.stream is not None:
            staged.commit()
            return _settled(core, ask, encoder, now, parent, reply)
        staged.abort()
        if reply[10]:
            return ""
        _refuse(verdict, ask.stream, ask.claim)
        if verdict.fresh and verdict.head is not None and verdict.head != pack_id(ask.parent):
            raise _stale(ask)
    raise _contended(ask.stream)


def _parent(core: Core, ask: PutRequest) -> SqlPlan[Channels | None]:
    if ask.parent is None:
        return None
    found = core.channels.get((ask.stream, ask.parent))
    if found is not None:
        return found
    return (yield from learn_parent(core, ask.stream, ask.parent, ask.serde))


def _encoder(
    core: Core,
    serde: SerializerProtocol,
    stream: StreamKey,
    parent: Channels | None,
    parent_id: str | None,
) -> Encoder:
    shelves: dict[str, Shelf] = dict(parent.trail) if parent is not None else {}
    handed = core.handed.get((stream, parent_id)) if parent_id is not None else None
    for channel, shelf in (handed or {}).items():
        if channel in shelves:
            shelves[channel].add(shelf)
        else:
            shelves[channel] = shelf
    return Encoder(serde, core.book, core.bytes, stream, seal=True, shelves=shelves)


def _channels(ask: PutRequest, encoder: Encoder, parent: Channels | None) -> Channels:
    now = Channels()
    values = ask.checkpoint["channel_values"]
    for channel, version in ask.checkpoint["channel_versions"].items():
        old = parent.refs.get(channel) if parent is not None else None
        if channel not in ask.new_versions and old is not None and old[0] == version:
            now.refs[channel] = old
            if parent is not None and channel in parent.tracked:
                now.tracked[channel] = parent.tracked[channel]
        elif channel in values:
            tracked = parent.tracked.get(channel) if parent is not None else None
            ref, seen = encoder.encode(channel, values[channel], old[1] if old else None, tracked)
            now.refs[channel] = (version, ref)
            if seen is not None:
                now.tracked[channel] = seen
        else:
            now.refs[channel] = (version, None)
            shelf = encoder.shelves.get(channel)
            if shelf is not None and len(shelf.by_raw) <= _TRAIL:
                now.trail[channel] = shelf
    return now


def _put_params(
    core: Core, ask: PutRequest, encoder: Encoder, parent: Channels | None
) -> tuple[Channels, dict[str, Any]]:
    now = _channels(ask, encoder, parent)
    skeleton = {k: v for k, v in ask.checkpoint.items() if k not in ("channel_values", "id")}
    spans = spans_of(ref for _, ref in now.refs.values())
    numbers = {log: at for at, (log, _, _) in enumerate(spans)}
    content: list[Any] = [
        dump_item(ask.serde, skeleton),
        dump_item(ask.serde, dict(ask.metadata)),
        {channel: dump(ref, numbers) for channel, (_, ref) in now.refs.items() if ref is not None},
    ]
    step, run = ask.metadata.get("step"), ask.metadata.get("run_id")
    fork = (
        core.on_stale == "fork"
        or ask.metadata.get("source") == "fork"
        or (ask.reading is not None and ask.reading.checkpoint_id == (ask.parent or ""))
    )
    return now, {
        **_gate(core, ask.stream, ask.claim),
        **_content(encoder.staged),
        "drop_logs": array([log for log, _ in encoder.staged.drops]),
        "drop_slots": array([slot for _, slot in encoder.staged.drops]),
        "id": pack_id(ask.checkpoint["id"]),
        "parent": pack_id(ask.parent),
        "fork": fork,
        "mint": ask.reading.mint if ask.reading is not None else secrets.token_bytes(8),
        "run": None if run is None else _text(tag("run_id", run)),
        "step": str(step) if isinstance(step, int) else None,
        "tags": array(tags_of(ask.metadata)),
        "spans": array([n for span in spans for n in span]),
        "body": wrap(pack_items(content)),
    }


def tags_of(metadata: Mapping[str, Any]) -> list[int]:
    """Hashes of the metadata items a filter may ask for."""
    found = (tag(key, value) for key, value in metadata.items() if key not in _UNTAGGED)
    return sorted({each for each in found if each is not None})


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _gate(core: Core, stream: StreamKey, claim: Claim | None) -> dict[str, Any]:
    tenant, thread, ns = stream
    return {
        "tenant": tenant,
        "thread": thread,
        "ns": ns,
        "epoch": None if claim is None else str(claim.epoch),
        "generation": _text(core.generations.get((tenant, thread))),
    }


def _content(staged: Staged) -> dict[str, Any]:
    return {
        "new_logs": array(sorted(set(staged.fresh))),
        "logs": array([log for log, _, _ in staged.rows]),
        "slots": array([slot for _, slot, _ in staged.rows]),
        "bodies": [wrap(pack_items(items)) for _, _, items in staged.rows],
    }


def _settled(
    core: Core,
    ask: PutRequest,
    encoder: Encoder,
    now: Channels,
    parent: Channels | None,
    reply: Sequence[Any],
) -> str:
    _keep_bytes(core, encoder.staged)
    if parent is not None:
        # What is tracked belongs to the newest checkpoint alone.
        parent.tracked, parent.trail = {}, {}
        core.handed.pop((ask.stream, ask.parent or ""))
    key = (ask.stream, ask.checkpoint["id"])
    core.channels.put(key, now)
    core.committed.put(key, True)
    core.logs.put(ask.stream, spans_of(ref for _, ref in now.refs.values()))
    branch = reply[9]
    return "" if branch is None else branch.hex()


def _keep_bytes(core: Core, staged: Staged) -> None:
    for log, start, items in staged.items:
        core.bytes.put(log, start, items)


def _refuse(verdict: Verdict, stream: StreamKey, claim: Claim | None) -> None:
    _, thread, ns = stream
    if verdict.deleted:
        raise ThreadDeleted(
            f"Thread {thread!r} was deleted; this late write was refused.", thread_id=thread
        )
    if verdict.owned is False and claim is not None:
        raise ClaimLost(
            f"The claim on thread {thread!r} has run out or passed to {verdict.owner!r}.",
            thread_id=thread,
            checkpoint_ns=ns,
            owner=verdict.owner,
        )
    if verdict.owned is False:
        raise ThreadBusy(
            f"Thread {thread!r} is claimed by {verdict.owner!r}.",
            thread_id=thread,
            owner=verdict.owner,
        )


def _stale(ask: PutRequest) -> StaleWriter:
    _, thread, ns = ask.stream
    return StaleWriter(
        f"Checkpoint {ask.checkpoint['id']!r} was put on {ask.parent!r}, "
        f"which is no longer the head of thread {thread!r}"
        + (f" (namespace {ns!r})." if ns else "."),
        thread_id=thread,
        checkpoint_ns=ns,
        expected=ask.parent,
    )


def _contended(stream: StreamKey) -> StoreUnavailable:
    return StoreUnavailable(
        f"Thread {stream[1]!r} changed under each of {_ATTEMPTS} attempts to write to it.",
        thread_id=stream[1],
    )


@dataclass(frozen=True, slots=True)
class WritesRequest:
    """Everything one `put_writes` was asked to store."""

    stream: StreamKey
    checkpoint_id: str
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    serde: SerializerProtocol
    claim: Claim | None


def put_writes(core: Core, ask: WritesRequest) -> SqlPlan[None]:
    """Store a task's writes; what is stored under their indexes already stays as it is.

    Raises:
        ThreadDeleted: The thread was deleted.
        ClaimLost: The claim this call was made under has run out or passed on.
        ThreadBusy: Another process has claimed the thread.
    """
    stored: set[int] = set()
    for _ in range(_ATTEMPTS):
        encoder = Encoder(ask.serde, core.book, core.bytes, ask.stream, seal=False)
        try:
            rows = _write_rows(ask, encoder, stored)
            if not rows:
                return
            reply = (yield (Statement(PUT_WRITES, _writes_params(core, ask, encoder, rows)),))[0][0]
        except errors.UniqueViolation:
            encoder.staged.abort()
            core.book.forget(ask.stream[:2])
            continue
        except BaseException:
            encoder.staged.abort()
            raise
        verdict = Verdict(*reply[:8])
        if verdict.generation is not None:
            core.learn_generation(*ask.stream[:2], verdict.generation)
        if verdict.stream is None:
            encoder.staged.abort()
            _refuse(verdict, ask.stream, ask.claim)
            continue
        encoder.staged.commit()
        _keep_bytes(core, encoder.staged)
        if len(reply[8]) == len(rows):
            _hand_over(core, ask, encoder)
            return
        found = (yield (Statement(STORED_WRITES, _writes_key(ask)),))[0]
        stored = {slot + at for slot, n in found for at in range(n)}
    raise _contended(ask.stream)


def _hand_over(core: Core, ask: WritesRequest, encoder: Encoder) -> None:
    key = (ask.stream, ask.checkpoint_id)
    shelves = core.handed.get(key) or {}
    merged = dict(shelves)
    for channel, shelf in encoder.noted.items():
        both = Shelf()
        if channel in merged:
            both.add(merged[channel])
        both.add(shelf)
        merged[channel] = both
    core.handed.put(key, merged)


_Row = tuple[int, int, str, bytes]


def _write_rows(ask: WritesRequest, encoder: Encoder, stored: set[int]) -> list[_Row]:
    rows: list[_Row] = []
    run: list[tuple[str, Ref]] = []
    for at, (channel, value) in enumerate(ask.writes):
        special = WRITES_IDX_MAP.get(channel)
        if special is not None:
            rows.append(_row(special, [(channel, encoder.inline(value))]))
        elif at not in stored:
            run.append((channel, encoder.encode(channel, value)[0]))
            continue
        if run:
            rows.append(_row(at - len(run), run))
            run = []
    if run:
        rows.append(_row(len(ask.writes) - len(run), run))
    return list({row[0]: row for row in rows}.values())


def _row(slot: int, writes: Sequence[tuple[str, Ref]]) -> _Row:
    spans = spans_of(ref for _, ref in writes)
    numbers = {log: at for at, (log, _, _) in enumerate(spans)}
    content: list[Item] = [[channel, dump(ref, numbers)] for channel, ref in writes]  # type: ignore[misc]
    named = array([n for span in spans for n in span])
    return slot, len(writes), named, wrap(pack_items(content))


def _writes_key(ask: WritesRequest) -> dict[str, Any]:
    tenant, thread, ns = ask.stream
    return {
        "tenant": tenant,
        "thread": thread,
        "ns": ns,
        "id": pack_id(ask.checkpoint_id),
        "task": pack_id(ask.task_id) or b"",
    }


def _writes_params(
    core: Core, ask: WritesRequest, encoder: Encoder, rows: Sequence[_Row]
) -> dict[str, Any]:
    return {
        **_gate(core, ask.stream, ask.claim),
        **_writes_key(ask),
        **_content(encoder.staged),
        "path": checked_text("task_path", ask.task_path),
        "at": array([slot for slot, _, _, _ in rows]),
        "counts": array([n for _, n, _, _ in rows]),
        "spans": [named for _, _, named, _ in rows],
        "rows": [body for _, _, _, body in rows],
    }

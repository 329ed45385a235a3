"""The plan of `put`: one statement, unless somebody else was faster."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import errors

from plumbgraph.errors import SettingsError, StaleWriter, TypeRefused
from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import Encoder, dump_item
from plumbgraph.state.context import Claim, Reading, StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.events import ThreadForked, WriterRefused
from plumbgraph.state.frames import Cipher, pack_items, place, wrap
from plumbgraph.state.gate import (
    ATTEMPTS,
    Verdict,
    contended,
    content_of,
    gate,
    keep_bytes,
    refuse,
    spelled,
)
from plumbgraph.state.ids import pack_id, tag
from plumbgraph.state.pace import Offer
from plumbgraph.state.reading import learn_parent
from plumbgraph.state.refs import Channels, Kind, Shelf, dump, joined_shelves, spans_of
from plumbgraph.state.statements import array, put_of
from plumbgraph.state.task_writes import (
    WriteRow,
    WritesRequest,
    put_writes,
    row_params,
    write_rows,
)
from plumbgraph.tracing import emit

_DELTAS = (Kind.DELTA_LIST, Kind.DELTA_DICT)
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
    accepted: int | None = None


def put(core: Core, ask: PutRequest, offer: Offer | None = None) -> SqlPlan[str]:
    """Store a checkpoint and move the head; returns the branch it is on.

    Writes that are offered are stored by the same statement; where it stores nothing, they are
    stored by themselves before it is tried again.

    Raises:
        StaleWriter: The parent is no longer the head, and this is no deliberate fork.
        ThreadDeleted: The thread was deleted.
        ClaimLost: The claim this call was made under has run out or passed on.
        ThreadBusy: Another process has claimed the thread.
    """
    cipher = yield from core.writing_cipher(*ask.stream[:2])
    if offer is not None:
        branch = yield from _together(core, ask, offer, cipher)
        if branch is not None:
            return branch
    for _ in range(ATTEMPTS):
        tried = yield from _attempt(core, ask, cipher)
        if tried is None:
            continue
        if tried.branch is not None:
            return tried.branch
        refuse(tried.verdict, ask.stream, ask.claim)
        head = tried.verdict.head
        if tried.verdict.fresh and head is not None and head != pack_id(ask.parent):
            emit(WriterRefused(thread_id=ask.stream[1], code=StaleWriter.code))
            raise _stale(ask)
    raise contended(ask.stream)


def _together(
    core: Core, ask: PutRequest, offer: Offer, cipher: Cipher | None
) -> SqlPlan[str | None]:
    """One try to store the offered writes as well; what it does not store, they do themselves."""
    tried = None
    if offer.ask.claim == ask.claim and offer.ask.serde is ask.serde:
        with suppress(TypeRefused, SettingsError):  # raised anew by whichever of them it is about
            tried = yield from _attempt(core, ask, cipher, offer.ask)
    if tried is None or not tried.whole:
        try:
            yield from put_writes(core, offer.ask)
        except Exception as error:  # noqa: BLE001 - raised where the writes came from
            offer.fail(error)
    offer.settle(stored=True)
    return None if tried is None else tried.branch


@dataclass(frozen=True, slots=True)
class _Tried:
    """How a statement went: the branch that was stored to, if any, and whether all was stored."""

    verdict: Verdict
    branch: str | None = None
    whole: bool = False


def _attempt(
    core: Core, ask: PutRequest, cipher: Cipher | None, writes: WritesRequest | None = None
) -> SqlPlan[_Tried | None]:
    """One statement; None where it found a log shared with another process."""
    parent = yield from _parent(core, ask)
    encoder = _encoder(core, ask.serde, ask.stream, parent, ask.parent)
    staged = encoder.staged
    try:
        rows = [] if writes is None else write_rows(writes, encoder, cipher)
        encoder.shelves = joined_shelves(encoder.shelves, encoder.noted)
        now, params = _put_params(core, ask, encoder, parent, cipher, rows)
        params |= {} if writes is None else row_params(writes, rows)
        reply = (yield (Statement(_statement(params), params, often=True),))[0][0]
    except errors.UniqueViolation:
        # Two processes share a log, as after a fork of this one: open new ones.
        staged.abort()
        core.book.forget(ask.stream[:2])
        return None
    except BaseException:
        staged.abort()
        raise
    verdict = Verdict(*reply[:8])
    if verdict.generation is not None:
        core.learn_generation(*ask.stream[:2], verdict.generation)
    if verdict.stream is None:
        staged.abort()
        return _Tried(verdict, "" if reply[10] else None)
    staged.commit()
    branch = _settled(core, ask, encoder, now, parent, reply)
    return _Tried(verdict, branch, writes is None or len(reply[11]) == len(rows))


def _statement(params: Mapping[str, Any]) -> str:
    """The statement that stores all there is, and no more parts than that takes."""
    usual = params["accepted"] is None and params["run"] is None and params["drop_logs"] == "{}"
    return put_of(
        content=params["new_logs"] != "{}" or params["logs"] != "{}",
        beside=not usual,
        writes="base" in params,
    )


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
    return Encoder(serde, core.book, core.cached, stream, seal=True, shelves=shelves)


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
    _trail(now, encoder)
    return now


def _trail(now: Channels, encoder: Encoder) -> None:
    """Remember what a DeltaChannel's next whole value will consist of."""
    for channel, (_, ref) in now.refs.items():
        if ref is not None and ref.kind not in _DELTAS:
            continue
        shelf, noted = encoder.shelves.get(channel), encoder.noted.get(channel)
        if shelf is not None and noted is not None:
            shelf.add(noted)
        found = shelf or noted
        if found is not None and len(found.by_raw) <= _TRAIL:
            now.trail[channel] = found


def _put_params(
    core: Core,
    ask: PutRequest,
    encoder: Encoder,
    parent: Channels | None,
    cipher: Cipher | None,
    rows: Sequence[WriteRow],
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
    key = pack_id(ask.checkpoint["id"]) or b""
    step, run = ask.metadata.get("step"), ask.metadata.get("run_id")
    fork = (
        core.on_stale == "fork"
        or ask.metadata.get("source") == "fork"
        or (ask.reading is not None and ask.reading.checkpoint_id == (ask.parent or ""))
    )
    return now, {
        **gate(core, ask.stream, ask.claim),
        **content_of(encoder.staged, cipher, [body for _, _, _, body in rows]),
        "drop_logs": array([log for log, _ in encoder.staged.drops]),
        "drop_slots": array([slot for _, slot in encoder.staged.drops]),
        "id": key,
        "parent": pack_id(ask.parent),
        "fork": fork,
        "mint": _mint(ask) if fork else None,
        "accepted": spelled(ask.accepted),
        "run": None if run is None else spelled(tag("run_id", run, core.tag_key)),
        "step": str(step) if isinstance(step, int) else None,
        "tags": array(tags_of(ask.metadata, core.tag_key)),
        "spans": array([n for span in spans for n in span]),
        "body": wrap(pack_items(content), cipher, place("checkpoint", ask.stream[2], key)),
    }


def _mint(ask: PutRequest) -> bytes:
    """The branch id a fork gets."""
    return ask.reading.mint if ask.reading is not None else secrets.token_bytes(8)


def tags_of(metadata: Mapping[str, Any], secret: bytes) -> list[int]:
    """Hashes of the metadata items a filter may ask for."""
    found = (tag(key, value, secret) for key, value in metadata.items() if key not in _UNTAGGED)
    return sorted({each for each in found if each is not None})


def _settled(
    core: Core,
    ask: PutRequest,
    encoder: Encoder,
    now: Channels,
    parent: Channels | None,
    reply: Sequence[Any],
) -> str:
    keep_bytes(core, encoder.staged)
    if parent is not None:
        # What is tracked belongs to the newest checkpoint alone.
        parent.tracked, parent.trail = {}, {}
        core.handed.pop((ask.stream, ask.parent or ""))
    key = (ask.stream, ask.checkpoint["id"])
    core.channels.put(key, now)
    core.committed.put(key, True)
    core.logs.put(ask.stream, spans_of(ref for _, ref in now.refs.values()))
    branch = "" if reply[9] is None else reply[9].hex()
    if reply[8]:
        emit(ThreadForked(thread_id=ask.stream[1], branch=branch, parent=ask.parent))
    return branch


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

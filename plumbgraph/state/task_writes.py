"""The plan of `put_writes`: one statement, unless some of it is stored already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import errors

from plumbgraph.postgres.statement import SqlPlan, Statement
from plumbgraph.state.codec import Encoder
from plumbgraph.state.context import Claim, StreamKey
from plumbgraph.state.core import Core
from plumbgraph.state.frames import Cipher, loads, pack_items, place, unwrap, wrap
from plumbgraph.state.gate import (
    ATTEMPTS,
    Verdict,
    contended,
    content_of,
    gate,
    keep_bytes,
    refuse,
)
from plumbgraph.state.ids import checked_text, pack_id
from plumbgraph.state.pace import FLUSH
from plumbgraph.state.refs import Numbered, dump_writes, indexes_of, joined_shelves, spans_of
from plumbgraph.state.statements import PUT_WRITES, STORED_WRITES, array, arrays


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
    held = _NOTHING
    cipher = yield from core.writing_cipher(*ask.stream[:2])
    for _ in range(ATTEMPTS):
        encoder = Encoder(ask.serde, core.book, core.cached, ask.stream, seal=False)
        try:
            rows = write_rows(ask, encoder, cipher, held)
            if not rows:
                break
            params = _writes_params(core, ask, encoder, rows, cipher)
            reply = (yield (Statement(PUT_WRITES, params, often=True),))[0][0]
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
            refuse(verdict, ask.stream, ask.claim)
            continue
        encoder.staged.commit()
        keep_bytes(core, encoder.staged)
        if len(reply[8]) == len(rows):
            _hand_over(core, ask, encoder)
            core.paces.stored(ask)
            return
        who = dict(zip(("tenant", "thread", "ns"), ask.stream, strict=True))
        found = (yield (Statement(STORED_WRITES, {**who, **_writes_key(ask)}),))[0]
        held = _held(ask, found, cipher)
    else:
        raise contended(ask.stream)
    if held.indexes:
        # A worker of an older version may have stored them without a flush.
        yield (Statement(FLUSH),)


def _hand_over(core: Core, ask: WritesRequest, encoder: Encoder) -> None:
    key = (ask.stream, ask.checkpoint_id)
    core.handed.put(key, joined_shelves(core.handed.get(key) or {}, encoder.noted))


WriteRow: TypeAlias = tuple[int, int, str, bytes]
"""Slot, how many indexes it covers, ranges, body."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A task's writes that are stored: their indexes, and where their last row ends."""

    indexes: frozenset[int] = frozenset()
    end: int = 0


_NOTHING = _Held()


def _held(ask: WritesRequest, found: Sequence[Sequence[Any]], cipher: Cipher | None) -> _Held:
    rows = [(slot, slot + n, body) for slot, n, body in found if slot >= 0]
    indexes = {
        at
        for slot, _, body in rows
        for at in indexes_of(slot, loads(unwrap(body, cipher, _bound(ask, slot))))
    }
    return _Held(frozenset(indexes), max((end for _, end, _ in rows), default=0))


def write_rows(
    ask: WritesRequest, encoder: Encoder, cipher: Cipher | None, held: _Held = _NOTHING
) -> list[WriteRow]:
    """The rows of a task's writes, their elements staged; none for what is held already."""
    special: dict[int, Numbered] = {}
    ordinary: list[Numbered] = []
    for at, (channel, value) in enumerate(ask.writes):
        slot = WRITES_IDX_MAP.get(channel)
        if slot is not None:
            special[slot] = (slot, channel, encoder.inline(value))
        elif at not in held.indexes:
            ordinary.append((at, channel, encoder.encode(channel, value)[0]))
    # In the order of their keys, so that two writers of a task never wait for each other.
    rows = [_row(ask, cipher, slot, 1, [special[slot]]) for slot in sorted(special)]
    if ordinary:
        n = max(ordinary[-1][0] + 1 - held.end, 1)
        rows.append(_row(ask, cipher, held.end, n, ordinary))
    return rows


def _row(
    ask: WritesRequest, cipher: Cipher | None, slot: int, n: int, writes: Sequence[Numbered]
) -> WriteRow:
    spans = spans_of(ref for _, _, ref in writes)
    numbers = {log: at for at, (log, _, _) in enumerate(spans)}
    content = dump_writes(slot, writes, numbers)
    named = array([number for span in spans for number in span])
    return slot, n, named, wrap(pack_items(content), cipher, _bound(ask, slot))


def _bound(ask: WritesRequest, slot: int) -> bytes:
    ids = pack_id(ask.checkpoint_id) or b"", pack_id(ask.task_id) or b""
    return place("write", ask.stream[2], *ids, slot)


def _writes_key(ask: WritesRequest) -> dict[str, Any]:
    return {"base": pack_id(ask.checkpoint_id), "task": pack_id(ask.task_id) or b""}


def row_params(ask: WritesRequest, rows: Sequence[WriteRow]) -> dict[str, Any]:
    """The parameters of rows of writes, but for their bodies."""
    return {
        **_writes_key(ask),
        "path": checked_text("task_path", ask.task_path),
        "at": array([slot for slot, _, _, _ in rows]),
        "counts": array([n for _, n, _, _ in rows]),
        "row_spans": arrays([named for _, _, named, _ in rows]),
    }


def _writes_params(
    core: Core,
    ask: WritesRequest,
    encoder: Encoder,
    rows: Sequence[WriteRow],
    cipher: Cipher | None,
) -> dict[str, Any]:
    return {
        **gate(core, ask.stream, ask.claim),
        **content_of(encoder.staged, cipher, [body for _, _, _, body in rows]),
        **row_params(ask, rows),
    }

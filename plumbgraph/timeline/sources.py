"""The sources a timeline knows by itself: an event log, a checkpointer, the effects' journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plumbgraph.errors import SettingsError
from plumbgraph.timeline.checkpoints import SHOWN, Chain
from plumbgraph.timeline.evidence import EffectFact, Evidence, Record, Source, StatusFact
from plumbgraph.timeline.saver_steps import evidence_of
from plumbgraph.tracing.processes import Process, lives, process_of
from plumbgraph.tracing.reader import LogReader, log_files

_ENDS = {"run.ended", "run.failed"}
_MOST = 5_000
_BESIDE_A_LOG = 60
_DECODED_BESIDE_A_LOG = 10  # each of these brings the whole state along

_EFFECTS = """
SELECT name, state, call_id, attempt, intent_at, error, owner,
    extract(epoch FROM clock_timestamp() - beat_at)::float8
FROM {schema}.effects WHERE tenant = %s AND thread_id = %s ORDER BY intent_at"""


class LogSource:
    """The lines of an event log with its rotated files.

    Args:
        path: The log as given to `trace(path=…)`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self, thread_id: str) -> Evidence:
        """The thread's lines; says how many lines were lost, torn or of a newer version."""
        files = log_files(self.path)
        if not files:
            return Evidence(remarks=(f"There is no event log at {str(self.path)!r}.",))
        records: list[dict[str, Any]] = []
        ratings: list[tuple[int, dict[str, Any]]] = []
        lost, torn, newer, unsent = 0, 0, 0, Counter[tuple[str, str | None]]()
        for file in files:
            reader = LogReader(file)
            for record in reader.read():
                if record.get("thread_id") == thread_id:
                    records.append(record)
                elif record.get("event") == "route.feedback":
                    ratings.append((len(records), record))
                elif record.get("event") == "trace.lost":
                    lost += int(record.get("count", 0))
                elif record.get("event") == "trace.upload_failed":
                    unsent[str(record.get("sink")), record.get("kept")] += 1
            torn, newer = torn + reader.torn + reader.unfinished, newer + reader.newer
        return Evidence(
            records=tuple(_with_ratings(records, ratings)),
            live=frozenset(_living(records)),
            remarks=(*_losses(lost, torn, newer), *_unsent(unsent)),
        )

    async def aread(self, thread_id: str) -> Evidence:
        """The thread's lines; see `read`."""
        return await asyncio.to_thread(self.read, thread_id)


def _with_ratings(
    records: list[dict[str, Any]], ratings: list[tuple[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """A thread's lines with the ratings of its charges, which are given outside of its runs."""
    charges = {r.get("charge_id"): r for r in records if r.get("event") == "route.charged"}
    for index, rating in reversed(ratings):
        charge = charges.get(rating.get("charge_id"))
        if charge is not None:
            place = {"thread_id": charge["thread_id"], "run_id": charge.get("run_id")}
            records.insert(index, {**rating, **place, "pid": charge.get("pid")})
    return records


def _losses(lost: int, torn: int, newer: int) -> Iterable[str]:
    if lost:
        yield f"{lost} events could not be written to the log when they happened."
    if torn:
        yield f"{torn} lines of the log are cut off, as after a crash or a full disk."
    if newer:
        yield f"{newer} lines of the log were written by a newer plumbgraph."


def _unsent(failed: Counter[tuple[str, str | None]]) -> Iterable[str]:
    for (sink, kept), times in failed.items():
        then = f"`plumbgraph trace replay {kept}` sends them again" if kept else "they are lost"
        yield f"{times} uploads to {sink} failed; {then}."


def _living(records: Iterable[Record]) -> Iterable[tuple[str, int]]:
    """The runs without an end whose process is still there."""
    first: dict[tuple[str, int], Record] = {}
    last_at: dict[Process, str] = {}
    for record in records:
        key = str(record.get("run_id") or ""), int(record.get("pid") or 0)
        last_at[process_of(record)] = str(record.get("ts", ""))
        if record.get("event") in _ENDS:
            first.pop(key, None)
        elif record.get("event") == "run.started":
            first[key] = record
        else:
            first.setdefault(key, record)
    for key, record in first.items():
        process, began = process_of(record), str(record.get("ts", ""))
        if process.pid > 0 and lives(process, first_at=began, last_at=last_at[process]):
            yield key


class SaverSource:
    """The checkpoints of any LangGraph checkpointer, and with PlumbSaver the thread's status.

    Args:
        saver: The checkpointer.
        checkpoint_id: The head to look back from; by default the newest.
        most: So many checkpoints at most, the newest ones.
    """

    def __init__(self, saver: Any, *, checkpoint_id: str | None = None, most: int = _MOST) -> None:
        self.saver = saver
        self.checkpoint_id = checkpoint_id
        self.most = most

    def beside_a_log(self) -> SaverSource:
        """The same with the newest checkpoints alone: the log tells the earlier steps."""
        cheap = hasattr(self.saver, "steps")
        most = min(self.most, _BESIDE_A_LOG if cheap else _DECODED_BESIDE_A_LOG)
        return SaverSource(self.saver, checkpoint_id=self.checkpoint_id, most=most)

    def read(self, thread_id: str) -> Evidence:
        """The chain of checkpoints that ends in the head."""
        status = None
        if not self.checkpoint_id and hasattr(self.saver, "run_status"):
            status = _tried(lambda: self.saver.run_status(thread_id))
        if hasattr(self.saver, "steps"):
            found = self.saver.steps(thread_id, channels=SHOWN, limit=self._limit)
            return evidence_of(found, self.checkpoint_id, _status(status))
        chain = Chain(self.checkpoint_id)
        for each in self.saver.list(_root(thread_id), limit=self._limit):
            chain.add(each)
        return chain.evidence(_status(status))

    async def aread(self, thread_id: str) -> Evidence:
        """The chain of checkpoints; see `read`."""
        status = None
        if not self.checkpoint_id and hasattr(self.saver, "arun_status"):
            with contextlib.suppress(LookupError):
                status = await self.saver.arun_status(thread_id)
        if hasattr(self.saver, "asteps"):
            found = await self.saver.asteps(thread_id, channels=SHOWN, limit=self._limit)
            return evidence_of(found, self.checkpoint_id, _status(status))
        chain = Chain(self.checkpoint_id)
        async for each in self.saver.alist(_root(thread_id), limit=self._limit):
            chain.add(each)
        return chain.evidence(_status(status))

    @property
    def _limit(self) -> int:
        # A head that was named may be far from the newest one.
        return max(self.most, _MOST) if self.checkpoint_id else self.most


def _root(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def _tried(ask: Any) -> Any:
    try:
        return ask()
    except LookupError:
        return None


def _status(told: Any) -> StatusFact | None:
    if told is None:
        return None
    return StatusFact(
        state=told.state,
        next=tuple(told.next),
        owner=told.owner,
        since=told.since,
        reason=told.reason,
        checkpoint_id=told.checkpoint_id,
    )


class JournalSource:
    """The effects of a thread, from the journal's table.

    Args:
        database: A `plumbgraph.postgres.pool.Database`.
        tenant: Whose threads.
    """

    def __init__(self, database: Any, *, tenant: str = "default") -> None:
        self.database = database
        self.tenant = tenant

    def read(self, thread_id: str) -> Evidence:
        """The thread's effects; nothing where no effect was ever declared."""
        return _effects(self.database.send(self._batch(thread_id))[0])

    async def aread(self, thread_id: str) -> Evidence:
        """The thread's effects; see `read`."""
        return _effects((await self.database.asend(self._batch(thread_id)))[0])

    def _batch(self, thread_id: str) -> tuple[Any, ...]:
        from plumbgraph.postgres.statement import Statement  # noqa: PLC0415 - needs psycopg

        return (Statement(_EFFECTS, (self.tenant, thread_id)),)


def _effects(rows: Iterable[tuple[Any, ...]]) -> Evidence:
    from plumbgraph.effects.owner import lives  # noqa: PLC0415 - only with a journal

    return Evidence(
        effects=tuple(
            EffectFact(
                name=name,
                state=state,
                call_id=call_id,
                attempt=attempt,
                at=at,
                error=error,
                live=state == "intent" and lives(owner, quiet),
            )
            for name, state, call_id, attempt, at, error, owner, quiet in rows
        )
    )


def as_sources(given: Any, log: Any = None) -> list[Source]:
    """Sources out of what people have at hand.

    Args:
        given: One or several of: a source, a checkpointer, a journal, `plumbgraph.open()`'s
            result, a log's path, a `JsonLog` or a `Trace`.
        log: A log's path, besides.

    Raises:
        SettingsError: Something given is none of these.
    """
    many = given if isinstance(given, list | tuple | set) else [given]
    found = [source for each in many if each is not None for source in _sources_of(each)]
    return [*found, *(_sources_of(log) if log is not None else [])]


def _sources_of(given: Any) -> list[Source]:
    if isinstance(given, str | os.PathLike):
        return [LogSource(given)]
    if hasattr(given, "read") and hasattr(given, "aread"):
        return [given]
    if hasattr(given, "get_tuple") and hasattr(given, "alist"):
        return [SaverSource(given)]
    if hasattr(given, "saver") and hasattr(given, "endpoints"):
        return [SaverSource(given.saver)]
    if hasattr(given, "database") and hasattr(given, "tenant"):
        return [JournalSource(given.database, tenant=given.tenant)]
    log = getattr(given, "log", given)
    if hasattr(log, "path") and hasattr(log, "lost"):
        return [LogSource(log.path)]
    raise SettingsError(
        f"A timeline cannot read a {type(given).__name__!r}.",
        hint="Give a checkpointer, a journal, a log's path, or an object with read and aread.",
    )


def logs_first(sources: list[Source]) -> list[Source]:
    """The sources with those of logs before the others."""
    return sorted(sources, key=lambda source: not isinstance(source, LogSource))


def quicker(source: Source, *, told: bool) -> Source:
    """A source as it is, or its short form where a log has told the steps already."""
    return source.beside_a_log() if told and isinstance(source, SaverSource) else source

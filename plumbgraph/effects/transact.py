"""An effect in our own database: its SQL and its record are one transaction, beyond doubt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plumbgraph import plan as plans
from plumbgraph.effects import statements as sql
from plumbgraph.effects.context import Running, running
from plumbgraph.effects.events import EffectDone, EffectReplayed, EffectReturned
from plumbgraph.effects.once import Codec, Task
from plumbgraph.effects.ops import Do, EffectPlan
from plumbgraph.effects.owner import me
from plumbgraph.errors import EffectInDoubt, PlumbError
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.tracing.emit import emit


class Rejected(PlumbError):
    """The tool's result says that it failed, so its SQL is undone (facts: result)."""

    code = "effects.rejected"
    default_hint = "Nothing was recorded."


def transact(
    codec: Codec, task: Task, do: Do, connection: Any, rejects: Callable[[Any], bool]
) -> EffectPlan[Any]:
    """Run the effect inside the open transaction, or return its recorded result.

    The row is claimed first: a second process waits at it until the first commits or rolls back.

    Raises:
        Rejected: `rejects` says the result is a failure.
    """
    tenant, owner = task.scene.tenant, me()
    replies = yield (
        sql.intent(task.scene, task.call, task.key, task.alias, owner),
        sql.look(tenant, [task.key]),
    )
    row = sql.rows(replies[1])[task.key]
    if not replies[0]:
        if row.state != "done":
            raise EffectInDoubt(f"Effect {task.call.name!r} has no result yet.", key=task.key)
        emit(EffectReplayed(effect=task.call.name, key=task.key))
        return codec.loads_typed((row.result_type or "null", row.result or b""))
    with running(Running(task.key, row.attempt, connection)):
        result = yield do
    if rejects(result):
        raise Rejected("The effect failed and was undone.", result=result)
    emit(EffectReturned(effect=task.call.name, key=task.key))
    stored = codec.dumps_typed(result)
    yield (sql.done(tenant, task.key, owner, row.attempt, stored, asked=False),)
    return result


def run(
    codec: Codec, task: Task, do: Do, database: Database, rejects: Callable[[Any], bool]
) -> Any:
    """Run the effect in a transaction of its own, blocking."""

    def send(op: Any) -> Any:
        if isinstance(op, Do):
            return op.call()
        return [_rows(connection.execute(*_said(database, each), binary=True)) for each in op]

    try:
        with database.transaction() as connection:
            result = plans.run(transact(codec, task, do, connection, rejects), send)
    except Rejected as rejected:
        return rejected.facts["result"]
    emit(EffectDone(effect=task.call.name, key=task.key, source="transaction"))
    return result


async def arun(
    codec: Codec, task: Task, do: Do, database: Database, rejects: Callable[[Any], bool]
) -> Any:
    """Run the effect in a transaction of its own, awaiting."""

    async def asend(op: Any) -> Any:
        if isinstance(op, Do):
            return await op.acall()
        found = []
        for each in op:
            cursor = await connection.execute(*_said(database, each), binary=True)
            found.append(await cursor.fetchall() if cursor.description else [])
        return found

    try:
        async with database.atransaction() as connection:
            result = await plans.arun(transact(codec, task, do, connection, rejects), asend)
    except Rejected as rejected:
        return rejected.facts["result"]
    emit(EffectDone(effect=task.call.name, key=task.key, source="transaction"))
    return result


def _said(database: Database, statement: Statement) -> tuple[Any, Any]:
    return database.text(statement.sql).encode(), statement.params


def _rows(cursor: Any) -> list[Any]:
    return cursor.fetchall() if cursor.description else []

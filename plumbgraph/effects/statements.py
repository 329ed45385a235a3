"""The journal's SQL: every transition is one statement that checks what it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plumbgraph.effects.key import named_here
from plumbgraph.effects.values import Call, Row, Scene
from plumbgraph.postgres.statement import Statement

_COLUMNS = """state, owner, attempt, asked, result_type, result, error,
extract(epoch FROM intent_at)::float8,
extract(epoch FROM clock_timestamp() - beat_at)::float8"""

_INTENT = """
INSERT INTO {schema}.effects
    (tenant, key, alias, thread_id, branch, ns, message_id, call_id, name, state, owner)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'intent', %s)
ON CONFLICT (tenant, key) DO UPDATE SET state = 'intent', owner = EXCLUDED.owner,
    attempt = effects.attempt + 1, error = NULL,
    intent_at = clock_timestamp(), beat_at = clock_timestamp()
WHERE effects.state = 'void'
RETURNING attempt"""

_LOOK = f"""
SELECT encode(key, 'hex'), {_COLUMNS} FROM {{schema}}.effects
WHERE tenant = %s AND key = ANY(%s::bytea[])"""

_ALIASED = """
SELECT encode(alias, 'hex'), encode(key, 'hex') FROM {schema}.effects
WHERE tenant = %s AND alias = ANY(%s::bytea[])"""

_NAMED = """
SELECT message_id, call_id, name, encode(key, 'hex') FROM {schema}.effects
WHERE tenant = %s AND thread_id = %s AND branch = %s AND call_id = ANY(%s::text[])"""

_RENAME = """
UPDATE {schema}.effects SET message_id = %s, call_id = %s WHERE tenant = %s AND key = %s"""

_TAKE_OVER = """
UPDATE {schema}.effects SET state = 'intent', owner = %s, attempt = attempt + 1, error = NULL,
    intent_at = clock_timestamp(), beat_at = clock_timestamp()
WHERE tenant = %s AND key = %s AND state IN ('intent', 'raised') AND owner = %s AND attempt = %s
RETURNING attempt"""

_DONE = """
UPDATE {schema}.effects SET state = 'done', result_type = %s, result = %s, asked = asked OR %s,
    settled_at = clock_timestamp()
WHERE tenant = %s AND key = %s AND state IN ('intent', 'raised') AND owner = %s AND attempt = %s
RETURNING 1"""

_NOT_DONE = """
UPDATE {schema}.effects SET state = %s, error = %s, asked = asked OR %s,
    settled_at = clock_timestamp()
WHERE tenant = %s AND key = %s AND state IN ('intent', 'raised') AND owner = %s AND attempt = %s
RETURNING 1"""

_BEAT = """
UPDATE {schema}.effects SET beat_at = clock_timestamp()
WHERE tenant = %s AND key = ANY(%s::bytea[]) AND state = 'intent' AND owner = %s"""

_OF_CALLS = f"""
SELECT call_id, message_id, {_COLUMNS} FROM {{schema}}.effects
WHERE tenant = %s AND thread_id = %s AND call_id = ANY(%s::text[])
ORDER BY intent_at"""

_FORGET = """
WITH gone AS (DELETE FROM {schema}.effects WHERE tenant = %s AND thread_id = ANY(%s) RETURNING 1),
     also AS (DELETE FROM {schema}.calls WHERE tenant = %s AND thread_id = ANY(%s) RETURNING 1)
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM also)"""

_LOOKUP = "SELECT intent, result FROM {schema}.calls WHERE tenant = %s AND key = %s"

_CALL_INTENT = """
INSERT INTO {schema}.calls (tenant, key, thread_id, intent) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant, key) DO UPDATE SET intent = EXCLUDED.intent, intent_at = clock_timestamp()
WHERE calls.result IS NULL"""

_CALL_DONE = """
INSERT INTO {schema}.calls (tenant, key, thread_id, intent, result, done_at)
VALUES (%s, %s, %s, 'null', %s, clock_timestamp())
ON CONFLICT (tenant, key) DO UPDATE SET result = EXCLUDED.result, done_at = EXCLUDED.done_at
WHERE calls.result IS NULL"""


def intent(scene: Scene, call: Call, key: str, alias: str | None, owner: str) -> Statement:
    """Record that a call is about to happen; a row comes back when it is ours to make."""
    names = (bytes.fromhex(key), bytes.fromhex(alias) if alias else None)
    where = (scene.tenant, *names, scene.thread_id, scene.branch, scene.ns)
    return Statement(_INTENT, (*where, *named_here(scene, call), call.name, owner))


def look(tenant: str, keys: Sequence[str]) -> Statement:
    """What is known about calls."""
    return Statement(_LOOK, (tenant, [bytes.fromhex(key) for key in keys]))


def aliased(tenant: str, aliases: Sequence[str]) -> Statement:
    """The keys of calls by their aliases."""
    return Statement(_ALIASED, (tenant, [bytes.fromhex(alias) for alias in aliases]))


def named(scene: Scene, call_ids: Sequence[str]) -> Statement:
    """The keys of calls by the names they have in the running task."""
    return Statement(_NAMED, (scene.tenant, scene.thread_id, scene.branch, list(call_ids)))


def rename(tenant: str, key: str, message_id: str, call_id: str) -> Statement:
    """Note the name that a call has in a run that started over; its key stays."""
    return Statement(_RENAME, (message_id, call_id, tenant, bytes.fromhex(key)))


def rows(reply: list[tuple[Any, ...]]) -> dict[str, Row]:
    """The reply to `look`, by key."""
    return {str(found[0]): _row(found[1:]) for found in reply}


def _row(found: tuple[Any, ...]) -> Row:
    state, owner, attempt, asked, kind, result, *rest = found
    data = None if result is None else bytes(result)
    return Row(state, owner, attempt, asked, kind, data, *rest)


def take_over(tenant: str, key: str, row: Row, owner: str) -> Statement:
    """Become the owner of a call whose owner is gone; nothing comes back when others were first."""
    return Statement(_TAKE_OVER, (owner, tenant, bytes.fromhex(key), row.owner, row.attempt))


def done(
    tenant: str, key: str, owner: str, attempt: int, result: tuple[str, bytes], *, asked: bool
) -> Statement:
    """Record the result; nothing comes back when the call is no longer ours."""
    return Statement(_DONE, (*result, asked, tenant, bytes.fromhex(key), owner, attempt))


def not_done(
    tenant: str, key: str, owner: str, attempt: int, *, error: str | None = None, asked: bool
) -> Statement:
    """Record that nothing happened, or with an error that something may have."""
    state = "void" if error is None else "raised"
    return Statement(_NOT_DONE, (state, error, asked, tenant, bytes.fromhex(key), owner, attempt))


def beat(tenant: str, keys: Sequence[str], owner: str) -> Statement:
    """Say that running calls are still running."""
    return Statement(_BEAT, (tenant, [bytes.fromhex(key) for key in keys], owner))


def of_calls(tenant: str, thread_id: str, call_ids: Sequence[str]) -> Statement:
    """What is known about tool calls by their ids, oldest first."""
    return Statement(_OF_CALLS, (tenant, thread_id, list(call_ids)))


def rows_of_calls(reply: list[tuple[Any, ...]]) -> list[tuple[str, str, Row]]:
    """The reply to `of_calls`: call id, message id, row."""
    return [(*found[:2], _row(found[2:])) for found in reply]


def forget(tenant: str, thread_ids: Sequence[str]) -> Statement:
    """Delete everything about threads."""
    return Statement(_FORGET, (tenant, list(thread_ids), tenant, list(thread_ids)))


def lookup(tenant: str, key: str) -> Statement:
    """A recorded model call."""
    return Statement(_LOOKUP, (tenant, key))


def call_intent(tenant: str, key: str, thread_id: str, facts: str) -> Statement:
    """Record a model call that is about to happen."""
    return Statement(_CALL_INTENT, (tenant, key, thread_id, facts))


def call_done(tenant: str, key: str, thread_id: str, result: str) -> Statement:
    """Record a model call's result; the first one stays."""
    return Statement(_CALL_DONE, (tenant, key, thread_id, result))

"""The round trips of a sleep and of its undoing: everything journaled before it is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from plumbgraph.errors import MemoryExpired
from plumbgraph.memory.encoding import encoded
from plumbgraph.memory.facts import Remember, Rules, slot
from plumbgraph.memory.facts import remember as remembered
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import Namespace, joined
from plumbgraph.memory.records import Provenance, Record
from plumbgraph.memory.saved import Saved, restoring, states
from plumbgraph.memory.sleep import (
    Action,
    Refine,
    Sleeper,
    SleepReport,
    SleepRules,
    alike_attributes,
    dream,
)
from plumbgraph.memory.terms import Terms
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call

_CHUNK = 200
_UNDO_DAYS = 30
_SLEEP = "sleep"


def sleepers(terms: Terms, namespace: Namespace) -> RedisPlan[list[Sleeper]]:
    """Every live record of a namespace and how often it was recalled."""
    shard, text = terms.shard(namespace), joined(namespace)
    names, uses = yield from terms.asked(
        (Command("ZRANGE", shard.live(text), 0, -1), Command("HGETALL", shard.uses(text)))
    )
    keys = [name.decode() for name in names]
    used = _counts(uses)
    found: list[Sleeper] = []
    for start in range(0, len(keys), _CHUNK * 5):
        part = keys[start : start + _CHUNK * 5]
        call = Call("peek", tuple(shard.item(text, k) for k in part), reads=True)
        (rows,) = yield from terms.asked((call,))
        found += [
            Sleeper(key, Record.of(row), used.get(key, 0))
            for key, row in zip(part, rows, strict=True)
            if row
        ]
    return found


def _counts(reply: Any) -> dict[str, int]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {key.decode(): int(count) for key, count in pairs}


def sleep(
    terms: Terms,
    rules: Rules,
    namespace: Namespace,
    how: SleepRules,
    *,
    report_id: str,
    now_us: int,
    dry_run: bool,
    refine: Refine | None = None,
) -> RedisPlan[SleepReport]:
    """Carry out what `dream` decides, each change only over the version it was decided on."""
    found = yield from sleepers(terms, namespace)
    actions = dream(found, how, rules.attributes, now_us=now_us)
    if refine is not None:
        actions += _refined(namespace, found, actions, refine)
    report = SleepReport(
        id=report_id,
        namespace=namespace,
        dry_run=dry_run,
        actions=tuple(actions),
        contested=tuple(s.key for s in found if s.record.rivals),
        alike_attributes=alike_attributes(found),
    )
    if dry_run:
        return report
    skipped: list[str] = []
    held = {s.key: s.record for s in found}
    for start in range(0, len(actions), _CHUNK):
        part = actions[start : start + _CHUNK]
        skipped += yield from _applied(terms, rules, namespace, report_id, part, held)
    done = tuple(action for action in actions if action.key not in skipped)
    return replace(report, actions=done, skipped=tuple(skipped))


def _refined(
    namespace: Namespace, found: Sequence[Sleeper], actions: Sequence[Action], refine: Refine
) -> list[Action]:
    taken = {action.key for action in actions}
    free = {s.key: s for s in found if s.free and s.key not in taken}
    items = [MemoryItem(record=s.record, namespace=namespace, key=k) for k, s in free.items()]
    return [
        Action("rewritten", r.key, free[r.key].record.version, r.reason, value=dict(r.value))
        for r in refine(items)
        if r.key in free
    ]


def _applied(
    terms: Terms,
    rules: Rules,
    namespace: Namespace,
    report_id: str,
    actions: Sequence[Action],
    held: dict[str, Record],
) -> RedisPlan[list[str]]:
    targets = {a.key: slot(a.file.subject, a.file.attribute) for a in actions if a.file}
    before = yield from states(terms, namespace, [*(a.key for a in actions), *targets.values()])
    yield from _journaled(terms, namespace, report_id, before)
    plain = [action for action in actions if action.file is None]
    replies = yield from terms.asked(
        [_call(terms, namespace, action, held[action.key]) for action in plain]
    )
    skipped = [a.key for a, reply in zip(plain, replies, strict=True) if reply[0] == "conflict"]
    for action in actions:
        if action.file is not None:
            done = yield from _filed(terms, rules, namespace, action)
            skipped += [] if done else [action.key]
    return skipped


def _journaled(
    terms: Terms, namespace: Namespace, report_id: str, before: Iterable[Saved]
) -> RedisPlan[None]:
    key = journal(terms, namespace, report_id)
    lines = [saved.line() for saved in before]
    if lines:
        known = f"{terms.shard(namespace).journal}:all"
        yield from terms.asked(
            (
                Command("RPUSH", key, *lines),
                Command("EXPIRE", key, _UNDO_DAYS * 86_400),
                Command("SADD", known, report_id),
                Command("EXPIRE", known, _UNDO_DAYS * 86_400),
            )
        )


def journal(terms: Terms, namespace: Namespace, report_id: str) -> str:
    """The list that holds the states before a sleep."""
    return f"{terms.shard(namespace).journal}:{report_id}"


def _call(terms: Terms, namespace: Namespace, action: Action, record: Record) -> Call:
    value = record.value_text
    if action.value is not None:
        value = encoded(action.value, most_bytes=terms.max_value_bytes, what=repr(action.key))
    marks = record.marks_text if action.marks is None else action.marks.packed()
    from_us = record.valid_from_us
    until = "" if record.to_us is None else record.to_us
    return terms.write(
        "put",
        namespace,
        action.key,
        if_version=action.version,
        provenance=Provenance(node=_SLEEP),
        body=(record.ttl_ms, from_us, until, marks, value),
    )


def _filed(terms: Terms, rules: Rules, namespace: Namespace, action: Action) -> RedisPlan[bool]:
    assert action.file is not None
    drop = terms.write(
        "delete",
        namespace,
        action.key,
        if_version=action.version,
        provenance=Provenance(node=_SLEEP),
    )
    op = Remember(namespace=namespace, fact=action.file, provenance=Provenance(node=_SLEEP))
    yield from remembered(terms, rules, op)
    (reply,) = yield from terms.asked((drop,))
    return bool(reply[0] != "conflict")


def undo(terms: Terms, namespace: Namespace, report_id: str) -> RedisPlan[tuple[int, list[str]]]:
    """Put back what a sleep changed, except what somebody changed since; count and exceptions.

    Raises:
        MemoryExpired: The sleep is unknown, changed nothing, or is longer ago than thirty days.
    """
    key = journal(terms, namespace, report_id)
    (lines,) = yield from terms.asked((Command("LRANGE", key, 0, -1),))
    if not lines:
        raise MemoryExpired(
            f"Nothing is known of the sleep {report_id!r} in {namespace!r}.",
            hint="A sleep can be undone once, for thirty days; a dry run has nothing to undo.",
        )
    before = [Saved.of_line(line.decode()) for line in lines]
    now = yield from states(terms, namespace, [saved.key for saved in before])
    calls: list[Call] = []
    kept: list[str] = []
    for old, new in zip(before, now, strict=True):
        if old == new:
            continue
        version = Record.unpacked(new.now).version if new.now else 0
        if _by_sleep(new):
            calls.append(restoring(terms, old, if_version=version))
        else:
            kept.append(old.key)
    replies: list[Any] = []
    if calls:
        replies = yield from terms.asked(calls)
    conflicts = sum(reply[0] == "conflict" for reply in replies)
    known = f"{terms.shard(namespace).journal}:all"
    yield from terms.asked((Command("DEL", key), Command("SREM", known, report_id)))
    return len(calls) - conflicts, kept


def _by_sleep(state: Saved) -> bool:
    newest = state.now or (state.past[0] if state.past else b"")
    return bool(newest) and Record.unpacked(newest).provenance.node == _SLEEP


def told(report: SleepReport) -> str:
    """The report as JSON, for a journal or a command line."""
    return json.dumps(
        {
            "id": report.id,
            "namespace": list(report.namespace),
            "dry_run": report.dry_run,
            "actions": [{"deed": a.deed, "key": a.key, "reason": a.reason} for a in report.actions],
            "skipped": list(report.skipped),
            "contested": list(report.contested),
            "alike_attributes": [list(pair) for pair in report.alike_attributes],
        },
        ensure_ascii=False,
        indent=1,
    )

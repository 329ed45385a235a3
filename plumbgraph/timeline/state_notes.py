"""What a step did to skills, route and files, read off the state where no log tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plumbgraph.timeline.notes import Note

_Values = Mapping[str, Any]


def notes_between(before: _Values | None, after: _Values | None) -> list[Note]:
    """The remarks that the event log would have had, as far as the two states show them."""
    then, now = before or {}, after or {}
    changed = {name for name in now if now[name] != then.get(name)}
    notes: list[Note] = []
    if "skills" in changed:
        notes += _skills(_mapping(then.get("skills")), _mapping(now["skills"]))
    if "route" in changed:
        notes += _route(_mapping(now["route"]))
    if "workspace" in changed:
        notes += _files(_mapping(now["workspace"]))
    if "stop_reason" in changed:
        notes.append(Note("guard", "run.stopped", f"stopped: {now['stop_reason']}", warning=True))
    return notes


def _mapping(value: Any) -> _Values:
    return value if isinstance(value, Mapping) else {}


def _skills(then: _Values, now: _Values) -> Iterable[Note]:
    for name, entry in now.items():
        new, old = _mapping(entry), _mapping(then.get(name))
        if new.get("rev") == old.get("rev"):
            continue
        if new.get("gone"):
            yield Note("skill", "skill.unloaded", f"put down {name} ({new.get('why', '')})")
        else:
            yield Note("skill", "skill.loaded", f"loaded {name} ({new.get('tokens', '?')} tokens)")


def _route(now: _Values) -> Iterable[Note]:
    if now.get("model"):
        text = f"{now['model']} ({now.get('code', '')}): {now.get('reason', '')}"
        yield Note("route", "route.decided", text)


def _files(now: _Values) -> Iterable[Note]:
    heads = now.get("heads") or [now]
    for head in heads if isinstance(heads, list | tuple) else ():
        known = _mapping(head)
        if known.get("step"):
            text = f"files {str(known['step'])[:12]} ({known.get('files', '?')} files)"
            yield Note("workspace", "workspace.stored", text)

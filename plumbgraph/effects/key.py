"""The identity of an effect: the same through crash and resume, new on a deliberate fork.

Task ids contain checkpoint ids, which change on a fork and, under `durability="async"`, on a
resume; the tool call's id does not. Where code calls an effect without a tool call, the task's
id serves, because the journal waits until the task's checkpoint is committed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from plumbgraph.effects.values import Call, Scene
from plumbgraph.errors import TypeRefused


def key_of(scene: Scene, call: Call) -> str:
    """The key of a call, 64 hexadecimal digits; fit to be an outside idempotency key.

    Raises:
        TypeRefused: An argument is not plain data.
    """
    if call.call_id:
        return _key(scene, call, "tool", call.message_id, call.call_id)
    return _key(scene, call, "node", scene.task_id, str(call.nth))


def alias_of(scene: Scene, call: Call) -> str | None:
    """A second name for a call in a run that commits only at its end, else nothing.

    After a kill such a run starts over with new ids. What remains is the checkpoint it began at,
    what is called with which arguments, and the how many-th time.
    """
    if not scene.at_exit:
        return None
    return _key(scene, call, "exit", scene.base, str(call.nth_in_run))


def named_here(scene: Scene, call: Call) -> tuple[str, str]:
    """What a call is named in the running task: ids of message and call, or task and order."""
    if call.call_id:
        return call.message_id, call.call_id
    return "", f"{scene.task_id}/{digest(call.args)}/{call.nth}"


def _key(scene: Scene, call: Call, *how: str) -> str:
    where = (scene.tenant, scene.thread_id, scene.branch, scene.ns)
    parts = (*where, call.name, digest(call.args), *how)
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=32).hexdigest()


def digest(args: Any) -> str:
    """A digest of plain data that does not depend on the order of keys.

    Raises:
        TypeRefused: It is not plain data.
    """
    try:
        text = json.dumps(args, sort_keys=True, ensure_ascii=True, default=_plain)
    except (TypeError, ValueError) as error:
        raise TypeRefused(
            f"An effect's arguments cannot be compared after a crash: {error}",
            hint="Give effects plain data: text, numbers, lists, dicts, dataclasses, models.",
        ) from error
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return [type(value).__qualname__, value.model_dump(mode="json")]
    if hasattr(value, "__dataclass_fields__"):
        fields = {name: getattr(value, name) for name in value.__dataclass_fields__}
        return [type(value).__qualname__, fields]
    if isinstance(value, bytes):
        return ["bytes", value.hex()]
    if isinstance(value, set | frozenset):
        return ["set", sorted(json.dumps(each, default=_plain) for each in value)]
    if hasattr(value, "isoformat") or type(value).__module__ in {"decimal", "uuid", "pathlib"}:
        return [type(value).__qualname__, str(value)]
    raise TypeError(f"{type(value).__name__} is not plain data")


def without_task_ids(ns: str) -> str:
    """A checkpoint namespace with the names of its nodes alone: `agent:1f…|tools:9a…`."""
    return "|".join(part.partition(":")[0] for part in ns.split("|"))

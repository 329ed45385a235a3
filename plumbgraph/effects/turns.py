"""Telling equal calls of one task, or of one run that commits at its end, apart by order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from langgraph.runtime import get_runtime

from plumbgraph.effects.key import digest, named_here
from plumbgraph.effects.values import Call, Scene

_MOST = 10_000


class Turns:
    """Counts equal calls. A task that is tried again counts from the beginning."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within: OrderedDict[tuple[Any, ...], int] = OrderedDict()
        self._across: OrderedDict[tuple[Any, ...], list[str]] = OrderedDict()

    def numbered(self, scene: Scene, call: Call) -> Call:
        """The call with its numbers among equal ones."""
        if call.call_id and not scene.at_exit:
            return call
        same = (scene.thread_id, scene.branch, scene.ns, call.name, digest(call.args))
        with self._lock:
            nth = 0 if call.call_id else self._next((scene.task_id, _try(), *same))
            if not scene.at_exit:
                return replace(call, nth=nth)
            # Some models name every call alike: only with its message is a name one.
            token = "/".join(named_here(scene, replace(call, nth=nth)))
            tokens = self._across.setdefault((scene.base, *same), [])
            if token not in tokens:
                tokens.append(token)
            self._trim(self._across)
            return replace(call, nth=nth, nth_in_run=tokens.index(token))

    def _next(self, key: tuple[Any, ...]) -> int:
        number = self._within.get(key, 0)
        self._within[key] = number + 1
        self._trim(self._within)
        return number

    @staticmethod
    def _trim(found: OrderedDict[tuple[Any, ...], Any]) -> None:
        while len(found) > _MOST:
            found.popitem(last=False)


def _try() -> tuple[int, float | None]:
    info = get_runtime().execution_info
    return (info.node_attempt, info.node_first_attempt_time) if info else (1, None)

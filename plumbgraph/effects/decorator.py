"""`@effect`: the mark on a tool or function whose effect must happen once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from langchain_core.tools import BaseTool

from plumbgraph.effects.context import covered, start
from plumbgraph.effects.scene import in_graph
from plumbgraph.effects.values import Spec
from plumbgraph.errors import SettingsError

Marked = TypeVar("Marked", bound=Callable[..., Any] | BaseTool)
_MARK = "plumbgraph_effect"
_ITSELF = "plumbgraph_effect_function"


@overload
def effect(target: Marked) -> Marked: ...


@overload
def effect(
    *,
    idempotent: bool = False,
    reconcile: Callable[[str], Any] | None = None,
    in_database: bool = False,
    not_done_on: tuple[type[Exception], ...] = (),
) -> Callable[[Marked], Marked]: ...


def effect(
    target: Any = None,
    *,
    idempotent: bool = False,
    reconcile: Callable[[str], Any] | None = None,
    in_database: bool = False,
    not_done_on: tuple[type[Exception], ...] = (),
) -> Any:
    """Mark a tool, or the function of one, whose effect must happen once.

    `EffectToolNode` (or `EffectMiddleware`) records each call before it happens and its result
    after; a call repeated after a crash gets the recorded result. Inside a graph a marked
    function that nothing watches over refuses to run; outside of one, as in a unit test, it is
    an ordinary function.

    Args:
        target: A function (under or above `@tool`) or a tool.
        idempotent: The outside system takes `current_effect().key` as an idempotency key, so a
            call in doubt is simply made again.
        reconcile: Asks the outside system whether a key is known there: returns `Done(result)`,
            `Outcome.NOT_DONE` or `Outcome.UNKNOWN`.
        in_database: The effect is SQL on `current_effect().connection`: record and effect are
            one transaction, and no doubt can arise.
        not_done_on: Errors that mean nothing happened. Any other leaves the call in doubt.

    Raises:
        SettingsError: The options exclude each other, or `target` cannot be marked.
    """
    if in_database and (idempotent or reconcile):
        raise SettingsError("An effect in the database needs no other way out of doubt.")

    def mark(marked: Any) -> Any:
        name = getattr(marked, "name", None) or getattr(marked, "__name__", None)
        if name is None or not (callable(marked) or isinstance(marked, BaseTool)):
            raise SettingsError(f"{marked!r} cannot be marked as an effect.")
        spec = Spec(str(name), idempotent, reconcile, in_database, not_done_on)
        return _tool(marked, spec) if isinstance(marked, BaseTool) else _function(marked, spec)

    return mark if target is None else mark(target)


def spec_of(target: Any) -> Spec | None:
    """How a tool or function is marked, if it is."""
    if isinstance(target, BaseTool):
        found = (target.metadata or {}).get(_MARK)
        inner = getattr(target, "func", None) or getattr(target, "coroutine", None)
        return found or (spec_of(inner) if inner else None)
    spec: Spec | None = getattr(target, _MARK, None)
    return spec


def starts_itself(target: Any) -> bool:
    """Whether nothing of a tool or function can run before the marked function itself."""
    if not isinstance(target, BaseTool):
        # What wraps a marked function shows its mark, and comes first.
        function = getattr(target, "__func__", target)
        return getattr(function, _ITSELF, None) is function
    inner = [getattr(target, name, None) for name in ("func", "coroutine")]
    functions = [function for function in inner if function is not None]
    return bool(functions) and all(map(starts_itself, functions))


def _tool(tool: BaseTool, spec: Spec) -> BaseTool:
    copied = tool.model_copy()
    copied.metadata = {**(tool.metadata or {}), _MARK: spec}
    for field in ("func", "coroutine"):
        function = getattr(copied, field, None)
        if function is not None:
            setattr(copied, field, _function(function, spec))
    return copied


def _function(function: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def acalled(*args: Any, **kwargs: Any) -> Any:
            _refuse_unwatched(spec)
            if (mark := start()) is not None:
                await mark.amake()
            return await function(*args, **kwargs)

        called: Callable[..., Any] = acalled
    else:

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            _refuse_unwatched(spec)
            if (mark := start()) is not None:
                mark.make()
            return function(*args, **kwargs)

    setattr(called, _MARK, spec)
    setattr(called, _ITSELF, called)
    return called


def _refuse_unwatched(spec: Spec) -> None:
    if in_graph() and not covered():
        raise SettingsError(
            f"Effect {spec.name!r} runs in a graph without a journal: a crash could repeat it.",
            hint="Use EffectToolNode or EffectMiddleware for tools, `journal.call` in a node.",
        )

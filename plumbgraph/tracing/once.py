"""What is computed of a message once, however often its thread shows it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import is_
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Once(Generic[Made]):
    """A function of a message that remembers what it made for as long as the message lives.

    A thread shows the same message objects at every step, so what is asked of all of them would
    cost more with each. One whose parts were replaced is computed again; a part that was changed
    in its place is not noticed.

    Args:
        make: Computes it.
        parts: The parts of a message that it rests on.
    """

    def __init__(
        self, make: Callable[[Any], Made], parts: Callable[[Any], tuple[Any, ...]]
    ) -> None:
        self._make = make
        self._parts = parts
        self._known: dict[int, tuple[weakref.ref[Any], tuple[Any, ...], Made]] = {}

    def __call__(self, message: Any) -> Made:
        """What was made of the message."""
        mark, parts = id(message), self._parts(message)
        known = self._known.get(mark)
        if known is not None and all(map(is_, known[1], parts)) and known[0]() is message:
            return known[2]
        made, forgotten = self._make(message), self._known
        forget = weakref.ref(message, lambda _: forgotten.pop(mark, None))
        self._known[mark] = forget, parts, made
        return made

    def __len__(self) -> int:
        return len(self._known)

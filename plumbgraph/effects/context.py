"""What a running effect can ask about itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from plumbgraph.effects.start import Start
from plumbgraph.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Running:
    """The effect that runs here.

    Attributes:
        key: Its identity: give it to the outside system as the idempotency key.
        counted: The number of its attempt, where it was known from the beginning.
        connection: For an effect in our database: psycopg's connection inside the transaction
            that also records the result.
        start: What the marked function does first; not for your use.
    """

    key: str
    counted: int = 1
    connection: Any = None
    start: Start | None = field(default=None, repr=False)

    @property
    def attempt(self) -> int:
        """1 for the first attempt, more where an earlier one ended without a record."""
        return self.start.attempt if self.start is not None else self.counted


_running: ContextVar[Running | None] = ContextVar("plumbgraph_effect", default=None)


def current_effect() -> Running:
    """The running effect: its key, its attempt, its connection.

    Raises:
        SettingsError: None is running here.
    """
    found = _running.get()
    if found is None:
        raise SettingsError(
            "No effect is running here.", hint="Call this from inside a tool marked with @effect."
        )
    return found


def covered() -> bool:
    """Whether a journal watches over what runs here."""
    return _running.get() is not None


def start() -> Start | None:
    """What the function of the running effect records before anything else, if it does."""
    found = _running.get()
    return found.start if found is not None else None


@contextmanager
def running(effect: Running) -> Iterator[None]:
    """Make `effect` the current one within the block."""
    token = _running.set(effect)
    try:
        yield
    finally:
        _running.reset(token)

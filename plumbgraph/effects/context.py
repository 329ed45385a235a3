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
        attempt: 1 for the first, more where an earlier one ended without a record.
        connection: For an effect in our database: psycopg's connection inside the transaction
            that also records the result.
        start: What the marked function does first; not for your use.
    """

    key: str
    attempt: int
    connection: Any = None
    start: Start | None = field(default=None, repr=False)


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
    """The mark that the function of the running effect makes before anything else, if any."""
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

"""The record of an intent: the very last thing before an effect.

As long as it is missing, a crash leaves no doubt. Between the call of a tool and its effect lies
all that runs a tool, so the record is made in the marked function itself where nothing can lie
between, else before the call is handed on.
"""

from __future__ import annotations

from typing import Protocol

from plumbgraph.effects import ops
from plumbgraph.effects.events import EffectIntended
from plumbgraph.effects.ops import EffectPlan
from plumbgraph.errors import ClaimLost, PlumbError
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.tracing.emit import emit


class Watch(Protocol):
    """Knows which effects this process is running, and keeps their heartbeats."""

    def add(self, key: str) -> None:
        """One begins."""

    def discard(self, key: str) -> None:
        """One ended."""

    def __contains__(self, key: object) -> bool: ...


class Recorded(ClaimLost):
    """The call is on record already, so its effect must not happen here now."""

    code = "effects.recorded"
    default_hint = "Let it pass: the result of the run that was faster is taken."


class Start:
    """The record of one attempt: made once, by whoever is last before the effect.

    Attributes:
        attempt: Its number; before it is made, the one that is expected.
        made: Whether the effect may have begun.
    """

    __slots__ = ("_database", "_effect", "_error", "_intent", "_key", "_watch", "attempt", "made")

    def __init__(
        self,
        database: Database,
        watch: Watch,
        intent: Statement,
        *,
        effect: str,
        key: str,
        attempt: int,
    ) -> None:
        self._database = database
        self._watch = watch
        self._intent = intent
        self._effect = effect
        self._key = key
        self._error: PlumbError | None = None
        self.attempt = attempt
        self.made = False

    def make(self) -> None:
        """Record the intent, blocking.

        Raises:
            Recorded: Another run was faster; the effect must not happen here.
            StoreUnavailable: It could not be recorded.
        """
        ops.run(self.plan(), self._database)

    async def amake(self) -> None:
        """See `make`."""
        await ops.arun(self.plan(), self._database)

    def plan(self) -> EffectPlan[None]:
        """See `make`; nothing when it is recorded."""
        if self.made:
            return
        emit(EffectIntended(effect=self._effect, key=self._key, attempt=self.attempt))
        # Before the record, so that whoever sees it sees that its owner is at it.
        self._watch.add(self._key)
        try:
            self.attempt = yield from self._recorded()
            self.made, self._error = True, None
        except PlumbError as error:
            self._error = error
            raise
        finally:
            if not self.made:
                self._watch.discard(self._key)

    def _recorded(self) -> EffectPlan[int]:
        found = (yield (self._intent,))[0]
        if not found:
            raise Recorded(
                f"Effect {self._effect!r} was begun elsewhere before it began here.",
                key=self._key,
            )
        return int(found[0][0])

    def end(self) -> None:
        """The attempt is over, whatever came of it."""
        if self.made:
            self._watch.discard(self._key)

    def check(self) -> None:
        """Raise what `make` raised, when whoever ran the tool made something else of it."""
        if self._error is not None:
            raise self._error

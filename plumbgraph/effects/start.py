"""The last mark before an effect: as long as it is missing, a crash leaves no doubt.

An intent is recorded before everything else, and between it and the effect lies all that runs a
tool. So the last thing before the effect is a second mark, and a call that has the intent alone
is known not to have happened. It is made in the marked function itself where nothing can lie
between, else before the call is handed on.
"""

from __future__ import annotations

from plumbgraph.effects import ops
from plumbgraph.effects.ops import EffectPlan
from plumbgraph.errors import ClaimLost, PlumbError
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement


class Start:
    """The mark of one attempt: made once, by whoever is last before the effect.

    Attributes:
        made: Whether the effect may have begun.
    """

    __slots__ = ("_database", "_error", "_key", "_mark", "made")

    def __init__(self, database: Database, mark: Statement, key: str) -> None:
        self._database = database
        self._mark = mark
        self._key = key
        self.made = False
        self._error: PlumbError | None = None

    def make(self) -> None:
        """Make the mark, blocking.

        Raises:
            ClaimLost: Another process took the call over; the effect must not happen here.
            StoreUnavailable: The mark could not be made.
        """
        ops.run(self.plan(), self._database)

    async def amake(self) -> None:
        """See `make`."""
        await ops.arun(self.plan(), self._database)

    def plan(self) -> EffectPlan[None]:
        """See `make`; nothing when the mark is made."""
        if self.made:
            return
        try:
            if not (yield (self._mark,))[0]:
                raise ClaimLost(
                    "The effect was taken over by another process before it began here.",
                    key=self._key,
                )
        except PlumbError as error:
            self._error = error
            raise
        self.made, self._error = True, None

    def check(self) -> None:
        """Raise what `make` raised, when whoever ran the tool made an answer of it."""
        if self._error is not None:
            raise self._error

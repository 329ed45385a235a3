"""The part of `PlumbSaver` that takes threads over from PostgresSaver and gives them back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import Connection

from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state import exchange
from plumbgraph.state.adoption import Adoption, AdoptionReport, Progress
from plumbgraph.state.core import Core


class ExchangeFace:
    """Adoption and export, for `PlumbSaver` to inherit."""

    _core: Core
    _adoption: Adoption
    serde: SerializerProtocol

    def adopt_all(
        self, *, dry_run: bool = False, progress: Progress | None = None
    ) -> AdoptionReport:
        """Take over every thread of PostgresSaver that is not here yet; its rows stay there.

        Args:
            dry_run: Only say which threads, how many bytes, and which types must be allowed.
            progress: Called before each thread with its id, its number and how many there are.
        """
        return self._core.db.run(self._take_over(dry_run=dry_run, progress=progress))

    async def aadopt_all(
        self, *, dry_run: bool = False, progress: Progress | None = None
    ) -> AdoptionReport:
        """Take over every thread of PostgresSaver that is not here yet; see `adopt_all`."""
        return await self._core.db.arun(self._take_over(dry_run=dry_run, progress=progress))

    def _take_over(self, *, dry_run: bool, progress: Progress | None) -> SqlPlan[AdoptionReport]:
        tenant = self._core.tenant_of({})
        return self._adoption.take_over(tenant, self.serde, dry_run=dry_run, progress=progress)

    def export(self, target: BaseCheckpointSaver[Any] | str, thread_ids: Sequence[str]) -> int:
        """Write threads to another saver, checkpoint by checkpoint, as if it had made them.

        Args:
            target: Any saver, or the URL of a database for LangGraph's PostgresSaver.
            thread_ids: The threads; they stay here as well.

        Returns:
            How many checkpoints were written.
        """
        if isinstance(target, str):
            with Connection.connect(target, autocommit=True, prepare_threshold=0) as connection:
                saver = PostgresSaver(connection, serde=self.serde)  # type: ignore[arg-type]
                saver.setup()
                return self.export(saver, thread_ids)
        count = 0
        source = cast("BaseCheckpointSaver[Any]", self)
        for thread in thread_ids:
            spell = exchange.Respelling()
            for found in exchange.oldest_first(
                source.list({"configurable": {"thread_id": thread}})
            ):
                target.put(*exchange.put_arguments(found, spell))  # type: ignore[arg-type]
                for arguments in exchange.writes_arguments(found):
                    target.put_writes(*arguments)
                count += 1
        return count

    async def aexport(
        self, target: BaseCheckpointSaver[Any] | str, thread_ids: Sequence[str]
    ) -> int:
        """Write threads to another saver from a worker thread; see `export`."""
        return await asyncio.to_thread(self.export, target, thread_ids)

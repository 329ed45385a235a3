"""The store's side that keeps house: sleep, undo, erase, move, and tell others what changed."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator

from plumbgraph.clock import SYSTEM
from plumbgraph.memory import exchange, sleeping
from plumbgraph.memory.batching import shown
from plumbgraph.memory.events import Erased, Slept
from plumbgraph.memory.exchange import Change, Erasure
from plumbgraph.memory.factstore import FactStore
from plumbgraph.memory.keys import Namespace, check_namespace
from plumbgraph.memory.records import to_us
from plumbgraph.memory.sleep import Refine, SleepReport, SleepRules
from plumbgraph.redis.clients import RedisPlan
from plumbgraph.tracing import emit

_POLL_S = 0.05
_MOST = 500


class KeepingStore(FactStore):
    """A store that also keeps house; see `MemoryStore`, which is what you want."""

    def sleep(
        self,
        namespace: Namespace,
        *,
        dry_run: bool = False,
        rules: SleepRules | None = None,
        refine: Refine | None = None,
    ) -> SleepReport:
        """Merge copies, date relative dates, file quarantined facts and archive what is weak.

        Decided without a model. Each change is applied only over the version it was decided
        on, so writes that come meanwhile always stand; what was there before is journaled first
        and `undo` puts it back, for thirty days. Pinned items and facts in their slots stay.

        Args:
            namespace: Where; not below it.
            dry_run: Only say what would be done.
            rules: How much to forget.
            refine: A step of your own: items in, `Rewrite`s out; applied in the same way.
        """
        plan = self._sleep(namespace, dry_run=dry_run, rules=rules, refine=refine)
        return _told(self._run(plan))

    async def asleep(
        self,
        namespace: Namespace,
        *,
        dry_run: bool = False,
        rules: SleepRules | None = None,
        refine: Refine | None = None,
    ) -> SleepReport:
        """Tidy a namespace; see `sleep`."""
        plan = self._sleep(namespace, dry_run=dry_run, rules=rules, refine=refine)
        return _told(await self._arun(plan))

    def _sleep(
        self,
        namespace: Namespace,
        *,
        dry_run: bool,
        rules: SleepRules | None,
        refine: Refine | None,
    ) -> RedisPlan[SleepReport]:
        check_namespace(namespace)
        return sleeping.sleep(
            self.terms,
            self.rules,
            namespace,
            rules or SleepRules(),
            report_id=secrets.token_hex(8),
            now_us=to_us(SYSTEM.now()),
            dry_run=dry_run,
            refine=refine,
        )

    def undo(self, report: SleepReport) -> tuple[int, list[str]]:
        """Put back what a sleep changed: how many items, and the keys somebody changed since.

        Raises:
            MemoryExpired: The sleep was undone already, changed nothing, or is too long ago.
        """
        return self._run(sleeping.undo(self.terms, report.namespace, report.id))

    async def aundo(self, report: SleepReport) -> tuple[int, list[str]]:
        """Put back what a sleep changed; see `undo`."""
        return await self._arun(sleeping.undo(self.terms, report.namespace, report.id))

    def erase(self, subject: str, *, namespace: Namespace = (), dry_run: bool = False) -> Erasure:
        """Remove every trace of a subject, history, vectors, counts and feed included.

        Whatever names the subject as whole words is removed: by namespace label, key, value,
        marks or provenance. One audit entry stays, with a digest of the subject, the counts and
        the time. This cannot be undone; see `dry_run`.
        """
        return _erased(self._run(self._erase(subject, namespace, dry_run=dry_run)))

    async def aerase(
        self, subject: str, *, namespace: Namespace = (), dry_run: bool = False
    ) -> Erasure:
        """Remove every trace of a subject; see `erase`."""
        return _erased(await self._arun(self._erase(subject, namespace, dry_run=dry_run)))

    def _erase(self, subject: str, namespace: Namespace, *, dry_run: bool) -> RedisPlan[Erasure]:
        check_namespace(namespace, empty=True)
        now_us = to_us(SYSTEM.now())
        return exchange.erased(
            self.terms, subject, prefix=namespace, now_us=now_us, dry_run=dry_run
        )

    def erasures(self) -> list[dict[str, object]]:
        """The audit of erasures, oldest first."""
        return self._run(exchange.erasures(self.terms))

    async def aerasures(self) -> list[dict[str, object]]:
        """The audit of erasures, oldest first."""
        return await self._arun(exchange.erasures(self.terms))

    def export(self, namespace: Namespace = ()) -> list[str]:
        """Every item under a prefix with its past, as sorted lines of JSON, without loss."""
        check_namespace(namespace, empty=True)
        return self._run(exchange.exported(self.terms, namespace))

    async def aexport(self, namespace: Namespace = ()) -> list[str]:
        """Every item under a prefix with its past; see `export`."""
        check_namespace(namespace, empty=True)
        return await self._arun(exchange.exported(self.terms, namespace))

    def import_lines(self, lines: Iterable[str]) -> int:
        """Put exported items back, with versions, times and past; how many.

        An item that exists is replaced. Every line is checked before the first is written.
        """
        return self._run(exchange.imported(self.terms, lines))

    async def aimport_lines(self, lines: Iterable[str]) -> int:
        """Put exported items back; see `import_lines`."""
        return await self._arun(exchange.imported(self.terms, lines))

    def changes(
        self, namespace: Namespace, *, after: str = "0", most: int = _MOST
    ) -> tuple[list[Change], str]:
        """Changes under a prefix after a cursor, oldest first, and the cursor to go on from.

        The feed holds about as many changes of the tenant as the store was made with; a reader
        that falls behind further should read the items anew.
        """
        check_namespace(namespace)
        return self._run(exchange.changes(self.terms, namespace, after=after, most=most))

    async def achanges(
        self, namespace: Namespace, *, after: str = "0", most: int = _MOST
    ) -> tuple[list[Change], str]:
        """Changes under a prefix after a cursor; see `changes`."""
        check_namespace(namespace)
        return await self._arun(exchange.changes(self.terms, namespace, after=after, most=most))

    def watch(
        self, namespace: Namespace, *, after: str | None = None, timeout_s: float | None = None
    ) -> Iterator[Change]:
        """Each change under a prefix as it happens, of any process; by default from now on.

        Ends after `timeout_s` without a change; by default never.
        """
        check_namespace(namespace)
        cursor = after
        if cursor is None:
            cursor = self._run(exchange.feed_end(self.terms, namespace))
        quiet_since = SYSTEM.monotonic()
        while True:
            told, cursor = self.changes(namespace, after=cursor)
            yield from told
            if told:
                quiet_since = SYSTEM.monotonic()
                continue
            if timeout_s is not None and SYSTEM.monotonic() - quiet_since > timeout_s:
                return
            time.sleep(_POLL_S)

    async def awatch(
        self, namespace: Namespace, *, after: str | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[Change]:
        """Each change under a prefix as it happens; see `watch`."""
        check_namespace(namespace)
        cursor = after
        if cursor is None:
            cursor = await self._arun(exchange.feed_end(self.terms, namespace))
        quiet_since = SYSTEM.monotonic()
        while True:
            told, cursor = await self.achanges(namespace, after=cursor)
            for change in told:
                yield change
            if told:
                quiet_since = SYSTEM.monotonic()
                continue
            if timeout_s is not None and SYSTEM.monotonic() - quiet_since > timeout_s:
                return
            await asyncio.sleep(_POLL_S)


def _told(report: SleepReport) -> SleepReport:
    if not report.dry_run:
        emit(
            Slept(
                namespace=shown(report.namespace),
                report=report.id,
                merged=report.count("merged"),
                archived=report.count("archived"),
                skipped=len(report.skipped),
            )
        )
    return report


def _erased(report: Erasure) -> Erasure:
    if not report.dry_run:
        emit(
            Erased(
                subject_digest=report.subject_digest,
                items=report.items,
                versions=report.versions,
            )
        )
    return report

"""The store's side that knows facts: remember, ask, settle, forget."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Unpack

from plumbgraph.clock import SYSTEM
from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import batching, facts, origin
from plumbgraph.memory.attributes import Attribute, Attributes
from plumbgraph.memory.conflict import POLICIES, Policy
from plumbgraph.memory.core import CoreStore, Server
from plumbgraph.memory.events import FactSettled
from plumbgraph.memory.facts import Fact, Judge, Outcome, Remember, Rules
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import Namespace, check_namespace
from plumbgraph.memory.options import RememberOptions
from plumbgraph.memory.records import Moment, to_us
from plumbgraph.redis.clients import RedisPlan
from plumbgraph.tracing import emit


class FactStore(CoreStore):
    """A store that also settles facts; see `MemoryStore`, which is what you want."""

    def __init__(
        self,
        redis: Server,
        *,
        attributes: Iterable[Attribute] = (),
        policy: Policy | Judge = "newest",
        **options: Any,
    ) -> None:
        super().__init__(redis, **options)
        if not callable(policy) and policy not in POLICIES:
            raise MemoryInvalid(f"The policy {policy!r} is none of {', '.join(POLICIES)}.")
        self.rules = Rules(Attributes(tuple(attributes)), policy)

    def remember(
        self, namespace: Namespace, fact: Fact, **options: Unpack[RememberOptions]
    ) -> Outcome:
        """Settle a fact against what is known, and say what became of it.

        The server decides under the slot's policy, so of many writers one truth is left. The same
        value again refreshes; by default a value that became true later supersedes, and one that
        became true earlier goes into the history. Nothing is deleted. An attribute that fits no
        declared one is quarantined: see `quarantined`.

        Args:
            namespace: Where the fact belongs.
            fact: Subject, attribute and value.
            **options: `policy` (a name, or a function that compares the held item with the
                fact and whose answer is applied only if nobody wrote meanwhile), `ttl` in
                minutes, `idempotency_key`.
        """
        return _told(self._run(self._remember(namespace, fact, options)), namespace)

    async def aremember(
        self, namespace: Namespace, fact: Fact, **options: Unpack[RememberOptions]
    ) -> Outcome:
        """Settle a fact against what is known; see `remember`."""
        return _told(await self._arun(self._remember(namespace, fact, options)), namespace)

    def _remember(
        self, namespace: Namespace, fact: Fact, options: RememberOptions
    ) -> RedisPlan[Outcome]:
        check_namespace(namespace, root=True)
        ttl = options["ttl"] if "ttl" in options else (self.ttl_config or {}).get("default_ttl")
        op = Remember(
            namespace=namespace,
            fact=fact,
            policy=options.get("policy"),
            ttl=ttl,
            idempotency_key=options.get("idempotency_key", ""),
            provenance=origin.provenance(fact.source),
        )
        return facts.remember(self.terms, self.rules, op)

    def facts(
        self,
        namespace: Namespace,
        subject: str | None = None,
        *,
        at: Moment | None = None,
        as_of: Moment | None = None,
    ) -> list[MemoryItem]:
        """What is true of a subject, or of all subjects: one item a slot.

        `item.value` holds `subject`, `attribute` and `value`; a contested item has `rivals`.

        Args:
            namespace: Where to look.
            subject: Whom it is about; case does not count.
            at: A moment of valid time: what was true then; by default now, or `as_of`.
            as_of: A moment of transaction time: what the store knew then.
        """
        return self._run(self._facts(namespace, subject, at, as_of))

    async def afacts(
        self,
        namespace: Namespace,
        subject: str | None = None,
        *,
        at: Moment | None = None,
        as_of: Moment | None = None,
    ) -> list[MemoryItem]:
        """What is true of a subject; see `facts`."""
        return await self._arun(self._facts(namespace, subject, at, as_of))

    def _facts(
        self, namespace: Namespace, subject: str | None, at: Moment | None, as_of: Moment | None
    ) -> RedisPlan[list[MemoryItem]]:
        check_namespace(namespace)
        moment = as_of if at is None else at
        return facts.facts(
            self.terms,
            namespace,
            subject,
            at_us=None if moment is None else to_us(moment),
            known_us=None if as_of is None else to_us(as_of),
            now_us=to_us(SYSTEM.now()),
        )

    def conflicts(self, namespace: Namespace) -> list[MemoryItem]:
        """The contested facts, the longest contested first; `item.rivals` holds the others."""
        return self._run(facts.conflicts(self.terms, _checked(namespace)))

    async def aconflicts(self, namespace: Namespace) -> list[MemoryItem]:
        """The contested facts; see `conflicts`."""
        return await self._arun(facts.conflicts(self.terms, _checked(namespace)))

    def quarantined(self, namespace: Namespace) -> list[MemoryItem]:
        """The facts whose attribute fits no declared one; they surface nowhere else."""
        return self._run(facts.quarantined(self.terms, _checked(namespace)))

    async def aquarantined(self, namespace: Namespace) -> list[MemoryItem]:
        """The facts whose attribute fits no declared one; see `quarantined`."""
        return await self._arun(facts.quarantined(self.terms, _checked(namespace)))

    def resolve(self, namespace: Namespace, subject: str, attribute: str, value: Any) -> Outcome:
        """Settle a contested slot on one value, held, rival or new.

        Raises:
            MemoryExpired: The slot holds nothing.
            VersionConflict: Another claim came meanwhile; look again.
        """
        return _told(self._run(self._resolve(namespace, subject, attribute, value)), namespace)

    async def aresolve(
        self, namespace: Namespace, subject: str, attribute: str, value: Any
    ) -> Outcome:
        """Settle a contested slot on one value; see `resolve`."""
        plan = self._resolve(namespace, subject, attribute, value)
        return _told(await self._arun(plan), namespace)

    def _resolve(
        self, namespace: Namespace, subject: str, attribute: str, value: Any
    ) -> RedisPlan[Outcome]:
        op = Remember(
            namespace=_checked(namespace),
            fact=Fact(subject, attribute, value),
            provenance=origin.provenance("resolved"),
        )
        return facts.resolve(self.terms, self.rules, op)

    def forget(self, namespace: Namespace, fact: Fact) -> bool:
        """Delete what a slot holds, or one value of many; whether there was one.

        The history stays readable until its age ends; `erase` leaves nothing.
        """
        return self._run(facts.forget(self.terms, self.rules, _checked(namespace), fact))

    async def aforget(self, namespace: Namespace, fact: Fact) -> bool:
        """Delete what a slot holds; see `forget`."""
        return await self._arun(facts.forget(self.terms, self.rules, _checked(namespace), fact))

    def _planner(self, op: Any) -> RedisPlan[Any]:
        if isinstance(op, Remember):
            return facts.remember(self.terms, self.rules, op)
        return super()._planner(op)


def _checked(namespace: Namespace) -> Namespace:
    check_namespace(namespace)
    return namespace


def _told(outcome: Outcome, namespace: Namespace) -> Outcome:
    emit(
        FactSettled(
            namespace=batching.shown(namespace),
            key=outcome.key,
            said=outcome.said,
            version=outcome.version,
            reason=outcome.reason,
        )
    )
    return outcome

"""The core of the store: LangGraph's `BaseStore` on Redis, with versions and conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Self, TypeAlias, TypeVar, Unpack, cast

from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    NotProvided,
    Op,
    TTLConfig,
)

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import batching, origin, plans
from plumbgraph.memory.calls import Recall
from plumbgraph.memory.events import MayEvict
from plumbgraph.memory.facts import Remember
from plumbgraph.memory.items import MemoryItem
from plumbgraph.memory.keys import Layout, Namespace, ShardBy, check_tenant
from plumbgraph.memory.ops import Delete, Get, History, Put
from plumbgraph.memory.options import OF_PUT, PutOptions, StoreOptions, marked
from plumbgraph.memory.records import Moment, Version
from plumbgraph.memory.terms import Terms
from plumbgraph.memory.timetravel import Change
from plumbgraph.redis import sources
from plumbgraph.redis.clients import Redis, RedisPlan
from plumbgraph.redis.library import library
from plumbgraph.tracing import emit

Outcome = TypeVar("Outcome")
_LIBRARY = library("memory")  # read now: a store may be made inside an event loop
AnyOp: TypeAlias = Op | Put | Delete | Get | History | Remember | Recall
"""LangGraph's four operations and ours."""
Server: TypeAlias = sources.Server | Redis
"""URL, client, or a function that returns one of them."""


class CoreStore(BaseStore):
    """A `BaseStore` whose items have versions; see `MemoryStore`, which is what you want."""

    supports_ttl = True

    def __init__(
        self,
        redis: Server,
        *,
        tenant: origin.Tenant = "default",
        shard_by: ShardBy = "tenant",
        ttl: TTLConfig | None = None,
        history: int = 20,
        history_age_s: float = 90 * 86_400,
        feed: int = 10_000,
        max_value_bytes: int = 1_000_000,
        prefix: str = "plumb",
        durability: Literal["memory", "wait"] = "memory",
        replicas: int = 1,
        wait_s: float = 1.0,
    ) -> None:
        if isinstance(tenant, str):
            check_tenant(tenant)
        if history < 0 or feed < 0 or history_age_s <= 0 or max_value_bytes <= 0:
            raise MemoryInvalid(
                "history and feed must not be negative, history_age_s and max_value_bytes must "
                "be positive."
            )
        if shard_by not in {"tenant", "namespace_root"}:
            raise MemoryInvalid(f"shard_by={shard_by!r} is neither tenant nor namespace_root.")
        self._redis = redis if isinstance(redis, Redis) else Redis(redis)
        self._tenant = tenant
        self.ttl_config = ttl
        self._base = Terms(
            layout=Layout("", shard_by, prefix),
            library=_LIBRARY,
            keep=history,
            age_ms=round(history_age_s * 1000),
            feed=feed,
            max_value_bytes=max_value_bytes,
            sliding=bool(ttl and ttl.get("default_ttl")),
            replicas=replicas if durability == "wait" else 0,
            wait_ms=round(wait_s * 1000),
        )
        self._warned = False
        self._known: dict[str, Terms] = {}

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Unpack[StoreOptions]) -> Self:
        """A store on this URL, to be used with `with` or `async with`, or just so."""
        return cls(conn_string, **cast(Any, options))

    def setup(self) -> None:
        """Load the Lua library now rather than on first use."""
        self._redis.run(self._base.library.load())

    async def asetup(self) -> None:
        """Load the Lua library now; see `setup`."""
        await self._redis.arun(self._base.library.load())

    @property
    def terms(self) -> Terms:
        """The terms of the tenant whose code is running."""
        tenant = origin.tenant_of(self._tenant)
        if tenant not in self._known:
            layout = replace(self._base.layout, tenant=tenant)
            self._known[tenant] = replace(self._base, layout=layout)
        return self._known[tenant]

    def _run(self, plan: RedisPlan[Outcome]) -> Outcome:
        result = self._redis.run(plan)
        self._warn()
        return result

    async def _arun(self, plan: RedisPlan[Outcome]) -> Outcome:
        result = await self._redis.arun(plan)
        self._warn()
        return result

    def _warn(self) -> None:
        facts = self._redis.facts
        if self._warned or facts is None or not facts.may_evict:
            return
        self._warned = True
        emit(MayEvict(target=self._redis.target, policy=facts.eviction))

    def batch(self, ops: Iterable[AnyOp]) -> list[Any]:
        """Carry out operations together, LangGraph's and this package's, in as few round trips.

        Reads see what was there before the writes of the same batch. Every operation is carried
        out; the first failure is then raised.
        """
        asked = list(ops)
        return batching.finished(asked, self._run(self._batch(asked)))

    async def abatch(self, ops: Iterable[AnyOp]) -> list[Any]:
        """Carry out operations together; see `batch`."""
        asked = list(ops)
        return batching.finished(asked, await self._arun(self._batch(asked)))

    def _batch(self, ops: list[Any]) -> RedisPlan[list[Any]]:
        return batching.batched(self.terms, ops, self._planner, origin.provenance)

    def _planner(self, op: Any) -> RedisPlan[Any]:
        return batching.plan_of(self.terms, op)

    def put(  # type: ignore[override]  # LangGraph's own returns nothing
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
        **options: Unpack[PutOptions],
    ) -> int:
        """The version just written.

        The earlier version stays in the history. Provenance comes from the running LangGraph
        config. Without `if_version` the last write wins; with it, a lost race is an error. With
        `idempotency_key` the call may be repeated and is, when the reply was lost.

        Args:
            namespace: Labels, the first not `langgraph`.
            key: Name within the namespace.
            value: JSON object.
            index: Fields to search by, `False` for none; by default every text in the value.
            ttl: Minutes to live after the last access.
            **options: See `Put` (conditions and validity) and `Marks`.

        Raises:
            VersionConflict: `if_version` is not the version found.
            MemoryInvalid: The value or an option cannot be stored exactly; nothing was written.
            StoreUnavailable: The server cannot be reached or refuses writes.
        """
        version = self._run(self._put(namespace, key, value, index, ttl, options))
        return batching.wrote(namespace, key, version)

    async def aput(  # type: ignore[override]  # LangGraph's own returns nothing
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
        **options: Unpack[PutOptions],
    ) -> int:
        """The version just written; see `put`."""
        version = await self._arun(self._put(namespace, key, value, index, ttl, options))
        return batching.wrote(namespace, key, version)

    def _put(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None,
        ttl: float | NotProvided | None,
        options: PutOptions,
    ) -> RedisPlan[int]:
        known: dict[str, Any] = {k: options[k] for k in OF_PUT if k in options}  # type: ignore[literal-required]  # the names are the TypedDict's own
        marks = {k: v for k, v in options.items() if k not in {*OF_PUT, "source"}}
        fields = tuple(index) if isinstance(index, list) else index
        op = Put(
            namespace=namespace,
            key=key,
            value=value,
            ttl=self._ttl(ttl),
            marks=marked(index=fields, **marks),
            provenance=origin.provenance(options.get("source")),
            **known,
        )
        batching.native(op, origin.provenance)
        return self._planner(op)

    def _ttl(self, ttl: float | NotProvided | None) -> float | None:
        if isinstance(ttl, NotProvided):
            return (self.ttl_config or {}).get("default_ttl")
        return ttl

    def get(
        self,
        namespace: Namespace,
        key: str,
        *,
        refresh_ttl: bool | None = None,
        as_of: Moment | None = None,
        valid_at: Moment | None = None,
    ) -> MemoryItem | None:
        """The item, or `None`; by default as it is now.

        Args:
            namespace: Labels.
            key: Name within the namespace.
            refresh_ttl: Start its time to live anew.
            as_of: A version number (an `int`), or a moment (a datetime, or a `float` of epoch
                seconds): what the store knew then.
            valid_at: A moment: what was true then, as known now or `as_of`.
        """
        return self._run(
            self._get(namespace, key, refresh_ttl=refresh_ttl, as_of=as_of, valid_at=valid_at)
        )

    async def aget(
        self,
        namespace: Namespace,
        key: str,
        *,
        refresh_ttl: bool | None = None,
        as_of: Moment | None = None,
        valid_at: Moment | None = None,
    ) -> MemoryItem | None:
        """The item, or `None`; see `get`."""
        return await self._arun(
            self._get(namespace, key, refresh_ttl=refresh_ttl, as_of=as_of, valid_at=valid_at)
        )

    def _get(
        self,
        namespace: Namespace,
        key: str,
        *,
        refresh_ttl: bool | None,
        as_of: Moment | None,
        valid_at: Moment | None,
    ) -> RedisPlan[MemoryItem | None]:
        op: Any
        if as_of is None and valid_at is None:
            default = (self.ttl_config or {}).get("refresh_on_read", True)
            op = GetOp(namespace, key, default if refresh_ttl is None else refresh_ttl)
        else:
            op = Get(namespace=namespace, key=key, as_of=as_of, valid_at=valid_at)
        return self._planner(batching.native(op, origin.provenance))

    def delete(
        self,
        namespace: Namespace,
        key: str,
        *,
        if_version: int | None = None,
        idempotency_key: str = "",
    ) -> None:
        """Delete the item; its history stays readable until its age ends. See `erase`.

        Raises:
            VersionConflict: `if_version` is not the version found.
        """
        there = self._run(self._delete(namespace, key, if_version, idempotency_key))
        batching.deleted(namespace, key, there=there)

    async def adelete(
        self,
        namespace: Namespace,
        key: str,
        *,
        if_version: int | None = None,
        idempotency_key: str = "",
    ) -> None:
        """Delete the item; see `delete`."""
        there = await self._arun(self._delete(namespace, key, if_version, idempotency_key))
        batching.deleted(namespace, key, there=there)

    def _delete(
        self, namespace: Namespace, key: str, if_version: int | None, idempotency_key: str
    ) -> RedisPlan[bool]:
        op = Delete(
            namespace=namespace,
            key=key,
            if_version=if_version,
            idempotency_key=idempotency_key,
            provenance=origin.provenance(),
        )
        batching.native(op, origin.provenance)
        return plans.delete(self.terms, op)

    def history(self, namespace: Namespace, key: str) -> list[Version]:
        """Every version still known, newest first, deletions and outvoted claims included."""
        return self._run(self._history(namespace, key))

    async def ahistory(self, namespace: Namespace, key: str) -> list[Version]:
        """Every version still known; see `history`."""
        return await self._arun(self._history(namespace, key))

    def _history(self, namespace: Namespace, key: str) -> RedisPlan[list[Version]]:
        op = batching.native(History(namespace=namespace, key=key), origin.provenance)
        return plans.history(self.terms, op)

    def diff(self, namespace: Namespace, key: str, before: Moment, after: Moment) -> list[Change]:
        """What changed in an item's value between two versions (`int`) or moments.

        Raises:
            MemoryExpired: The item has a value at neither of them.
        """
        return self._run(self._diff(namespace, key, before, after))

    async def adiff(
        self, namespace: Namespace, key: str, before: Moment, after: Moment
    ) -> list[Change]:
        """What changed between two versions or moments; see `diff`."""
        return await self._arun(self._diff(namespace, key, before, after))

    def _diff(
        self, namespace: Namespace, key: str, before: Moment, after: Moment
    ) -> RedisPlan[list[Change]]:
        op = Get(namespace=namespace, key=key, as_of=before)
        return plans.diff(self.terms, batching.native(op, origin.provenance), after)

    def revert(self, namespace: Namespace, key: str, to: Moment) -> int:
        """The new version, which has the value and marks of an earlier version or moment.

        Nothing is taken out of the history. A write that comes between is not overwritten.

        Raises:
            MemoryExpired: The version asked for is not known any more, or was a deletion.
            VersionConflict: Somebody wrote meanwhile.
        """
        return self._run(self._revert(namespace, key, to))

    async def arevert(self, namespace: Namespace, key: str, to: Moment) -> int:
        """The new version with an earlier value; see `revert`."""
        return await self._arun(self._revert(namespace, key, to))

    def _revert(self, namespace: Namespace, key: str, to: Moment) -> RedisPlan[int]:
        op = Get(namespace=namespace, key=key, as_of=to)
        batching.native(op, origin.provenance)
        return plans.revert(self.terms, op, origin.provenance("revert"))

    def sweep(self) -> int:
        """Drop at once what expired items left in the indexes; the number of items.

        Reads never see expired items anyway, and writes and listings sweep along.
        """
        return self._run(plans.sweep(self.terms))

    async def asweep(self) -> int:
        """Drop what expired items left in the indexes; see `sweep`."""
        return await self._arun(plans.sweep(self.terms))

    def close(self) -> None:
        """Close the connections this store opened."""
        self._redis.close()

    async def aclose(self) -> None:
        """Close the connections this store opened, of this loop too."""
        await self._redis.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

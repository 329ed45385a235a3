"""`PlumbSaver`: LangGraph's checkpointer on PostgreSQL, both colours on one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, Literal, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from plumbgraph.errors import SettingsError
from plumbgraph.postgres.pool import AsyncPool, Database, SyncPool
from plumbgraph.postgres.statement import SqlPlan
from plumbgraph.state import context, reading, task_writes, writing
from plumbgraph.state.adoption import Adoption, Mode
from plumbgraph.state.context import StreamKey
from plumbgraph.state.core import Core, Tenant
from plumbgraph.state.crypt import Encryption, Vault
from plumbgraph.state.events import worked_around
from plumbgraph.state.exchange_face import ExchangeFace
from plumbgraph.state.ids import checked_text
from plumbgraph.state.listing import AnyListing, Listing, ListRequest
from plumbgraph.state.pace import Offer
from plumbgraph.state.retention import Retention
from plumbgraph.state.run_face import RunFace
from plumbgraph.state.serde import Allowed, PlumbSerializer
from plumbgraph.state.thread_face import ThreadFace
from plumbgraph.state.upkeep_face import UpkeepFace
from plumbgraph.state.versions import next_version


class PlumbSaver(ThreadFace, RunFace, UpkeepFace, ExchangeFace, BaseCheckpointSaver[Any]):
    """A checkpointer that stores each message once and lets one writer win.

    Makes no connection until first used and needs no running loop to be made; one object serves
    `invoke`, `ainvoke`, worker threads and several event loops. Copies (`copy.copy`,
    `with_allowlist`) share connections and caches.

    Args:
        postgres: A URL (both colours), a psycopg pool (its own colour), or a
            `plumbgraph.postgres.pool.Database` to share with other parts.
        schema: Where the tables live; not used where a `Database` is given.
        tenant: Whose threads these are: a name, or a function of the run's config.
        serde: Serializer of values; by default LangGraph's format, strict in both directions.
        allow: Classes, or `(module, name)` pairs, that state may hold beside the safe ones.
        on_stale: What a put on an old parent does that is no deliberate fork: "raise"
            `StaleWriter`, or "fork" and so keep both branches.
        encryption: Keys under which everything a user supplied is sealed (extra `encryption`).
        retention: What `sweep` keeps of threads that have no rules of their own.
        adopt: What becomes of threads that LangGraph's PostgresSaver left in the same database:
            "move" takes a thread over when it is first written to, "read" only reads them, "off"
            does not look. The old rows stay as they are. Needs a `tenant` that is a name.
        legacy_schema: Where the tables of PostgresSaver are.
        pool_max: Most connections a process and colour may hold.
        auto_setup: Create or update the tables on first use.

    Raises:
        SettingsError: An argument cannot be used; two exclude each other.
    """

    def __init__(
        self,
        postgres: str | SyncPool | AsyncPool | Database,
        *,
        schema: str = "plumbgraph",
        tenant: Tenant = "default",
        serde: SerializerProtocol | None = None,
        allow: Allowed = (),
        on_stale: Literal["raise", "fork"] = "raise",
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        adopt: Mode = "move",
        legacy_schema: str = "public",
        pool_max: int = 4,
        auto_setup: bool = True,
    ) -> None:
        if on_stale not in ("raise", "fork"):
            raise SettingsError(
                f"on_stale={on_stale!r} is not known.", hint='Use "raise" or "fork".'
            )
        if serde is not None and allow:
            raise SettingsError(
                "Both serde and allow are given.", hint="Give the allowed types to your serializer."
            )
        super().__init__(serde=serde or PlumbSerializer(allow=allow))
        if isinstance(postgres, Database):
            db = postgres
        else:
            options: Any = {"pool_max": pool_max, "auto_setup": auto_setup}
            db = Database(postgres, schema=schema, on_event=worked_around, **options)
        self._opened_here = not isinstance(postgres, Database)
        vault = None if encryption is None else Vault(encryption)
        self._core = Core(db, tenant, on_stale, retention, vault)
        self._adoption = Adoption(self._core, legacy_schema, adopt)

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """A saver for a URL; usable as it is, and with `with` or `async with`."""
        return cls(conn_string, **options)

    def for_tenant(self, tenant: str) -> Self:
        """This saver for one tenant, sharing connections and caches.

        What takes no run's config (`threads`, `sweep`, `recover`, `delete_thread`, …) needs it
        where `tenant` is a function; see also `tenants`.
        """
        return self._with(replace(self._core, tenant=checked_text("tenant", tenant)))

    def with_retention(self, rules: Retention | None) -> Self:
        """This saver with these rules for threads that have none of their own."""
        return self._with(replace(self._core, retention=rules))

    def _with(self, core: Core) -> Self:
        other = copy(self)
        vars(other).update(_core=core, _adoption=self._adoption.for_core(core), _opened_here=False)
        return other

    # --- set-up and the end ---

    def setup(self) -> None:
        """Create or update the tables; idempotent, and safe when many processes race."""
        self._core.db.setup()

    async def asetup(self) -> None:
        """Create or update the tables; see `setup`."""
        await self._core.db.asetup()

    def close(self) -> None:
        """Close the connections of blocking calls; a given pool or Database stays open."""
        if self._opened_here:
            self._core.db.close()

    async def aclose(self) -> None:
        """Close the connections of this loop and of blocking calls; see `close`."""
        if self._opened_here:
            await self._core.db.aclose()

    def forget(self) -> None:
        """Empty this process's caches; nothing is lost, the next reads bring all anew."""
        self._core.forget_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # --- reading ---

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The latest checkpoint of a thread, or the one the config names; None if there is none.

        Its values belong to the caller alone. Its pending writes are in the order in which a
        live run applies them.
        """
        return self._core.db.run(self._get(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The latest checkpoint of a thread, or the one the config names; see `get_tuple`."""
        return await self._core.db.arun(self._get(config))

    def _get(self, config: RunnableConfig) -> SqlPlan[CheckpointTuple | None]:
        stream = self._core.stream_of(config)
        if "checkpoint_id" not in config["configurable"]:
            # LangGraph looks up the head with an explicit None while it runs from an older id.
            context.read_latest((self._core.scope(stream[0]), *stream[1:]))
        wanted = get_checkpoint_id(config)
        if (yield from self._adoption.foreign_to_us(stream)):
            if wanted:
                context.read_explicitly((self._core.scope(stream[0]), *stream[1:]), wanted)
            return (yield from self._adoption.legacy.get(stream, wanted, self.serde))
        return (yield from reading.get_tuple(self._core, stream, wanted, self.serde))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first, each read and decoded when it is asked for."""
        listing = self._listing(config, filter, before, limit)
        while (found := self._core.db.run(listing.next())) is not None:
            yield found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first; see `list`."""
        listing = self._listing(config, filter, before, limit)
        while (found := await self._core.db.arun(listing.next())) is not None:
            yield found

    def _listing(
        self,
        config: RunnableConfig | None,
        wanted: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> AnyListing:
        found = (config or {}).get("configurable", {})
        thread, ns = found.get("thread_id"), found.get("checkpoint_ns")
        ask = ListRequest(
            self._core.tenant_of(config or {}),
            None if thread is None else checked_text("thread_id", thread),
            None if ns is None else checked_text("checkpoint_ns", ns),
            found.get("checkpoint_id"),
            get_checkpoint_id(before) if before else None,
            wanted or {},
            limit,
        )
        return AnyListing(Listing(self._core, ask, self.serde), self._adoption)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """For each DeltaChannel its stored value and the writes since; usually one statement."""
        return self._core.db.run(self._history(config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """For each DeltaChannel its stored value and the writes since."""
        return await self._core.db.arun(self._history(config, channels))

    def _history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> SqlPlan[dict[str, DeltaChannelHistory]]:
        stream, wanted = self._core.stream_of(config), get_checkpoint_id(config)
        if (yield from self._adoption.foreign_to_us(stream)):
            return (yield from self._adoption.legacy.history(stream, wanted, channels, self.serde))
        return (yield from reading.history(self._core, stream, wanted, channels, self.serde))

    # --- writing ---

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and make it the thread's head, in one statement.

        Waits for the writes of its parent that this saver has been handed, so that what a
        checkpoint includes is never newer than what is stored about its tasks.

        Raises:
            StaleWriter: The parent is no longer the head, and this is no deliberate fork.
            TypeRefused: A value holds a type that is not allowed; nothing was written.
            ThreadDeleted: The thread was deleted.
            ClaimLost: The claim this call was made under has run out or passed on.
            ThreadBusy: Another process has claimed the thread.
        """
        with self._put(config, checkpoint, metadata, new_versions) as (ask, offer):
            if offer is None:
                self._core.writes.wait((ask.stream, ask.parent or ""))
            self._core.db.run(self._store(ask, offer))
        return _config(ask.stream, checkpoint["id"])

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and make it the thread's head; see `put`."""
        with self._put(config, checkpoint, metadata, new_versions) as (ask, offer):
            if offer is None:
                await self._core.writes.await_((ask.stream, ask.parent or ""))
            await self._core.db.arun(self._store(ask, offer))
        return _config(ask.stream, checkpoint["id"])

    def _store(self, ask: writing.PutRequest, offer: Offer | None) -> SqlPlan[None]:
        yield from self._adoption.ready(ask.stream, ask.claim, ask.serde)
        yield from writing.put(self._core, ask, offer)

    @contextmanager
    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Iterator[tuple[writing.PutRequest, Offer | None]]:
        stream = self._core.stream_of(config)
        scope = self._core.scope(stream[0])
        parent = get_checkpoint_id(config) or None
        flying = self._core.writes.number((stream, parent or ""))
        with (
            self._core.puts.flight((stream, checkpoint["id"])),
            self._core.paces.put_on(stream, parent or "", flying=flying) as offer,
        ):
            ask = writing.PutRequest(
                stream,
                parent,
                checkpoint,
                get_checkpoint_metadata(config, metadata),
                new_versions,
                self.serde,
                context.claim_of(scope, stream[1]),
                context.reading_of((scope, *stream[1:])),
                None if stream[2] else context.accepted_of(scope, stream[1]),
            )
            yield ask, offer

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote, in one statement; what is stored already stays.

        Where one task a step writes, that is the statement of the `put` which follows.

        Raises:
            TypeRefused: A value holds a type that is not allowed; nothing was written.
            ThreadDeleted: The thread was deleted.
            ClaimLost: The claim this call was made under has run out or passed on.
            ThreadBusy: Another process has claimed the thread.
        """
        with self._writes(config, writes, task_id, task_path) as (ask, offer):
            if offer is None or not offer.stored():
                self._core.db.run(self._note(ask))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote; see `put_writes`."""
        with self._writes(config, writes, task_id, task_path) as (ask, offer):
            if offer is None or not await offer.astored():
                await self._core.db.arun(self._note(ask))

    def _note(self, ask: task_writes.WritesRequest) -> SqlPlan[None]:
        yield from self._adoption.ready(ask.stream, ask.claim, ask.serde)
        yield from task_writes.put_writes(self._core, ask)

    @contextmanager
    def _writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Iterator[tuple[task_writes.WritesRequest, Offer | None]]:
        stream, checkpoint_id = (
            self._core.stream_of(config),
            config["configurable"]["checkpoint_id"],
        )
        claim = context.claim_of(self._core.scope(stream[0]), stream[1])
        ask = task_writes.WritesRequest(
            stream, checkpoint_id, writes, task_id, task_path, self.serde, claim
        )
        flight = self._core.writes.flight((stream, checkpoint_id))
        with flight, self._core.paces.offered(ask) as offer:
            yield ask, offer

    def get_next_version(self, current: Any, channel: None) -> Any:  # noqa: ARG002 - LangGraph's
        """The channel version after `current`; whole numbers, or texts where a thread has those."""
        return next_version(current)


def _config(stream: StreamKey, checkpoint_id: str) -> RunnableConfig:
    _, thread, ns = stream
    found = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
    return {"configurable": found}

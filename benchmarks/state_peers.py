"""The savers that are compared, and the graphs they are compared on."""

from __future__ import annotations

import asyncio
import operator
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

import psycopg
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import END, START, StateGraph, add_messages
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from plumbgraph.state import PlumbSaver

PG, US = "PostgresSaver", "PlumbSaver"
Rows: TypeAlias = list[dict[str, Any]]
WORDS = [f"{chr(97 + n % 26)}{n}" for n in range(4000)]


def texts(count: int, size: int = 1000) -> list[str]:
    """Texts of Zipf-distributed words, which compress about as prose does."""
    dice = random.Random(7)
    return [
        " ".join(WORDS[int(min(dice.paretovariate(0.25), 1e9)) % 4000] for _ in range(size // 3))[
            :size
        ]
        for _ in range(count)
    ]


TEXTS = texts(5200)


class Messages(TypedDict):
    messages: Annotated[list[Any], add_messages]
    n: int


def _extend(state: list[Any], writes: list[Any]) -> list[Any]:
    return [*state, *(each for write in writes for each in write)]


class Deltas(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_extend, snapshot_frequency=50)]
    n: int


class Files(TypedDict):
    files: Annotated[dict[str, str], operator.or_]
    n: int


def graph(saver: Any, steps: int, kind: str = "messages") -> Any:
    """A loop of one node that adds one thing a step."""

    def message(state: Any) -> dict[str, Any]:
        n = state["n"]
        return {"messages": [AIMessage(TEXTS[n % 5200], id=f"m{n}")], "n": n + 1}

    def file(state: Any) -> dict[str, Any]:
        n = state["n"]
        return {"files": {f"f{n % 50}": TEXTS[n % 5200] + TEXTS[(n + 1) % 5200]}, "n": n + 1}

    schema: Any = {"messages": Messages, "deltas": Deltas, "files": Files}[kind]
    made = StateGraph(schema)
    made.add_node("work", file if kind == "files" else message)
    made.add_edge(START, "work")
    made.add_conditional_edges("work", lambda s: "work" if s["n"] < steps else END)
    return made.compile(checkpointer=saver)


def start(kind: str = "messages", count: int = 1) -> dict[str, Any]:
    """The input of a run, with so many messages in it."""
    if kind == "files":
        return {"files": {f"f{n}": TEXTS[n] + TEXTS[n + 1] for n in range(50)}, "n": 0}
    found = [HumanMessage(TEXTS[n % 5200], id=f"s{n}") for n in range(count)]
    return {"messages": found, "n": 0}


def config(thread: str) -> Any:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}, "recursion_limit": 20_000}


@dataclass
class Peer:
    """One saver under test, with a way to open it anew and to weigh it."""

    name: str
    open: Callable[[], Any]
    schema: str | None = None
    weigh: Callable[[], float] | None = None
    loop: asyncio.AbstractEventLoop | None = None
    opened: list[Any] = field(default_factory=list)

    @property
    def saver(self) -> Any:
        """The saver that stays open."""
        if not self.opened:
            self.opened.append(self.open())
        return self.opened[0]

    def invoke(self, made: Any, value: Any, thread: str) -> Any:
        """Run a graph to its end, every step durable, in the saver's own colour."""
        if self.loop is None:
            return made.invoke(value, config(thread), durability="sync")
        return self.loop.run_until_complete(made.ainvoke(value, config(thread), durability="sync"))

    def get(self, where: Any) -> Any:
        """One checkpoint."""
        if self.loop is None:
            return self.saver.get_tuple(where)
        return self.loop.run_until_complete(self.saver.aget_tuple(where))

    def list(self, where: Any, limit: int) -> Any:
        """Some checkpoints."""
        if self.loop is None:
            return list(self.saver.list(where, limit=limit))

        async def found() -> Any:
            return [each async for each in self.saver.alist(where, limit=limit)]

        return self.loop.run_until_complete(found())


@contextmanager
def peers(
    url: str, redis_url: str | None, *, pool: int = 16, wide: bool = False
) -> Iterator[dict[str, Peer]]:
    """All savers that can be had here, each with an empty schema, file or server."""
    with ExitStack() as stack, psycopg.connect(url, autocommit=True) as admin:
        mark = secrets.token_hex(4)
        found = {
            "InMemorySaver": Peer("InMemorySaver", InMemorySaver),
            "PostgresSaver": _postgres(url, admin, f"peer_{mark}", pool, stack),
            "PlumbSaver": _plumb(url, f"plumb_{mark}", stack),
        }
        if redis_url is not None or wide:
            found["AsyncPostgresSaver"] = _async_postgres(url, admin, f"apeer_{mark}", stack)
        for make in (_sqlite, _redis):
            peer = make(stack, redis_url)
            if peer is not None:
                found[peer.name] = peer
        yield found
        for name in (f"peer_{mark}", f"apeer_{mark}", f"plumb_{mark}"):
            admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def _relations(admin: Any, schema: str) -> float:
    sql = (
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) / 1e6 FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relkind = 'r'"
    )
    return float(admin.execute(sql, (schema,)).fetchone()[0])


def _postgres(url: str, admin: Any, schema: str, pool: int, stack: ExitStack) -> Peer:
    admin.execute(f'CREATE SCHEMA "{schema}"')
    options = {"autocommit": True, "prepare_threshold": 0, "options": f"-csearch_path={schema}"}
    made = stack.enter_context(ConnectionPool(url, min_size=1, max_size=pool, kwargs=options))

    def open_() -> PostgresSaver:
        saver = PostgresSaver(made)  # type: ignore[arg-type]
        saver.setup()
        return saver

    return Peer("PostgresSaver", open_, schema, lambda: _relations(admin, schema))


def _async_postgres(url: str, admin: Any, schema: str, stack: ExitStack) -> Peer:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    admin.execute(f'CREATE SCHEMA "{schema}"')
    options = {"autocommit": True, "prepare_threshold": 0, "options": f"-csearch_path={schema}"}
    loop = asyncio.new_event_loop()
    stack.callback(loop.close)

    async def open_() -> Any:
        pool = AsyncConnectionPool(url, open=False, min_size=1, max_size=16, kwargs=options)
        await pool.open()
        closing.append(pool)
        saver = AsyncPostgresSaver(pool)  # type: ignore[arg-type]
        await saver.setup()
        return saver

    closing: list[Any] = []
    stack.callback(lambda: [loop.run_until_complete(pool.close()) for pool in closing])
    weigh = partial(_relations, admin, schema)
    return Peer("AsyncPostgresSaver", lambda: loop.run_until_complete(open_()), schema, weigh, loop)


def _plumb(url: str, schema: str, stack: ExitStack) -> Peer:
    def open_() -> PlumbSaver:
        saver = stack.enter_context(PlumbSaver(url, schema=schema, adopt="off"))
        saver.get_tuple(config("warm"))
        return saver

    # The schema also holds the tables of other parts, which a saver alone does not fill.
    def weigh() -> float:
        with PlumbSaver(url, schema=schema, adopt="off") as saver:
            return sum(saver.size().table_bytes.values()) / 1e6

    return Peer("PlumbSaver", open_, schema, weigh)


def _sqlite(stack: ExitStack, _: str | None) -> Peer | None:
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ImportError:
        return None
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def open_() -> Any:
        return stack.enter_context(SqliteSaver.from_conn_string(str(folder / "state.db")))

    def weigh() -> float:
        return sum(path.stat().st_size for path in folder.iterdir()) / 1e6

    return Peer("SqliteSaver", open_, None, weigh)


def _redis(stack: ExitStack, url: str | None) -> Peer | None:
    if url is None:
        return None
    import redis
    from langgraph.checkpoint.redis import RedisSaver

    client = redis.Redis.from_url(url)
    client.flushall()

    def open_() -> Any:
        saver = stack.enter_context(RedisSaver.from_conn_string(url))
        saver.setup()
        return saver

    empty = client.info("memory")["used_memory"]
    return Peer(
        "RedisSaver", open_, None, lambda: (client.info("memory")["used_memory"] - empty) / 1e6
    )


def behind(url: str, port: int) -> str:
    """The URL with a proxy's port in place of its own."""
    parts = conninfo_to_dict(url)
    parts.update(host="127.0.0.1", port=str(port))
    return make_conninfo("", **{key: value for key, value in parts.items() if value is not None})


def run(peer: Peer, thread: str, steps: int = 200, kind: str = "messages") -> float:
    """Milliseconds a step of one run, every step durable."""
    made, value = graph(peer.saver, steps, kind), start(kind)
    began = time.perf_counter()
    peer.invoke(made, value, thread)
    return (time.perf_counter() - began) / steps * 1000

"""A client that kills itself at any yield of any plan loses no acknowledged write.

Every plan is cut off before and after each of its round trips: in this process by an error that
no plan can catch, and for a sample (with `-m crash` for all) by a real SIGKILL in a fork.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import pytest
import redis
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.base import GetOp, PutOp

from plumbgraph.memory import Attribute, Fact, MemoryStore
from plumbgraph.memory.ops import Put
from plumbgraph.memory.sleep import SleepReport
from plumbgraph.plan import run
from plumbgraph.redis.clients import Command
from plumbgraph.redis.library import Library

NS = ("users", "ana")
DAY = datetime(2026, 5, 2, tzinfo=UTC)
When: TypeAlias = Literal["before", "after"]
State: TypeAlias = dict[tuple[str, ...], Any]


class Killed(BaseException):
    """The end of a client: plans never see it."""


def prepared(store: MemoryStore) -> None:
    """Acknowledged writes of every sort, made before the plan that dies."""
    store.put(NS, "a", {"text": "Ana drinks strong green tea every single morning at home"})
    store.put(NS, "b", {"text": "Ana drinks strong green tea every single MORNING  at home"})
    store.put(NS, "e", {"text": "We met yesterday"}, valid_from=DAY)
    store.put(NS, "many", {"n": 1})
    store.put(NS, "many", {"n": 2})
    store.put(NS, "gone", {"n": 1})
    store.delete(NS, "gone")
    store.put(NS, "brief", {"text": "for an hour"}, ttl=60)
    store.put(("users", "zoe"), "z", {"text": "Zoe knows Bert"})
    store.put(NS, "names", {"text": "Bert was here"})
    store.put(NS, "names", {"text": "somebody was here"})
    for city, day in (("Rome", 1), ("Oslo", 2)):
        at = datetime(2026, 4, day, tzinfo=UTC)
        store.remember(NS, Fact("Ana", "home_city", city, valid_from=at))
    for firm in ("Acme", "Bolt"):
        store.remember(NS, Fact("Ana", "employer", firm, valid_from=DAY))
    store.remember(NS, Fact("Ana", "shoe size", 38, valid_from=DAY))


def _several(store: MemoryStore) -> Any:
    puts = [Put(namespace=NS, key=f"n{n}", value={"n": n}, idempotency_key="x") for n in range(3)]
    return store.batch([*puts, PutOp(NS, "a", None), GetOp(NS, "many")])


def _dense(store: MemoryStore) -> Any:
    model = DeterministicFakeEmbedding(size=8)
    store._dense = MemoryStore("redis://x", index={"dims": 8, "embed": model})._dense
    return store.put(NS, "v", {"text": "a vector"})


def _judged(store: MemoryStore) -> Any:
    fact = Fact("Ana", "home_city", "Bonn", valid_from=DAY)
    return store.remember(NS, fact, policy=lambda _held, _claim: "supersede")


def _declared(store: MemoryStore) -> None:
    """From now on the quarantined attribute fits a declaration."""
    store.rules = MemoryStore("redis://x", attributes=(*ATTRIBUTES, Attribute("shoe_size"))).rules


def _sleep(store: MemoryStore) -> Any:
    _declared(store)
    return store.sleep(NS)


def _slept(store: MemoryStore) -> None:
    prepared(store)
    _declared(store)
    store.sleep(NS)


def _undo(store: MemoryStore) -> Any:
    """Undo the one sleep there was, unless that is done already."""
    journals = Command("SMEMBERS", f"{store.terms.shard(NS).journal}:all")
    connection: Any = store._redis
    (ids,) = connection.inner.send((journals,))
    return [store.undo(SleepReport(each.decode(), NS, dry_run=False)) for each in ids]


def _import(store: MemoryStore) -> Any:
    connection: Any = store._redis
    with MemoryStore(connection.inner, tenant="source", attributes=ATTRIBUTES) as source:
        lines = source.export()
    return store.import_lines([line.replace("Oslo", "Kyiv") for line in lines])


def _source(store: MemoryStore) -> None:
    with MemoryStore(store._redis, tenant="source", attributes=ATTRIBUTES) as source:
        if not source.export():
            prepared(source)
    prepared(store)


def _uses(store: MemoryStore) -> Any:
    return [store.recall(NS, "tea morning"), store.recall(NS, "tea"), store.search((), query="tea")]


def _feed(store: MemoryStore) -> Any:
    first, cursor = store.changes(("users",), most=4)
    rest, _ = store.changes(("users",), after=cursor)
    return [*first, *rest, *store.watch(("users",), after="0", timeout_s=0.0)]


def _bare(store: MemoryStore) -> None:
    """The server does not have this store's library yet."""
    prepared(store)
    library = store._base.library
    other = Library("memory", f"{library.source}-- {secrets.token_hex(8)}\n")
    store._known.clear()
    store._base = replace(store._base, library=other)


ATTRIBUTES = (Attribute("home_city"), Attribute("employer", policy="contest"))


@dataclass(frozen=True)
class Job:
    """A plan to be cut off, after what was acknowledged before it."""

    act: Callable[[MemoryStore], Any]
    before: Callable[[MemoryStore], None] = prepared


JOBS = {
    "put": Job(lambda s: s.put(NS, "new", {"n": 1}, idempotency_key="once")),
    "overwrite": Job(lambda s: s.put(NS, "many", {"n": 3}, idempotency_key="once")),
    "ttl": Job(lambda s: s.put(NS, "a", {"text": "short"}, ttl=60, idempotency_key="once")),
    "without library": Job(lambda s: s.put(NS, "new", {}, idempotency_key="once"), _bare),
    "batch": Job(_several),
    "delete": Job(lambda s: s.delete(NS, "many", idempotency_key="once")),
    "get": Job(lambda s: [s.get(NS, "brief"), s.get(NS, "many", as_of=1), s.history(NS, "b")]),
    "search": Job(lambda s: [s.search((), filter={"n": 2}), s.list_namespaces()]),
    "embedded put": Job(_dense),
    "remember": Job(lambda s: s.remember(NS, Fact("Ana", "home_city", "Bonn", valid_from=DAY))),
    "judged": Job(_judged),
    "contested": Job(lambda s: s.remember(NS, Fact("Ana", "employer", "Crux", valid_from=DAY))),
    "resolve": Job(lambda s: s.resolve(NS, "Ana", "employer", "Bolt")),
    "revert": Job(lambda s: s.revert(NS, "many", 1)),
    "recall": Job(_uses),
    "feed": Job(_feed),
    "sleep": Job(_sleep),
    "undo": Job(_undo, _slept),
    "erase": Job(lambda s: s.erase("Bert")),
    "export": Job(lambda s: s.export()),
    "import": Job(_import, _source),
    "sweep": Job(lambda s: s.sweep()),
}
REPEATABLE = {
    *("put", "overwrite", "ttl", "without library", "batch", "delete", "resolve", "sleep", "undo"),
    *("erase", "import", "get", "search", "recall", "feed", "export", "sweep"),
}


class Dying:
    """A connection whose client ends before or after one of its round trips."""

    facts = None
    target = "dying"

    def __init__(self, inner: Any, fatal: int, when: When, end: Callable[[], None]) -> None:
        self.inner, self.fatal, self.when, self.end = inner, fatal, when, end
        self.steps = 0

    def run(self, plan: Any) -> Any:
        return run(plan, self.send)

    def close(self) -> None:
        self.inner.close()

    def send(self, batch: Any) -> Any:
        self.steps += 1
        if (self.steps, self.when) == (self.fatal, "before"):
            self.end()
        replies = self.inner.send(batch)
        if (self.steps, self.when) == (self.fatal, "after"):
            self.end()
        return replies


def cut_off(url: str, tenant: str, name: str, fatal: int, when: When, end: Any) -> bool:
    """Whether the job was over before the fatal round trip came."""
    job = JOBS[name]
    with MemoryStore(url, tenant=tenant, attributes=ATTRIBUTES) as store:
        job.before(store)
        inner = store._redis
        store._redis = Dying(inner, fatal, when, end)  # type: ignore[assignment]
        try:
            job.act(store)
        except Killed:
            return False
        finally:
            store._redis = inner
        return True


def state_of(url: str, tenant: str) -> State:
    """What is known of every item, without the moments of the run."""
    with MemoryStore(url, tenant=tenant, attributes=ATTRIBUTES) as store:
        places = [(tuple(line["namespace"]), line["key"]) for line in _lines(store)]
        return {
            (*ns, key): [
                (v.version, v.kind, json.dumps(v.value), v.marks) for v in store.history(ns, key)
            ]
            for ns, key in places
        }


def _lines(store: MemoryStore) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.export()]


def assert_sound(url: str, tenant: str) -> None:
    """Every index names exactly what there is."""
    kind: Any = redis.Redis
    if os.environ.get("PLUMBGRAPH_TEST_REDIS_CLUSTER_URL"):
        kind = redis.RedisCluster
    with (
        MemoryStore(url, tenant=tenant, attributes=ATTRIBUTES) as store,
        kind.from_url(url) as raw,
    ):
        shard = store.terms.shard(NS)
        for ns in (NS, ("users", "zoe")):
            text = "\0".join(ns)
            starts = f"{shard.prefix}i:{text}\0\0".encode()
            items = {
                k[len(starts) :]
                for k in raw.scan_iter(match=f"{shard.prefix}i:*")
                if k.startswith(starts)
            }
            assert set(raw.zrange(shard.live(text), 0, -1)) == items
            assert (text.encode() in raw.zrange(shard.names, 0, -1)) == bool(items)
            assert set(raw.zrange(shard.slots(text), 0, -1)) <= items
            found: list[Any] = store.search(ns, limit=99)
            told = {item.key.encode() for item in found if item.contested}
            assert set(raw.zrange(shard.contested(text), 0, -1)) == told
            assert len(store.facts(ns)) == len({i.key for i in store.facts(ns)})


@dataclass(frozen=True)
class Known:
    """What a job leaves when nobody dies: before it, and after it."""

    before: State
    after: State
    steps: int


@pytest.fixture
def known(redis_url: str) -> Callable[[str], Known]:
    """What a job does when nothing comes between."""

    def find(name: str) -> Known:
        tenant = secrets.token_hex(4)
        with MemoryStore(redis_url, tenant=tenant, attributes=ATTRIBUTES) as store:
            JOBS[name].before(store)
            before = state_of(redis_url, tenant)
            inner = store._redis
            store._redis = dying = Dying(inner, 0, "before", lambda: None)  # type: ignore[assignment]
            JOBS[name].act(store)
            store._redis = inner
        return Known(before, state_of(redis_url, tenant), dying.steps)

    return find


def assert_nothing_lost(url: str, tenant: str, name: str, known: Known) -> None:
    assert_sound(url, tenant)
    left = state_of(url, tenant)
    for place in {*known.before, *known.after, *left}:
        legal = [known.before.get(place, []), known.after.get(place, [])]
        if name == "sleep":
            legal += _on_the_way(*legal)
        assert left.get(place, []) in legal, (place, left.get(place))
    if name in REPEATABLE:
        with MemoryStore(url, tenant=tenant, attributes=ATTRIBUTES) as store:
            JOBS[name].act(_again(store))
        assert {p: _seen(v) for p, v in state_of(url, tenant).items() if v} == {
            p: _seen(v) for p, v in known.after.items() if v
        }


def _on_the_way(before: list[Any], after: list[Any]) -> Iterator[list[Any]]:
    """An item may have been changed twice: each change is a version of its own."""
    for count in range(len(before) + 1, len(after)):
        yield after[-count:]


def _seen(versions: list[Any]) -> Any:
    """What a reader of the item sees: repeating a job may add a version that says the same."""
    return versions[0][1] == "deleted", versions[0][2], versions[0][3]


def _again(store: MemoryStore) -> MemoryStore:
    store._redis = Dying(store._redis, 0, "before", lambda: None)  # type: ignore[assignment]
    return store


def end_here() -> None:
    raise Killed


@pytest.mark.parametrize("name", JOBS)
def test_cut_off_at_every_yield(redis_url: str, name: str, known: Callable[[str], Known]) -> None:
    whole = known(name)
    assert whole.steps >= 1
    for fatal in range(1, whole.steps + 1):
        for when in ("before", "after"):
            tenant = secrets.token_hex(4)
            assert not cut_off(redis_url, tenant, name, fatal, when, end_here)
            assert_nothing_lost(redis_url, tenant, name, whole)


def killed(url: str, asked: list[Any]) -> dict[str, Any]:
    """Each job in a fork of its own that ends itself by SIGKILL; the tenants and their jobs."""
    orders = {secrets.token_hex(4): each for each in asked}
    done = subprocess.run(
        [sys.executable, __file__, url, json.dumps(orders)],
        capture_output=True,
        text=True,
        timeout=110,
        check=True,
    )
    assert set(json.loads(done.stdout).values()) == {signal.SIGKILL}, (done.stdout, done.stderr)
    return orders


def check_kills(url: str, find: Callable[[str], Known], most: int) -> None:
    """End each job at up to so many of its places, and look at what is left."""
    whole = {name: find(name) for name in JOBS}
    asked = []
    for i, (name, known) in enumerate(whole.items()):
        places = [(name, n, w) for n in range(1, known.steps + 1) for w in ("before", "after")]
        asked += [places[(i * 7 + j) % len(places)] for j in range(min(most, len(places)))]
    for tenant, (name, _, _) in killed(url, asked).items():
        assert_nothing_lost(url, tenant, name, whole[name])


def test_killed_once_in_every_plan(redis_url: str, known: Callable[[str], Known]) -> None:
    check_kills(redis_url, known, 1)


@pytest.mark.crash
def test_killed_at_every_yield(redis_url: str, known: Callable[[str], Known]) -> None:
    check_kills(redis_url, known, 1_000)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main(url: str, orders: dict[str, Any]) -> None:
    ends = {}
    for tenant, (name, fatal, when) in orders.items():
        child = os.fork()
        if child == 0:
            cut_off(url, tenant, name, fatal, when, _die)
            os._exit(0)
        ends[tenant] = os.WTERMSIG(os.waitpid(child, 0)[1])
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]))

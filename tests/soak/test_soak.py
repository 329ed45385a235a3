"""Many threads of the whole agent at once, while servers and workers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from redis.crc import key_slot

from plumbgraph import Workspace, servers
from plumbgraph.content import PostgresBlobs
from plumbgraph.memory import MemoryStore
from plumbgraph.routing import Budget, Limit
from plumbgraph.settings import Settings
from plumbgraph.state import PlumbSaver
from plumbgraph.testing.bouncer import pgbouncer
from plumbgraph.testing.cluster import ValkeyCluster

SOURCE = Path(__file__).with_name("soak_worker.py")
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1 << 20
LEASE_S = 20


def load() -> Any:
    spec = spec_from_file_location("soak_worker", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["soak_worker"] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked: workers, threads of each, super-steps of each, and kills."""

    workers: int
    each: int
    steps: int
    kills: int
    failovers: int = 1

    @property
    def names(self) -> list[str]:
        return [f"t{n}" for n in range(self.workers * self.each)]


@dataclass(slots=True)
class Crew:
    """The workers, restarted when they are killed, and what they said."""

    told: dict[str, Any]
    size: Size
    alive: dict[int, subprocess.Popen[str]] = field(default_factory=dict)
    reached: set[tuple[str, int]] = field(default_factory=set)
    said: Counter[str] = field(default_factory=Counter)
    done: set[str] = field(default_factory=set)
    resident: dict[int, list[int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def start(self, number: int) -> None:
        names = self.size.names[number * self.size.each : (number + 1) * self.size.each]
        told = {**self.told, "threads": names, "colour": ["sync", "async"][number % 2]}
        child = subprocess.Popen(
            [sys.executable, str(SOURCE), json.dumps(told)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.alive[number] = child
        threading.Thread(target=self.listen, args=(child,), daemon=True).start()

    def listen(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        assert child.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(child.stderr.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        for line in child.stdout:
            told = json.loads(line)
            with self.lock:
                self.said[told["event"]] += 1
                if told["event"] == "turn":
                    self.reached.add((told["thread"], told["turn"]))
                elif told["event"] == "done":
                    self.done.add(told["thread"])
                elif told["event"] == "retry":
                    self.why[told["why"][:90]] += 1
        child.wait()
        reader.join(5)
        if child.returncode not in (0, -signal.SIGKILL):
            self.failed.append("".join(errors)[-3000:])

    def kill(self, number: int) -> None:
        """Kill a worker and give its threads to a new one."""
        self.alive[number].kill()
        self.alive[number].wait()
        self.start(number)

    def weigh(self) -> None:
        """Note what the workers hold in memory."""
        for child in list(self.alive.values()):
            try:
                pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                continue
            if pages:
                self.resident.setdefault(child.pid, []).append(pages * PAGE)

    @property
    def progress(self) -> float:
        return len(self.reached) / (len(self.size.names) * load_turns(self.size))

    def growth(self) -> float:
        """Most MB that a worker which was never killed grew over the second half of its life."""
        grown = [0.0]
        for number in range(self.size.workers // 2, self.size.workers):
            child = self.alive[number]
            weights = self.resident.get(child.pid, [])
            if len(weights) >= 8:
                half = weights[len(weights) // 2 : len(weights) // 2 + 2]
                grown.append((max(weights[-2:]) - max(half)) / MB)
        return max(grown)


def load_turns(size: Size) -> int:
    return int(sys.modules["soak_worker"].turns_of(size.steps))


@contextmanager
def house(folder: Path, pool: int) -> Iterator[dict[str, Any]]:
    """PostgreSQL of its own behind PgBouncer, and a six-node cluster."""
    with ExitStack() as stack:
        home = folder / "home"
        settings = Settings.load(postgres_url=None, redis_url=None)
        up = stack.enter_context(servers.up(home, settings=settings))
        through = stack.enter_context(
            pgbouncer(up.postgres_url, folder, pool_size=pool, clients=400)
        )
        (folder / "cluster").mkdir()
        cluster = stack.enter_context(ValkeyCluster(folder / "cluster", append=True))
        yield {"direct": up.postgres_url, "through": through, "cluster": cluster, "home": home}


def restart_postgres(home: Path) -> None:
    """Ask the server to stop at once; the supervisor starts it again."""
    found = next(each for each in servers.status(home).servers if each.kind == "postgres")
    os.kill(found.pid, signal.SIGINT)


def fail_over(cluster: ValkeyCluster) -> int:
    """Kill the primary that holds memory and budgets, and bring it back as a replica."""
    port = cluster.primary_of(key_slot(b"default"))
    cluster.processes[port].kill()
    cluster.processes[port].wait()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        time.sleep(0.2)
        if cluster.primary_of(key_slot(b"default")) != port:
            break
    cluster.start(port)
    return port


def soak(folder: Path, size: Size, *, within_s: float) -> dict[str, Any]:
    """Run it all, then hold every record against what the script says must have happened."""
    module = load()
    skill = folder / "skills" / "soaking" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: soaking\ndescription: How to soak.\n---\n\nBe patient.\n")
    began = time.monotonic()
    with house(folder, pool=max(4, size.workers)) as place:
        cluster: ValkeyCluster = place["cluster"]
        told = {
            "postgres": place["through"],
            "redis": cluster.url,
            "schema": "soak",
            "folder": str(folder),
            "steps": size.steps,
        }
        crew = Crew(told, size)
        started = time.monotonic()
        troubled(crew, place, within_s=within_s)
        taken = time.monotonic() - started
        assert not crew.failed, crew.failed[0]
        assert crew.done == set(size.names)
        figures = agreed(module, told | {"postgres": place["direct"]}, size)
    return figures | {
        "threads": len(size.names),
        "super_steps_a_thread": size.steps,
        "workers": size.workers,
        "workers_killed": size.kills,
        "seconds": round(taken, 1),
        "super_steps_a_second": round(len(size.names) * size.steps / taken, 1),
        "retries": crew.said["retry"],
        "retried_because": "; ".join(f"{n}x {why}" for why, n in crew.why.most_common(4)),
        "model_calls": crew.said["turn"],
        "resident_growth_mb": round(crew.growth(), 1),
        "seconds_in_all": round(time.monotonic() - began, 1),
    }


def troubled(crew: Crew, place: dict[str, Any], *, within_s: float) -> None:
    """Let the crew work, and trouble it at its way: kills, a restart and a failover."""
    size = crew.size
    troubles: list[tuple[float, Any]] = [
        (0.1 + 0.8 * n / size.kills, partial(crew.kill, n % (size.workers // 2)))
        for n in range(size.kills)
    ]
    troubles.append((0.35, partial(restart_postgres, place["home"])))
    troubles += [(0.6, partial(fail_over, place["cluster"]))] * size.failovers
    troubles.sort(key=lambda each: each[0])
    for number in range(size.workers):
        crew.start(number)
    end = time.monotonic() + within_s
    while time.monotonic() < end and not crew.failed:
        crew.weigh()
        if troubles and crew.progress >= troubles[0][0]:
            troubles.pop(0)[1]()
        elif all(child.poll() is not None for child in crew.alive.values()):
            break
        time.sleep(0.25)
    for child in crew.alive.values():
        child.kill()
        child.wait()
    time.sleep(0.2)  # the last lines are read
    assert not troubles, "it was over before it was troubled enough"


def agreed(module: Any, told: dict[str, Any], size: Size) -> dict[str, Any]:
    """Messages, files, effects, memory and bill of every thread, as the script says."""
    turns = module.turns_of(size.steps)
    saver = PlumbSaver(told["postgres"], schema=told["schema"])
    store = MemoryStore(told["redis"])
    budget = Budget([Limit("thread", module.THREAD_USD)], redis=told["redis"])
    rush = Budget(module.RUSH_USD, redis=told["redis"], tenant="rush")
    period = f"{datetime.now(UTC):%Y%m}"
    charges = Counter(each.thread_id for each in budget.charges(period))
    outside = (Path(told["folder"]) / "outside.txt").read_text().splitlines()
    sent = Counter(line.split(" ", 1)[1] for line in outside)
    for name in size.names:
        found = saver.get_tuple({"configurable": {"thread_id": name}})
        assert found is not None
        values = found.checkpoint["channel_values"]
        messages_agree(values["messages"], turns)
        files_agree(module, told, saver, name, values, turns)
        wanted = {f"{name} {turn}" for turn in range(turns) if module.sends(turn, turns)}
        assert {text for text in sent if text.split()[0] == name} == wanted, name
        assert len(values["ledger"]) == turns >= charges[name], name
        memory_agrees(module, store, name, turns)
    assert set(sent.values()) <= {1}, sent.most_common(3)
    missing = len(size.names) * turns - sum(charges.values())
    spent = money_agrees(budget, rush, size, module) | {"charges_a_failover_forgot": missing}
    assert missing <= doubted(budget, missing), "an answer was paid and no book knows of it"
    for part in (saver, store, budget, rush):
        part.close()
    return spent | {"effects": len(outside), "charges": sum(charges.values()), "lost": 0}


def doubted(budget: Budget, wanted: int) -> int:
    """Calls counted with their worst case; one whose settlement was forgotten becomes one."""
    end = time.monotonic() + LEASE_S + 10
    while len(budget.doubts()) < wanted and time.monotonic() < end:
        time.sleep(1)
    return len(budget.doubts())


def messages_agree(messages: Any, turns: int) -> None:
    replies = [message for message in messages if isinstance(message, AIMessage)]
    assert len(replies) == turns
    asked = [str(made["id"]) for reply in replies for made in reply.tool_calls]
    answered = [str(m.tool_call_id) for m in messages if isinstance(m, ToolMessage)]
    assert sorted(asked) == sorted(answered)
    assert not [m for m in messages if isinstance(m, ToolMessage) and m.status == "error"]


def files_agree(
    module: Any, told: Any, saver: PlumbSaver, name: str, values: Any, turns: int
) -> None:
    desk = Path(told["folder"]) / "desks" / name
    last = {f"{t % module.FILES}.txt": f"{name} {t}" for t in range(1, turns - 2)}
    assert {each.name: each.read_text() for each in desk.iterdir()} == last
    workspace = Workspace(desk, blobs=PostgresBlobs(saver.database))
    assert workspace.status().digest == workspace.digest(values["workspace"])


def memory_agrees(module: Any, store: MemoryStore, name: str, turns: int) -> None:
    """The facts in their order, each once, and the two messages that were said."""
    place = ("users", name)
    facts = store.facts(place, name)
    wanted = [str(t) for t in range(turns) if module.remembers(t, turns)]
    if wanted:
        (fact,) = facts
        assert fact.value["value"] == wanted[-1]
        versions = [str((v.value or {}).get("value")) for v in store.history(place, fact.key)]
        assert list(dict.fromkeys(reversed(versions))) == wanted
    kept = [item.value for item in store.search(place, limit=50) if "said_by" in item.value]
    assert sorted(str(each["text"]) for each in kept) == sorted([name, "finished"])


def money_agrees(budget: Budget, rush: Budget, size: Size, module: Any) -> dict[str, Any]:
    """No account is over its limit; the tight one was used and never overspent."""
    period = f"{datetime.now(UTC):%Y%m}"
    (account,) = rush.balances()
    limit = round(module.RUSH_USD * 1e9)
    charged = sum(charge.nano for charge in rush.charges(period))
    doubted = sum(doubt.nano for doubt in rush.doubts())
    assert account.spent_nano == charged + doubted
    assert 0 < account.spent_nano + account.held_nano <= limit
    spent = sum(charge.nano for charge in budget.charges(period))
    return {
        "usd": spent / 1e9,
        "rush_limit_usd": module.RUSH_USD,
        "rush_spent_usd": account.spent_nano / 1e9,
        "rush_asked": len(size.names) * module.RUSHES,
        "doubts": len(budget.doubts()),
    }


def test_a_few_threads_survive_every_trouble(tmp_path: Path) -> None:
    size = Size(workers=2, each=3, steps=60, kills=2, failovers=0)
    figures = soak(tmp_path, size, within_s=90)
    assert figures["charges"] + figures["doubts"] >= 6 * 12
    assert figures["retries"] >= 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_sixty_four_threads_of_two_hundred_steps(tmp_path: Path, root: Path) -> None:
    figures = soak(tmp_path, Size(workers=8, each=8, steps=200, kills=10), within_s=3000)
    assert figures["resident_growth_mb"] < 30
    rows = [{"figure": name, "value": value} for name, value in figures.items()]
    sys.path.insert(0, str(root))
    from benchmarks.tables import machine, write_json

    packages = ("langgraph", "langchain-core", "psycopg", "redis")
    write_json("soak", {"machine": machine(*packages), "rows": rows})

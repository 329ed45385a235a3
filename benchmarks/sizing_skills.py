"""Sizing of skills: reading, ranking and publishing them, in bytes and in milliseconds."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from benchmarks.sizing_memory import WORDS
from benchmarks.sizing_state import p50_ms
from plumbgraph import SkillLibrary
from plumbgraph.skills.registry import SkillRegistry

BODY = "Do the first thing first, look at what came out, and then decide what comes next.\n" * 40
PUBLISHED = 1000


def skills(endpoints: Any, most: int) -> list[dict[str, Any]]:
    """Skills of 3 KB with a description of some 100 characters, one folder each."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        made = 0
        for count in (n for n in (10**2, 10**4) if n <= most):
            for number in range(made, count):
                _write(Path(folder), number)
            made = count
            rows.append(_row(folder, endpoints.redis_url, count))
    last = rows[-1]
    a_skill = last["registry, bytes a skill"]
    computed = {"registry, MiB": a_skill * 10**6 / 2**20, "registry, bytes a skill": a_skill}
    return [*rows, {"skills": 10**6, **computed, "how": "computed"}] if most >= 10**6 else rows


def _write(folder: Path, number: int) -> None:
    name = f"{WORDS[number % 20]}-{WORDS[number // 20 % 20]}-{number}"
    place = folder / name
    place.mkdir()
    about = f"Helps with the {WORDS[number % 20]} and its {WORDS[number // 20 % 20]}, case {number}"
    place.joinpath("SKILL.md").write_text(
        f"---\nname: {name}\ndescription: {about}. Use when somebody asks for it.\n---\n{BODY}"
    )


def _row(folder: str, url: str, count: int) -> dict[str, Any]:
    began = time.perf_counter()
    library = SkillLibrary([folder], cache=None)
    library.report()
    cold = (time.perf_counter() - began) * 1000
    again = p50_ms(lambda _: library.refresh(), 5)
    library.search("museum", 5)
    search = p50_ms(lambda i: library.search(f"the {WORDS[i % 20]} case", 5), 20)
    catalog = p50_ms(lambda _: library.catalog(4000), 5)
    size, published = _published(library, url, min(count, PUBLISHED))
    return {
        "skills": count,
        "read all, ms": cold,
        "look again, ms": again,
        "search, ms": search,
        "catalog of 4,000 tokens, ms": catalog,
        "registry, MiB": size * count / 2**20,
        "registry, bytes a skill": size,
        "how": "measured" if published == count else f"registry from {published:,}",
    }


def _published(library: SkillLibrary, url: str, count: int) -> tuple[int, int]:
    """Bytes of a published skill in the registry, and how many were published to know it."""
    records = library.report().loaded[:count]
    with redis.Redis.from_url(url) as server:
        server.flushall()
        registry = SkillRegistry(url)
        registry.versions("none")
        empty = int(server.info("memory")["used_memory"])
        for record in records:
            registry.publish(library.open(record.name))
        size = int(server.info("memory")["used_memory"]) - empty
        registry.redis.close()
    return size // len(records), len(records)

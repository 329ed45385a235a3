"""How fast a published skill is seen by four processes, and turns while the registry is down."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from plumbgraph.content.folder import FolderBlobs
from plumbgraph.redis.clients import Command, Redis
from plumbgraph.skills.desk import SkillDesk
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.registry import RegistrySource, SkillRegistry

PROCESSES = 4
WATCH = """
import sys, time
from plumbgraph.skills.registry import RegistrySource
source = RegistrySource(sys.argv[1], registry=sys.argv[2])
source.scan()
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    while not any(r.name == f"made-{number}" for r in source.scan().records):
        source.wait(5)
    print(time.time(), flush=True)
"""


def rows(url: str, work: Path, publishes: int = 10) -> list[dict[str, Any]]:
    """Seconds from publish until all processes see it; failed turns while it is down."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    registry = SkillRegistry(url, registry=name)
    words = [sys.executable, "-c", WATCH, url, name, str(publishes)]
    watchers = [
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    try:
        for watcher in watchers:
            assert watcher.stdout is not None
            watcher.stdout.readline()
        delays = [_published(registry, watchers, work, number) for number in range(publishes)]
    finally:
        for watcher in watchers:
            watcher.kill()
            watcher.wait()
        failed = _down(url, name, work)
        _clean(registry)
    return [
        {
            "processes": PROCESSES,
            "publishes": publishes,
            "median s until all see it": sorted(delays)[len(delays) // 2],
            "worst s": max(delays),
            "failed turns of 20 while down": failed,
        }
    ]


def _published(
    registry: SkillRegistry, watchers: list[subprocess.Popen[str]], work: Path, number: int
) -> float:
    folder = work / "made" / f"made-{number}"
    folder.mkdir(parents=True)
    text = f"---\nname: made-{number}\ndescription: number {number}\n---\nbody\n"
    (folder / "SKILL.md").write_text(text)
    skill = SkillLibrary([work / "made"], cache=None).open(f"made-{number}")
    started = time.time()  # noqa: TID251 - compared across processes
    registry.publish(skill)
    seen = [float(watcher.stdout.readline()) for watcher in watchers if watcher.stdout]
    return max(seen) - started


class _CutOff(Redis):
    """A server that can be made unreachable."""

    cut = False

    def send(self, batch: Any) -> Any:
        if self.cut:
            return Redis("redis://127.0.0.1:1/0", timeout_s=0.2).send(batch)
        return super().send(batch)


def _down(url: str, name: str, work: Path) -> int:
    """Turns of a thread that failed while the registry did not answer."""
    redis = _CutOff(url)
    library = SkillLibrary([RegistrySource(redis, registry=name)], cache=None)
    desk = SkillDesk(library, blobs=FolderBlobs(work / "down", space="skills"))
    entries = desk.load({}, "made-0").entries
    redis.cut = True
    failed, catalog = 0, None
    for turn in range(20):
        try:
            update = desk.begin(entries, catalog, turn=str(turn), query="number")
            catalog = update["skills_catalog"]
            failed += "made-0" not in desk.prompt(entries, catalog)
        except Exception:  # noqa: BLE001 - counting failures is the point
            failed += 1
    return failed


def _clean(registry: SkillRegistry) -> None:
    cursor: Any = b"0"
    while True:
        ((cursor, keys),) = registry.redis.send(
            (Command("SCAN", cursor, "MATCH", f"{registry.keys.base}*", "COUNT", 500),)
        )
        if keys:
            registry.redis.send((Command("UNLINK", *keys),))
        if int(cursor) == 0:
            return

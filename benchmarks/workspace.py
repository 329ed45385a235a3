"""Snapshots and restores of a folder beside the git command line and tar with zstd.

Two thousand files, 60 MB, made from a seed; five of them change in each step. Processor time is
that of the calling process and its children; the PostgreSQL server's own is not in it, and git
and tar have no server. Snapshots into PostgreSQL are committed when they are counted.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.setting import postgres_url
from benchmarks.tables import machine, median, print_table, write_json
from plumbgraph.content import PostgresBlobs
from plumbgraph.postgres.pool import Database
from plumbgraph.postgres.statement import Statement
from plumbgraph.workspace import Manifest, Workspace

FILES, BYTES, CHANGED = 2000, 60_000_000, 5
SETTLE_S = 0.1
Cost = tuple[float, float]

TARGETS = {
    "snapshot, 5 changed": ("cpu", 1.2),
    "snapshot, no change": ("cpu", 0.4),
    "restore, whole": ("cpu", 1.2),
    "restore, 5 differ": ("cpu", 0.15),
}


def sample(folder: Path, seed: int) -> list[Path]:
    """The files: sizes as in source trees, one in ten random bytes, the rest words."""
    chance = random.Random(seed)
    words = [
        "".join(chance.choices("etaoinshrdlucmfwyp", k=chance.randint(2, 9))) for _ in range(5000)
    ]
    folders = [
        "",
        *(f"d{a}" for a in range(20)),
        *(f"d{a}/s{b}" for a in range(20) for b in range(5)),
    ]
    sizes = [chance.lognormvariate(9, 1.6) for _ in range(FILES)]
    scale = BYTES / sum(sizes)
    paths = []
    for number, raw in enumerate(sizes):
        path = folder / folders[number % len(folders)] / f"f{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = int(raw * scale)
        text = chance.randbytes(size) if number % 10 == 0 else _text(chance, words, size)
        path.write_bytes(text)
        paths.append(path)
    return paths


def _text(chance: random.Random, words: list[str], size: int) -> bytes:
    return " ".join(chance.choices(words, k=size // 5 + 2)).encode()[:size]


def change(paths: list[Path], step: int) -> None:
    """Five files get another middle, as an edit does."""
    chance = random.Random(step)
    for path in chance.sample(paths, CHANGED):
        data = bytearray(path.read_bytes() or b"x")
        at = chance.randrange(len(data))
        data[at : at + 40] = chance.randbytes(40)
        path.write_bytes(data)


def cpu() -> float:
    """Processor seconds of this process and of children that ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def cost(action: Callable[[], Any]) -> Cost:
    """Wall and processor seconds of a call."""
    wall, used = time.perf_counter(), cpu()
    action()
    return time.perf_counter() - wall, cpu() - used


class Git:
    """git with an index and objects of its own, nothing in the folder itself."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._folder = folder
        self._env = {**os.environ, "GIT_DIR": str(home / "git"), "GIT_WORK_TREE": str(folder)}
        self._git("init", "-q")

    def _git(self, *words: str, **env: str) -> str:
        done = subprocess.run(
            ["git", "-c", "gc.auto=0", *words],
            env={**self._env, **env},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def snapshot(self) -> str:
        """The tree's id."""
        self._git("add", "-A", "-f")
        return self._git("write-tree")

    def restore(self, tree: str, target: Path) -> None:
        """A whole checkout into an empty folder."""
        index = f"{target}.index"
        env = {"GIT_WORK_TREE": str(target), "GIT_INDEX_FILE": index}
        self._git("read-tree", tree, **env)
        self._git("checkout-index", "-a", "-f", **env)
        Path(index).unlink()


def measure(home: Path, database: Database, rounds: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Costs by operation and peer, all interleaved; and bytes a step."""
    folder = home / "work"
    paths = sample(folder, seed=7)
    blobs = PostgresBlobs(database)
    workspace, git = Workspace(folder, blobs=blobs), Git(home, folder)
    found: dict[str, dict[str, list[Cost]]] = {}

    def note(operation: str, peer: str, action: Callable[[], Any]) -> None:
        found.setdefault(operation, {}).setdefault(peer, []).append(cost(action))

    time.sleep(SETTLE_S)
    note("snapshot, first", "plumbgraph", workspace.snapshot)
    note("snapshot, first", "git", git.snapshot)
    sizes = {"plumbgraph": 0, "git": 0, "tar+zstd": 0}
    for step in range(rounds):
        change(paths, step)
        time.sleep(SETTLE_S)
        before = stored(database), loose(home / "git")
        note("snapshot, 5 changed", "plumbgraph", workspace.snapshot)
        note("snapshot, 5 changed", "git", git.snapshot)
        sizes["plumbgraph"] += stored(database) - before[0]
        sizes["git"] += loose(home / "git") - before[1]
        note("snapshot, 5 changed", "tar+zstd", lambda: tar(folder, home / "all.tar.zst"))
        sizes["tar+zstd"] += (home / "all.tar.zst").stat().st_size
        note("snapshot, no change", "plumbgraph", workspace.snapshot)
        note("snapshot, no change", "git", git.snapshot)
    restores(home, workspace, git, paths, rounds, note)
    return found, {name: size // rounds for name, size in sizes.items()}


def restores(
    home: Path,
    workspace: Workspace,
    git: Git,
    paths: list[Path],
    rounds: int,
    note: Callable[[str, str, Callable[[], Any]], None],
) -> None:
    """Whole restores into empty folders, and restores of five files, warm and in a new process."""
    tree = git.snapshot()
    manifest = workspace.snapshot()
    for step in range(rounds):
        for peer, action in (
            (
                "plumbgraph",
                lambda: Workspace(home / "out", blobs=workspace.blobs).restore(manifest),
            ),
            ("git", lambda: git.restore(tree, home / "out")),
            ("tar+zstd", lambda: untar(home / "all.tar.zst", home / "out")),
        ):
            (home / "out").mkdir()
            note("restore, whole", peer, action)
            if step == 0:
                same(home / "work", home / "out")
            shutil.rmtree(home / "out")
    for step in range(rounds):
        note("restore, 5 differ", "plumbgraph", back(workspace, manifest, paths, 100 + step))
    for step in range(rounds):
        cold = Workspace(home / "work", blobs=workspace.blobs)
        action = back(workspace, manifest, paths, 200 + step)
        note("restore, 5 differ, new process", "plumbgraph", lambda: cold.restore(manifest))  # noqa: B023
        action()


def back(
    workspace: Workspace, manifest: Manifest, paths: list[Path], step: int
) -> Callable[[], Any]:
    """Five files changed and recorded; the call that takes it back."""
    change(paths, step)
    time.sleep(SETTLE_S)
    workspace.snapshot()
    time.sleep(SETTLE_S)
    return lambda: workspace.restore(manifest)


def tar(folder: Path, target: Path) -> None:
    subprocess.run(["tar", "--zstd", "-cf", target, "-C", folder, "."], check=True)


def untar(source: Path, target: Path) -> None:
    subprocess.run(["tar", "--zstd", "-xf", source, "-C", target], check=True)


def same(one: Path, other: Path) -> None:
    """Make sure that a restore is one."""
    subprocess.run(["diff", "-rq", one, other], check=True, stdout=subprocess.DEVNULL)


def stored(database: Database) -> int:
    """Bytes of all bodies."""
    sql = "SELECT coalesce(sum(octet_length(body)), 0)::bigint FROM {schema}.blobs"
    return int(database.send((Statement(sql),))[0][0][0])


def loose(folder: Path) -> int:
    """Bytes of all objects of git."""
    return sum(p.stat().st_size for p in (folder / "objects").rglob("*") if p.is_file())


def rows(found: dict[str, dict[str, list[Cost]]]) -> list[dict[str, Any]]:
    """The table: medians, and the ratio to git's counterpart (a whole checkout for restores)."""
    table = []
    for operation, peers in found.items():
        base = {
            "restore, 5 differ": "restore, whole",
            "restore, 5 differ, new process": "restore, whole",
            "snapshot, no change": "snapshot, 5 changed",
        }.get(operation, operation)
        for peer, costs in peers.items():
            wall, used = (median([each[i] for each in costs]) * 1000 for i in (0, 1))
            git_wall, git_used = (median([c[i] for c in found[base]["git"]]) * 1000 for i in (0, 1))
            target = TARGETS.get(operation) if peer == "plumbgraph" else None
            table.append(
                {
                    "operation": operation,
                    "peer": peer,
                    "wall ms": wall,
                    "cpu ms": used,
                    "cpu min ms": min(each[1] for each in costs) * 1000,
                    "wall / git": wall / git_wall,
                    "cpu / git": used / git_used,
                    "target": target[1] if target else None,
                }
            )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", default=postgres_url())
    parser.add_argument("--rounds", type=int, default=11)
    asked, _ = parser.parse_known_args(arguments)
    if asked.postgres:
        _measured(asked.postgres, asked.rounds)
        return
    from plumbgraph import servers

    with servers.up() as up:
        _measured(up.postgres_url, asked.rounds)


def _measured(url: str, rounds: int) -> None:
    schema = f"bench_workspace_{os.getpid()}"
    with tempfile.TemporaryDirectory() as home, Database(url, schema=schema) as database:
        try:
            found, sizes = measure(Path(home), database, rounds)
        finally:
            database.send((Statement("DROP SCHEMA {schema} CASCADE"),))
    table = rows(found)
    smaller = sizes["tar+zstd"] / max(1, sizes["plumbgraph"])
    stored_rows = [{"peer": name, "bytes a step": size} for name, size in sizes.items()]
    print_table(f"Workspace: {FILES} files, {BYTES / 1e6:.0f} MB, {CHANGED} changed", table)
    print_table(f"Bytes a step (tar+zstd / plumbgraph = {smaller:,.0f}, target 400)", stored_rows)
    write_json(
        "workspace",
        {"machine": machine("zstandard", "psycopg"), "rows": table, "bytes_a_step": sizes},
    )


if __name__ == "__main__":
    main()

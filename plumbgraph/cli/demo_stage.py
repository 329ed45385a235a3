"""Where the demo plays: its folder, its processes, and the outside world they call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from plumbgraph.cli.graphs import shipped
from plumbgraph.errors import PlumbError
from plumbgraph.settings import Settings

_TRACERS = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")
_HELD_S = 30.0


class DemoFailed(PlumbError, RuntimeError):
    """A process of the demo ended when it should not have."""

    code = "cli.demo_failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder with the home, the workspace and the event log."""

    folder: Path
    thread_id: str

    @property
    def settings(self) -> Settings:
        """Servers of the demo's own home unless the environment names others; its own tenant."""
        return Settings.load(home=str(self.home), tenant=self.thread_id)

    @property
    def home(self) -> Path:
        """The servers' data."""
        return self.folder / "home"

    @property
    def workspace(self) -> Path:
        """The agent's files."""
        return self.folder / "workspace"

    @property
    def plain(self) -> Path:
        """The files of the agent without plumbgraph."""
        return self.folder / "plain"

    @property
    def log(self) -> Path:
        """The event log of all processes."""
        return self.folder / "events.jsonl"

    @property
    def lived(self) -> Path:
        """The outcomes that a router learns from."""
        return self.folder / "outcomes.jsonl"

    @property
    def errors(self) -> Path:
        """What the processes say to stderr."""
        return self.folder / "stderr.txt"

    def prepare(self) -> int:
        """Lay out the documents; how many there are."""
        for each in (self.workspace, self.plain):
            shutil.copytree(shipped("documents"), each / "documents")
        return len(list((self.workspace / "documents").glob("*.md")))

    def environment(self, pager: Pager) -> dict[str, str]:
        """What the processes are told."""
        kept = {key: value for key, value in os.environ.items() if key not in _TRACERS}
        return {
            **kept,
            "PLUMBGRAPH_HOME": str(self.home),
            "PLUMBGRAPH_TENANT": self.thread_id,
            "PLUMBGRAPH_LOG": str(self.log),
            "PLUMBGRAPH_SKILLS": str(shipped("demo_skills")),
            "PLUMBGRAPH_THREAD_USD": "0.50",
            "PLUMBGRAPH_WEBHOOK": pager.url,
            "PYTHONUNBUFFERED": "1",
        }

    @contextmanager
    def process(
        self, words: Sequence[str], pager: Pager, *, folder: Path | None = None
    ) -> Iterator[subprocess.Popen[str]]:
        """A process of Python; killed and reaped in the end."""
        with self.errors.open("a") as said:
            child = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", *words],
                stdout=subprocess.PIPE,
                stderr=said,
                stdin=subprocess.DEVNULL,
                text=True,
                cwd=folder or self.folder,
                env=self.environment(pager),
            )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()

    def failure(self, what: str) -> DemoFailed:
        """The error for a process that did not do its part, with what it said."""
        said = self.errors.read_text().strip() if self.errors.exists() else ""
        return DemoFailed(
            f"The demo failed: {what}. {said[-1500:]}",
            hint="Run `plumbgraph doctor`, then try again.",
        )


def records(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """The JSON lines a process prints, as they come."""
    assert child.stdout is not None
    for line in child.stdout:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "event" in record:
            yield record


@dataclass(slots=True)
class Pager:
    """The outside world: a real HTTP server that alerts people, once for each key.

    It takes its time over the first request, so that the caller can die before it knows whether
    people were alerted. A request without a key alerts people each time it comes.

    Attributes:
        url: Where to post to.
        requests: The keys of all requests, in order.
        alerts: What people were told.
        rang: Set by the request that is held.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    rang: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: str, text: str) -> None:
        """One request: alert people unless this key did so before."""
        with self._lock:
            if not key or key not in self.requests:
                self.alerts.append(text)
            self.requests.append(key)
            first = len(self.requests) == 1
        if first:
            self.rang.set()  # the caller may die while it waits for the answer
            self.released.wait(_HELD_S)


@contextmanager
def pager() -> Iterator[Pager]:
    """A pager at work."""
    made = Pager()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            made.take(self.headers.get("Idempotency-Key", ""), str(told["text"]))
            try:
                self.send_response(202)
                self.end_headers()
            except OSError:
                return  # the caller is dead

        def log_message(self, *_: object) -> None:
            """Nothing: the demo tells what matters."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.released.set()
            server.shutdown()
            thread.join()

"""A real `langgraph dev`, offline and without a key, on our saver and store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PATIENCE_S = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class DevServer:
    """One `langgraph dev` that can be killed and started again on the same folder and port."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_ready(self.process)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/ok", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"langgraph dev did not start:\n{self.log[-5000:]}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, number)
            self.process.wait(PATIENCE_S)
            self.process = None


def offline(**settings: str) -> dict[str, str]:
    """This environment without any key or tracing, and with these settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LANG", "OPENAI", "ANTHROPIC", "GOOGLE", "PLUMBGRAPH_"))
    }
    return {
        **kept,
        "LANGGRAPH_NO_VERSION_CHECK": "true",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGSMITH_TRACING": "false",
        "NO_COLOR": "1",
        **settings,
    }


@pytest.fixture(scope="session")
def dev_server(
    root: Path,
    postgres_url: str,
    redis_admin: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DevServer]:
    """The shipped langgraph.json with two graphs of the tests beside the shipped ones."""
    folder = tmp_path_factory.mktemp("dev")
    shutil.copytree(root / "graphs", folder / "graphs")
    shutil.copytree(root / "skills", folder / "skills")
    shutil.copytree(root / "tests" / "graphs" / "app", folder / "app")
    config = json.loads((root / "langgraph.json").read_text())
    ours = json.loads((folder / "app" / "langgraph.json").read_text())
    config["graphs"].update(ours["graphs"])
    (folder / "langgraph.json").write_text(json.dumps(config))
    desk = folder / "workspace"
    shutil.copytree(root / "graphs" / "documents", desk / "documents")
    server = DevServer(
        folder,
        offline(
            PLUMBGRAPH_POSTGRES_URL=postgres_url,
            PLUMBGRAPH_REDIS_URL=redis_admin,
            PLUMBGRAPH_TENANT=f"dev-{folder.name}",
            PLUMBGRAPH_MODEL="scripted",
            PLUMBGRAPH_WORKSPACE=str(desk),
            SLOW_LEDGER=str(folder / "ledger.txt"),
        ),
    )
    server.start()
    yield server
    server.kill(signal.SIGTERM)

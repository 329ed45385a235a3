"""A real Arize Phoenix takes our spans over OTLP, tells them back, and shows them in a browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from langchain_core.tools import tool

from plumbgraph.agents import create_agent
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.tracing.costs import Costs
from plumbgraph.tracing.otel import OpenTelemetry

pytestmark = [pytest.mark.phoenix, pytest.mark.timeout(1800)]

HOME = Path(os.environ.get("PLUMBGRAPH_TEST_PHOENIX", "~/.cache/plumbgraph-tests/phoenix"))
PROJECT = "plumb-test"
SECRET = "sk-abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def phoenix_program() -> Path:
    """Phoenix in an environment of its own, since it brings its own versions of everything."""
    home = HOME.expanduser()
    program = home / "bin" / "phoenix"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "pip"), "install", "--quiet", "arize-phoenix"]
        subprocess.run(pip, check=True, timeout=1500)
    return program


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@pytest.fixture(scope="module")
def phoenix(phoenix_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("phoenix"), free_port()
    told = {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        command = [str(phoenix_program), "serve"]
        process = subprocess.Popen(command, env={**os.environ, **told}, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 240
            while not answers(f"{url}/healthz"):
                assert process.poll() is None, (folder / "log").read_text()[-2000:]
                assert time.monotonic() < until
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


@pytest.fixture(scope="module")
def spans(phoenix: str) -> list[dict[str, Any]]:
    """The spans of one run, as Phoenix tells them back."""
    with OpenTelemetry(endpoint=f"{phoenix}/v1/traces", project=PROJECT, wait_s=30) as otel:
        script: Any = [call("look", q="apples"), call("look", q="pears"), "Both are in stock."]
        agent: Any = otel.attach(create_agent(ScriptedChatModel(script), [look]))
        told: Any = {"configurable": {"thread_id": "th-1"}, "callbacks": [Costs(lambda *_: 0.25)]}
        agent.invoke({"messages": [("user", f"my key is {SECRET}, what is in stock?")]}, told)
    found: list[dict[str, Any]] = []
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(each["parent_id"] is None for each in found):
        time.sleep(0.5)
        reply = requests.get(f"{phoenix}/v1/projects/{PROJECT}/spans?limit=100", timeout=10)
        found = reply.json()["data"] if reply.ok else []
    return found


def test_the_run_is_one_tree_with_its_thread_as_session(spans: list[dict[str, Any]]) -> None:
    ids = {span["context"]["span_id"] for span in spans}
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    assert len([span for span in spans if span["parent_id"] is None]) == 1
    assert all(span["parent_id"] in ids for span in spans if span["parent_id"])
    assert {span["attributes"].get("session.id") for span in spans} == {"th-1"}
    kinds = [span["span_kind"] for span in spans]
    assert kinds.count("LLM") == 3
    assert kinds.count("TOOL") == 2
    tokens = [span["attributes"].get("llm.token_count.prompt") for span in spans]
    assert sum(filter(None, tokens)) > 0


def test_no_secret_arrived(spans: list[dict[str, Any]]) -> None:
    assert spans
    assert SECRET not in str(spans)
    assert "[key]" in str(spans)


def test_its_page_shows_the_run(phoenix: str, spans: list[dict[str, Any]], tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no chromium here")
    projects = requests.get(f"{phoenix}/v1/projects", timeout=10).json()["data"]
    (project,) = [each["id"] for each in projects if each["name"] == PROJECT]
    page = f"{phoenix}/projects/{project}/traces/{spans[0]['context']['trace_id']}"
    shot = Path(os.environ.get("PLUMBGRAPH_TEST_SHOTS", tmp_path)) / "phoenix.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,950"]
    patience = ["--virtual-time-budget=30000", "--timeout=60000"]
    told = subprocess.run(
        [browser, *options, *patience, "--dump-dom", page],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    ).stdout
    assert "look" in told
    assert "ScriptedChatModel" in told
    subprocess.run(
        [browser, *options, *patience, f"--screenshot={shot}", page],
        capture_output=True,
        timeout=300,
        check=True,
    )
    assert shot.stat().st_size > 20_000

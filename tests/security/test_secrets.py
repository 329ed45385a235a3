"""Secrets that are planted wherever they may stand: none reaches a log, an event or an error."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import plumbgraph
from plumbgraph import Budget, MemoryStore, PlumbSaver
from plumbgraph.agents.open import open as open_servers
from plumbgraph.errors import PlumbError
from plumbgraph.postgres.pool import Database, Statement
from plumbgraph.routing import Limit, Price
from plumbgraph.settings import Settings
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.tracing import read_log

WORD = "hunter2-Zq9xVt7"
KEY = "sk-proj-" + "Zq9xVt7Zq9xVt7Zq9xVt7Zq9xVt7"
TOKEN = "ghp_" + "Zq9xVt7Zq9xVt7Zq9xVt7Zq9xVt7Zq9xVt7"
URLS = {
    "postgres": f"postgresql://ann:{WORD}@127.0.0.1:1/db?connect_timeout=2",
    "postgres in the query": f"postgresql://127.0.0.1:1/db?user=ann&password={WORD}&connect_timeout=2",
    "redis": f"redis://ann:{WORD}@127.0.0.1:1/0",
    "redis with a percent": f"redis://:{WORD}%40@127.0.0.1:1/0",
}


def clean(*texts: object) -> None:
    """No planted secret in any of them."""
    for text in texts:
        for secret in (WORD, KEY, TOKEN, "Zq9xVt7"):
            assert secret not in str(text), f"{secret!r} in {str(text)[:500]!r}"


def used(name: str, url: str) -> None:
    if name.startswith("postgres"):
        Database(url, auto_setup=False).send((Statement("SELECT 1"),))
    else:
        MemoryStore(url).get(("a",), "k")


@pytest.mark.parametrize("name", URLS)
def test_no_error_shows_the_password_of_a_url(name: str, caplog: Any) -> None:
    url = URLS[name]
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PlumbError) as told:
        used(name, url)
    error = told.value
    clean(error, repr(error), error.hint, error.facts, error.args, caplog.text)


def test_no_repr_shows_the_password_of_a_url() -> None:
    postgres, redis = URLS["postgres"], URLS["redis"]
    settings = Settings.load(postgres_url=postgres, redis_url=redis)
    opened = open_servers(postgres_url=postgres, redis_url=redis)
    with PlumbSaver(postgres) as saver, MemoryStore(redis) as store:
        clean(repr(settings), str(settings), repr(saver), repr(store), repr(opened))
        clean(opened._repr_html_(), opened.facts())
        clean(repr(Budget([Limit("tenant", 1.0)], redis=redis)), repr(saver._core.db))


@pytest.mark.parametrize(
    "arguments",
    [
        ["doctor", "--production", "--json"],
        ["threads"],
        ["memory", "ls"],
        ["setup", "--check", "--json"],
    ],
)
def test_no_command_shows_the_password_of_a_url(arguments: list[str], tmp_path: Path) -> None:
    told = {
        **os.environ,
        "PLUMBGRAPH_POSTGRES_URL": URLS["postgres"],
        "PLUMBGRAPH_REDIS_URL": URLS["redis"],
        "PLUMBGRAPH_HOME": str(tmp_path / "home"),
        "PLUMBGRAPH_DEBUG": "1",
        "OPENAI_API_KEY": KEY,
    }
    done = subprocess.run(
        [sys.executable, "-m", "plumbgraph.cli", *arguments],
        capture_output=True,
        text=True,
        env=told,
        cwd=tmp_path,
        check=False,
        timeout=100,
    )
    assert done.returncode != 0
    clean(done.stdout, done.stderr)


def failing(token: str) -> str:
    """A tool that fails as clients do: with its key in the message."""
    raise RuntimeError(
        f"401 from https://ann:{WORD}@api.example.com?api_key={KEY}: Authorization: Bearer {TOKEN}"
    )


def test_no_event_holds_what_tools_were_given_or_gave(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG, logger="plumbgraph")
    path = tmp_path / "events.jsonl"
    model = ScriptedChatModel([call("failing", token=KEY), f"I was told {WORD}."])
    agent: Any = plumbgraph.create_agent(model, [failing], system=f"The password is {WORD}.")
    with plumbgraph.trace(path=path), pytest.raises(RuntimeError):
        agent.invoke({"messages": [("user", f"my key is {TOKEN}")]})
    records = list(read_log(path))
    assert any(record["event"] == "tool.failed" or "error" in record for record in records)
    clean(path.read_text(), caplog.text)


def test_no_event_of_effects_and_routing_holds_arguments(
    postgres_url: str, redis_url: str, schema: str, tmp_path: Path, caplog: Any
) -> None:
    @plumbgraph.effect(idempotent=True)
    def send(token: str) -> str:
        """Send a token."""
        return f"sent {token}"

    caplog.set_level(logging.INFO, logger="plumbgraph")
    path = tmp_path / "events.jsonl"
    model = ScriptedChatModel([call("send", token=KEY), "done"], model_name="m")
    card = plumbgraph.ModelCard(model=model, price=Price.per_mtok(1, 1))
    with PlumbSaver(postgres_url, schema=schema) as saver, MemoryStore(redis_url) as store:
        agent: Any = plumbgraph.create_agent(
            plumbgraph.CostRouter([card]),
            [send],
            memory=("users", "ann"),
            checkpointer=saver,
            store=store,
        )
        with plumbgraph.trace(path=path):
            agent.invoke(
                {"messages": [("user", f"my password is {WORD}")]},
                {"configurable": {"thread_id": "t"}},
            )
        timeline = plumbgraph.Timeline.load("t", log=path)
        clean(timeline.to_html(), json.dumps(timeline.to_dict(), default=str))
    clean(path.read_text(), caplog.text)

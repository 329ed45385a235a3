"""After `kill -9` at any statement nothing acknowledged is lost, and recovery finishes the run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.errors import ThreadNotFound
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver, RecoveryRules

SCRIPT = Path(__file__).parent / "killed.py"
STEPS = 10


def _kill(url: str, schema: str, mode: str, count: int) -> list[dict[str, Any]]:
    with PlumbSaver(url, schema=schema) as saver:
        saver.setup()
    command = [sys.executable, str(SCRIPT), url, schema, mode, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("state_killed", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["state_killed"] = module
    spec.loader.exec_module(module)
    return module


def _check(url: str, schema: str, trials: list[dict[str, Any]]) -> None:
    with PlumbSaver(url, schema=schema, adopt="off") as saver:
        graph = _script().graph(saver)
        for trial in trials:
            _whole(saver, trial["thread"], trial["told"])
        expired = "UPDATE {schema}.thread SET lease_until = now() WHERE lease_until IS NOT NULL"
        saver._core.db.send((Statement(expired),))
        found = saver.recover(lambda: graph, RecoveryRules(grace_s=0, most=10_000))
        assert {each.outcome for each in found} <= {"finished"}
        for trial in trials:
            if trial["told"]:
                config = {"configurable": {"thread_id": trial["thread"]}}
                values = graph.get_state(config).values
                assert values["n"] == STEPS
                assert [each.id for each in values["messages"]] == [
                    "h",
                    *(f"m{at}" for at in range(1, STEPS + 1)),
                ]
                assert saver.run_status(trial["thread"]).state == "finished"


def _whole(saver: PlumbSaver, thread: str, told: list[Any]) -> None:
    """Everything told is there, and everything that is there can be read."""
    found = list(saver.list({"configurable": {"thread_id": thread}}))
    steps = {each.metadata["step"] for each in found}
    for each in found:
        n = each.checkpoint["channel_values"].get("n", 0)
        assert len(each.checkpoint["channel_values"].get("messages", ())) in {n, n + 1}
    if "pruned" in told:
        assert len(found) == 1
    elif "ran" in told:
        assert len(found) in {1, STEPS + 2}
    else:
        assert {step for step in told if isinstance(step, int)} <= steps
        assert not told or found or saver.run_status(thread).accepted == 1
    copy = list(saver.list({"configurable": {"thread_id": f"{thread}-copy"}}))
    assert len(copy) in ({0} if "deleted" in told or "ran" not in told else {0, STEPS + 2})
    if "copied" in told and "pruned" not in told:
        assert len(copy) == STEPS + 2
    if not told and not found:
        with suppress(ThreadNotFound):
            assert saver.run_status(thread).accepted in {0, 1}


def test_killed_at_some_statements(postgres_url: str, schema: str) -> None:
    trials = _kill(postgres_url, schema, "random", 6)
    _check(postgres_url, schema, trials)


def test_killed_at_statement_after_statement(postgres_url: str, schema: str) -> None:
    trials = _kill(postgres_url, schema, "points", 18)
    assert len({len(trial["told"]) for trial in trials}) > 3
    _check(postgres_url, schema, trials)


@pytest.mark.crash
@pytest.mark.parametrize(("mode", "count"), [("points", 70), ("random", 300)])
def test_killed_often(postgres_url: str, schema: str, mode: str, count: int) -> None:
    _check(postgres_url, schema, _kill(postgres_url, schema, mode, count))

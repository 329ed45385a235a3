"""The agent with every part on survives `kill -9` at bad moments, and everything agrees."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from plumbgraph.routing import Payer

SOURCE = Path(__file__).with_name("whole_agent.py")


def load() -> Any:
    spec = spec_from_file_location("whole_agent", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["whole_agent"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def told(postgres_url: str, redis_url: str, schema: str, tmp_path: Path) -> dict[str, str]:
    skill = tmp_path / "skills" / "pdf" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text("---\nname: pdf\ndescription: Read PDF files.\n---\n\nUse the BLUE tool.\n")
    servers = {"postgres": postgres_url, "redis": redis_url, "schema": schema}
    return {**servers, "folder": str(tmp_path)}


@pytest.fixture
def whole(told: dict[str, str]) -> Iterator[Any]:
    made = load().Whole(told)
    yield made
    made.close()


def process(told: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, str(SOURCE), json.dumps(told)],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return done.returncode


@pytest.mark.parametrize(
    ("colour", "moments"),
    [("sync", ["asked", "sent"]), ("async", ["asked", "written", "extracted"])],
)
def test_killed_at_every_bad_moment_everything_agrees(
    colour: str, moments: list[str], told: dict[str, str], whole: Any
) -> None:
    module = sys.modules["whole_agent"]
    for moment in moments:
        assert process({**told, "colour": colour, "moment": moment}) == -signal.SIGKILL, moment
    assert process({**told, "colour": colour, "moment": ""}) == 0
    state = whole.agent.get_state(module.THREAD)
    assert state.next == ()
    values = state.values
    messages_agree(values["messages"])
    files_agree(whole, values)
    assert [line.split()[1] for line in whole.outside.read_text().splitlines()] == ["hello"]
    bill_agrees(whole, values)
    assert not values["skills"]["pdf"].get("gone")
    assert values["stop_reason"] is None
    kept = whole.store.recall(("users", "ann"), "Portland")
    assert [hit.text.count("Write about Portland") for hit in kept] == [1]


def messages_agree(messages: Any) -> None:
    """Each turn stands there once, and each call has one answer."""
    replies = [message for message in messages if isinstance(message, AIMessage)]
    assert len(replies) == 5
    assert replies[-1].text == "all notes finished"
    asked = [str(made["id"]) for reply in replies for made in reply.tool_calls]
    answered = [m.tool_call_id for m in messages if isinstance(m, ToolMessage)]
    assert sorted(asked) == sorted(answered)
    denied = [m for m in messages if isinstance(m, ToolMessage) and m.status == "error"]
    assert ["'shell' is denied" in m.text for m in denied] == [True]


def files_agree(whole: Any, values: Any) -> None:
    """What lies in the folder is what the state names."""
    desk = whole.workspace.folder
    assert {f.name: f.read_text() for f in desk.iterdir()} == {"a.txt": "three", "b.txt": "two"}
    assert whole.workspace.status().digest == whole.workspace.digest(values["workspace"])


def bill_agrees(whole: Any, values: Any) -> None:
    """Each answer in the thread was paid once, and no other is on the bill."""
    now = datetime.now(UTC)
    months = {f"{day:%Y%m}" for day in (now - timedelta(hours=1), now)}
    charges = {c.charge_id: c.nano for month in months for c in whole.budget.charges(month)}
    assert set(charges) == set(values["ledger"])
    assert len(charges) == 5
    (doubt,) = whole.budget.doubts()  # the call in which the process was killed
    (account,) = whole.budget.balances(Payer(thread="t"))
    assert account.spent_nano == sum(charges.values()) + doubt.nano
    assert account.held_nano == 0

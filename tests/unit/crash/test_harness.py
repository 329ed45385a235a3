"""The crash harness itself: what it chooses, what it finds, what it concludes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from plumbgraph import testing
from plumbgraph.errors import SettingsError
from plumbgraph.testing.crash import EVERYWHERE, KNOWN, POINTS, Report, Setting, crashtest
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.testing.crash.oracle import effects, facts_of, invalid, run_again, torn
from plumbgraph.testing.crash.points import Killer
from plumbgraph.testing.crash.values import RESTART, Kill, Trial, kills_of

SETTING = Setting("x:y", "postgresql://nowhere")
SEEN = dict.fromkeys(POINTS.values(), 5)


def test_a_seed_names_the_kills() -> None:
    first = [kills_of(SETTING, number, SEEN) for number in range(50)]
    assert first == [kills_of(SETTING, number, SEEN) for number in range(50)]
    assert first != [kills_of(Setting("x:y", "", seed="2"), number, SEEN) for number in range(50)]
    points = {kill.point for kills in first for kill in kills}
    assert points == set(EVERYWHERE)
    assert all(1 <= kill.nth <= 5 for kills in first for kill in kills)


def test_only_points_that_the_graph_passes_are_chosen() -> None:
    seen = {"saver.put": 3}
    points = {kill.point for n in range(50) for kill in kills_of(SETTING, n, seen)}
    assert points == {"random", "before-put", "restoring"}


def test_a_restore_is_cut_only_after_something_was_destroyed() -> None:
    setting = Setting("x:y", "", points=("restoring",), kills_each=1)
    assert [kill.point for kill in kills_of(setting, 0, SEEN)] == ["random", "restoring"]


def test_a_setting_survives_its_way_to_the_process_that_runs_it() -> None:
    setting = Setting("x:y", "url", {"a": 1}, points=(RESTART,), restart="true")
    assert Setting.from_json(setting.to_json()) == setting


def test_effects_are_counted_and_other_lines_are_not() -> None:
    expected = Counter({"pay 1": 1, "pay 2": 1, "run 1": 1, "end 1": 1})
    happened = Counter({"pay 1": 3, "run 1": 5, "torn x": 1})
    assert effects(expected, happened) == (2, 1)
    lines = ["run 1", "end 1", "run 2", "run 1", "end 1", "run 1", "torn state 1"]
    assert run_again(lines) == 2
    assert torn(lines) == 1


def test_a_history_that_a_provider_would_refuse_is_named() -> None:
    call = {"name": "pay", "args": {}, "id": "c1", "type": "tool_call"}
    asked = AIMessage("", tool_calls=[call])
    answer = ToolMessage("paid", tool_call_id="c1")
    assert invalid([HumanMessage("go"), asked, answer]) == ""
    assert "without an answer: c1" in invalid([asked])
    assert "without an answer: c1" in invalid([asked, HumanMessage("go on")])
    assert "an answer to no call: c1" in invalid([answer])
    assert "an answer to no call: c1" in invalid([asked, answer, answer])


def test_folders_are_compared_with_kinds_modes_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("a")
    before = facts_of(tmp_path)
    assert sorted(before) == ["a", "d", "l"]
    (tmp_path / "a").chmod(0o600)
    assert facts_of(tmp_path) != before


@pytest.mark.parametrize(
    ("trial", "verdict"),
    [
        (Trial(0), "nothing tested"),
        (Trial(0, kills=["random@0.5"]), "sound"),
        (Trial(0, restarts=1), "sound"),
        (Trial(0, kills=["x"], asked=3, asked_in_vain=2, again=5), "sound"),
        (Trial(0, kills=["x"], doubled=1), "damaged"),
        (Trial(0, kills=["x"], missing=1), "damaged"),
        (Trial(0, kills=["x"], torn=1), "damaged"),
        (Trial(0, kills=["x"], files_differ=True), "damaged"),
        (Trial(0, kills=["x"], messages_invalid="calls"), "damaged"),
        (Trial(0, kills=["x"], failed="Error"), "damaged"),
        (Trial(0, kills=["x"], asked=1, asked_outside=1), "damaged"),
    ],
)
def test_a_verdict_takes_every_fault(trial: Trial, verdict: str) -> None:
    report = Report(SETTING, [trial])
    assert report.verdict == verdict
    assert report.facts()["verdict"] == verdict
    assert bool(report.facts()["damaged"]) == (verdict == "damaged")
    assert report.replay(trial) == "--seed 1 --first 0 --kills 1"


def test_a_process_ends_itself_at_its_point(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            killer = Killer(Kill("before-put", 2), tmp_path / "recorded")
            for _ in range(5):
                killer.passed("saver.put")
                Ledger(tmp_path / "ledger").note("passed")
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert Ledger(tmp_path / "ledger").lines() == ["passed"]


def test_the_command_that_restarts_a_server_must_work(postgres_admin: str) -> None:
    setting = Setting(
        "plumbgraph.testing.crash.sample:chain",
        postgres_admin,
        {"messages": [["user", "work"]]},
        kills=1,
        points=(RESTART,),
        restart="echo no such service >&2; exit 3",
    )
    with pytest.raises(SettingsError, match="no such service"):
        crashtest(setting)


def test_the_harness_is_found_where_testing_is() -> None:
    assert testing.crashtest is crashtest
    assert set(KNOWN) == {*EVERYWHERE, RESTART}
    code = "import sys, plumbgraph.testing as t; t.__dir__(); print('langgraph' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

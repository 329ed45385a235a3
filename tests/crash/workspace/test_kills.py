"""Real processes, killed: files, effects and messages agree afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from plumbgraph.testing.crash import EVERYWHERE, Report, Setting, crashtest

SAMPLE = "plumbgraph.testing.crash.sample"
CHAIN: Any = {"messages": [["user", "work"]]}
FAN: Any = {"job": -1}


def told(report: Report) -> str:
    return "\n".join(f"{trial} — {report.replay(trial)}" for trial in report.trials)


def test_an_agent_with_files_and_effects_survives(postgres_admin: str) -> None:
    report = crashtest(Setting(f"{SAMPLE}:chain", postgres_admin, CHAIN, kills=4, seed="chain"))
    assert report.kills >= 4
    assert report.verdict == "sound", told(report)


def test_async_on_a_slow_database(postgres_admin: str) -> None:
    setting = Setting(
        f"{SAMPLE}:chain",
        postgres_admin,
        CHAIN,
        kills=2,
        seed="slow",
        asynchronous=True,
        save_delay_s=0.03,
        kills_each=1,
    )
    report = crashtest(setting)
    assert report.verdict == "sound", told(report)


def test_parallel_branches_survive(postgres_admin: str) -> None:
    setting = Setting(f"{SAMPLE}:fan", postgres_admin, FAN, kills=3, seed="fan", kills_each=1)
    report = crashtest(setting)
    assert report.verdict == "sound", told(report)


def test_without_the_parts_the_same_kills_do_damage(postgres_admin: str) -> None:
    setting = Setting(
        f"{SAMPLE}:plain_chain",
        postgres_admin,
        CHAIN,
        kills=2,
        seed="plain",
        kills_each=1,
        saver="postgres",
        points=("before-put",),
    )
    report = crashtest(setting)
    assert report.verdict == "damaged"
    assert report.total("doubled") + report.total("failed") + report.total("files_differ") > 0


@pytest.mark.crash
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("graph", "kills", "options"),
    [
        ("chain", 150, {}),
        ("chain", 150, {"durability": "sync"}),
        ("chain", 150, {"durability": "exit"}),
        ("chain", 150, {"asynchronous": True, "save_delay_s": 0.03}),
        ("chain", 150, {"double_resume": True, "kills_each": 1}),
        ("chain", 40, {"points": (*EVERYWHERE, "server-restart")}),
        ("chain", 40, {"points": ("server-restart",), "asynchronous": True, "kills_each": 1}),
        ("fan", 150, {"save_delay_s": 0.03}),
        ("fan", 150, {"asynchronous": True}),
    ],
)
def test_a_thousand_kills(
    postgres_admin: str, graph: str, kills: int, options: dict[str, Any]
) -> None:
    given = CHAIN if graph == "chain" else FAN
    database = postgres_admin
    setting = Setting(f"{SAMPLE}:{graph}", database, given, kills=kills, seed="long", **options)
    report = crashtest(setting)
    assert report.verdict == "sound", told(report)

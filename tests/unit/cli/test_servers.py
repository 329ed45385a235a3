from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from plumbgraph.cli import console
from plumbgraph.cli.app import app

runner = CliRunner()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("POSTGRES_URL", "REDIS_URL"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)
    monkeypatch.setenv("PLUMBGRAPH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_up_status_down(home: Path) -> None:
    assert runner.invoke(app, ["status"]).exit_code == console.UNAVAILABLE
    try:
        up = runner.invoke(app, ["up"])
        assert up.exit_code == 0, up.output
        assert "export PLUMBGRAPH_POSTGRES_URL='postgresql://" in up.output
        again = json.loads(runner.invoke(app, ["up", "--json"]).stdout)
        assert set(again["versions"]) >= {"postgres", "valkey"}
        with psycopg.connect(again["postgres_url"]) as link:
            assert link.execute("SELECT 1").fetchone() == (1,)
        shown = runner.invoke(app, ["status"])
        assert shown.exit_code == 0
        assert f"ready: {home}" in shown.output
        told = json.loads(runner.invoke(app, ["status", "--json"]).stdout)
        assert {each["kind"] for each in told["servers"]} == {"postgres", "valkey"}
        assert all(each["answers"] for each in told["servers"])
    finally:
        down = runner.invoke(app, ["down"])
    assert down.exit_code == 0
    assert str(home) in down.output
    stopped = runner.invoke(app, ["status", "--json"])
    assert stopped.exit_code == console.UNAVAILABLE
    assert json.loads(stopped.stdout)["phase"] == "stopped"


@pytest.fixture
def given(postgres_url: str, redis_url: str, schema: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", schema)
    return schema


def test_setup_checks_makes_and_is_idempotent(given: str) -> None:
    lacking = runner.invoke(app, ["setup", "--check", "--json"])
    assert lacking.exit_code == console.FAILED
    assert "0001_state" in json.loads(lacking.stdout)["missing"]
    made = json.loads(runner.invoke(app, ["setup", "--json"]).stdout)
    assert made == {"schema": given, "applied": json.loads(lacking.stdout)["missing"]}
    assert json.loads(runner.invoke(app, ["setup", "--json"]).stdout)["applied"] == []
    assert runner.invoke(app, ["setup", "--check"]).exit_code == 0


def test_the_printed_sql_makes_what_check_asks_for(given: str, postgres_url: str) -> None:
    printed = runner.invoke(app, ["setup", "--print-sql"])
    assert printed.exit_code == 0
    with psycopg.connect(postgres_url) as link:
        link.execute(printed.stdout.encode())
    assert runner.invoke(app, ["setup", "--check"]).exit_code == 0


def test_print_and_check_exclude_each_other(given: str) -> None:
    assert runner.invoke(app, ["setup", "--check", "--print-sql"]).exit_code == console.USAGE

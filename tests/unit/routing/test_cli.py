from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph.cli.app import app
from plumbgraph.clock import SYSTEM
from plumbgraph.errors import SettingsError
from plumbgraph.policy import managed
from plumbgraph.routing import Budget, OutcomeRow, RedisHealth
from plumbgraph.routing.budget import Lease
from plumbgraph.routing.langsmith import outcomes_of_dataset
from plumbgraph.routing.values import Charge

RUNNER = CliRunner()


def told(*words: str) -> tuple[int, Any]:
    done = RUNNER.invoke(app, [*words, "--json"])
    return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def outcomes(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.jsonl"
    with path.open("w") as file:
        for n in range(160):
            hard = n % 2
            text = f"{'prove the theorem' if hard else 'spell the word'} number {n % 40}"
            for model, score in (("a:weak", 1 - hard), ("a:strong", 1)):
                row = OutcomeRow(model=model, score=score, text=text, task="t", pair=str(n))
                file.write(json.dumps(asdict(row)) + "\n")
    return path


def test_fit_writes_a_model_that_eval_and_explain_agree_with(
    outcomes: Path, tmp_path: Path
) -> None:
    written = tmp_path / "router.npz"
    code, value = told("router", "fit", str(outcomes), "--out", str(written))
    assert (code, value["written"]) == (0, str(written))
    assert told("router", "eval", str(outcomes))[1]["gain"] == pytest.approx(value["gain"])
    words = ["--model", "openai:gpt-5", "--model", "openai:gpt-5-mini", "--with", str(written)]
    code, decision = told("router", "explain", "prove the theorem", *words, "--quality", "0.6")
    assert code == 0
    assert decision["model"] == "openai:gpt-5-mini"


def test_fit_writes_nothing_that_is_not_shown_to_be_no_worse(tmp_path: Path) -> None:
    path, written = tmp_path / "o.jsonl", tmp_path / "router.npz"
    lines = [
        json.dumps({"model": "a:b", "score": (n * 7919 % 97) % 2, "text": f"word{n}"})
        for n in range(120)
    ]
    path.write_text("\n".join(lines))
    code, value = told("router", "fit", str(path), "--out", str(written))
    assert (code, value["written"], written.exists()) == (1, None, False)


def test_report_reads_outcomes_and_the_ledger(outcomes: Path, redis_url: str) -> None:
    budget = Budget(1.0, redis=redis_url, tenant="cli")
    leases = [
        Lease(lease=name, nano=5_000, accounts=(), at=SYSTEM.now(), facts={"model": "a:b"})
        for name in ("paid", "lost")
    ]
    for lease in leases:
        budget.ledger.reserve(lease, ttl_s=60)
    row = Charge(
        charge_id="c",
        lease="paid",
        model="a:b",
        nano=7,
        usage=None,
        price_source="",
        code="best",
    )
    budget.ledger.settle(leases[0], row)
    budget.ledger.doubt(leases[1], "timeout")
    assert budget.redis
    RedisHealth(budget.redis, tenant="cli").failed("a:b", 30.0)
    budget.close()
    where = ["--redis", redis_url, "--tenant", "cli"]
    code, value = told("router", "report", str(outcomes), *where)
    assert code == 0
    assert {row["model"] for row in value["tasks"]} == {"a:weak", "a:strong"}
    assert value["ledger"]["models"] == {"a:b": {"calls": 1, "usd": 7e-9}}
    assert value["ledger"]["in_doubt"][0]["why"] == "timeout"
    assert value["ledger"]["breakers"]["a:b"]["failures"] == 1
    shown = RUNNER.invoke(app, ["router", "report", str(outcomes), *where])
    assert "in doubt: $0.000005 a:b timeout" in shown.stdout
    assert "breaker: a:b failed 1 times in a row, rests until" in shown.stdout


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["router", "eval", str(tmp_path / "none.jsonl")])
    assert done.exit_code == 2


def test_outcomes_come_from_a_langsmith_dataset() -> None:
    examples = [
        SimpleNamespace(
            id="1",
            inputs={"question": "why?"},
            outputs={"scores": {"a:b": 1, "a:c": 0.5}},
            metadata={"task": "t"},
        ),
        SimpleNamespace(
            id="2", inputs={"input": "x"}, outputs={"model": "a:b", "score": 0}, metadata=None
        ),
        SimpleNamespace(id="3", inputs={}, outputs=None, metadata=None),
    ]
    client = SimpleNamespace(list_examples=lambda *, dataset_name: examples)
    rows = outcomes_of_dataset(client, "mine")
    assert [(r.model, r.score, r.text, r.task) for r in rows] == [
        ("a:b", 1.0, "why?", "t"),
        ("a:c", 0.5, "why?", "t"),
        ("a:b", 0.0, "x", ""),
    ]
    with pytest.raises(SettingsError, match="no outcomes"):
        outcomes_of_dataset(SimpleNamespace(list_examples=lambda **_: []), "mine")


def test_policy_answers_with_its_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\nmodels: {deny: ['openai:*'], max_output_usd_per_mtok: 20}\n"
        "tools: {approve: [send]}\nweb: {URLBlocklist: [evil.org]}\n"
    )
    monkeypatch.setenv(managed.ENVIRONMENT, str(path))
    monkeypatch.setattr(managed, "SYSTEM_PATH", tmp_path / "none.yaml")
    code, value = told("policy", "model", "openai:gpt-5")
    assert (code, value["rule"]) == (6, "managed.models.deny[0] 'openai:*'")
    assert told("policy", "model", "anthropic:claude-haiku-4-5")[0] == 0
    assert told("policy", "tool", "send", "{}")[1]["verdict"] == "approve"
    assert told("policy", "url", "http://www.evil.org/x")[0] == 6
    assert told("policy", "url", "http://good.org/x")[0] == 0
    shown = RUNNER.invoke(app, ["policy", "show"])
    assert "models.deny" in shown.stdout
    assert told("policy", "tool", "send", "nonsense")[0] == 2

"""The router lab: a talk, both experiments, and what the router does after them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from graphs import router_lab
from plumbgraph.errors import SettingsError
from plumbgraph.routing import OutcomeRow

CONFIG: Any = {"configurable": {"thread_id": "t"}}
EASY = [{"text": f"say {word}", "expected": word} for word in ("one", "two", "three")]
HARD = [
    {"text": f"riddle {number}", "expected": "(large)", "task": "riddle"} for number in range(12)
]
SMALL, LARGE = "scripted:small", "scripted:large"
colours = pytest.mark.parametrize("colour", ["sync", "async"])


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process of its own, as far as the lab knows."""
    for name in ("MODELS", "USD", "OUTCOMES"):
        monkeypatch.delenv(f"PLUMBGRAPH_ROUTER_{name}", raising=False)
    for cached in (router_lab.router, router_lab.book):
        cached.cache_clear()
    yield
    for cached in (router_lab.router, router_lab.book):
        cached.cache_clear()


def spent() -> float:
    (account,) = router_lab.router().budget.balances()
    return account.spent_nano / 1e9


def lab() -> Any:
    return router_lab.make_graph().compile(checkpointer=InMemorySaver())


async def run(agent: Any, given: Any, colour: str) -> Any:
    if colour == "async":
        return await agent.ainvoke(given, CONFIG)
    return agent.invoke(given, CONFIG)


def test_the_lab_answers_and_says_why() -> None:
    state = lab().invoke({"messages": [HumanMessage("hello")]}, CONFIG)
    assert state["messages"][-1].text == "(small) You said: hello"
    assert state["route"]["code"] == "cheapest_good"


@pytest.mark.blocking_ok
@colours
async def test_calibrated_it_sends_each_task_to_the_cheapest_model_that_was_right(
    colour: str,
) -> None:
    agent = lab()
    before = router_lab.now(router_lab.router(), router_lab.checked(HARD))
    assert [row["model"] for row in before] == [SMALL]
    done = await run(agent, {"questions": [*EASY, *HARD], "do": "calibrate"}, colour)
    found = {(r["task"], r["model"]): (r["count"], r["lived"]) for r in done["report"]["tasks"]}
    assert found == {
        ("talk", SMALL): (3, 1.0),
        ("talk", LARGE): (3, 1.0),
        ("riddle", SMALL): (12, 0.0),
        ("riddle", LARGE): (12, 1.0),
    }
    assert {r["task"]: r["model"] for r in done["report"]["now"]}["riddle"] == LARGE
    assert done["report"]["usd"] == pytest.approx(spent())
    assert f"riddle goes to {LARGE} now." in done["messages"][-1].text
    assert done["questions"] == []
    talk = await run(agent, {"messages": [("user", "hello again")]}, colour)
    assert talk["messages"][-1].text.endswith("You said: hello again")


@pytest.mark.blocking_ok
@colours
async def test_in_shadow_the_alternative_is_scored_and_never_returned(colour: str) -> None:
    cheap_is_enough = [{"text": f"say {n}", "expected": str(n)} for n in range(12)]
    router_lab.router().tallies.add_all(
        OutcomeRow(model=SMALL, score=0.0, task="talk").outcome() for _ in range(400)
    )
    done = await run(lab(), {"questions": cheap_is_enough, "do": "shadow"}, colour)
    assert done["report"]["usd"] == pytest.approx(spent())
    (pair,) = done["report"]["pairs"]
    assert (pair["model"], pair["shadow"], pair["count"]) == (LARGE, SMALL, 12)
    assert pair["saved_usd"] > 0
    assert f"{SMALL} beside {LARGE} in 12" in done["messages"][-1].text
    assert not [m for m in done["messages"] if "You said" in m.text]


def test_a_wrong_answer_is_shadowed_too() -> None:
    done = lab().invoke({"questions": HARD, "do": "shadow"}, CONFIG)
    found = {(row["model"], row["shadow"]): row for row in done["report"]["pairs"]}
    assert found[SMALL, LARGE]["difference"] == 1.0
    assert sum(row["count"] for row in done["report"]["pairs"]) == len(HARD)


def test_enough_outcomes_make_a_text_model_that_must_prove_itself() -> None:
    spread = [{"text": f"say {n}", "expected": str(n)} for n in range(25)]
    done = lab().invoke({"questions": spread}, CONFIG)
    found = done["report"]["text_model"]
    assert found["labels"] == 50
    assert (router_lab.router().predict is not None) is found["promote"]


def test_what_was_learned_is_kept_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_ROUTER_OUTCOMES", str(tmp_path / "outcomes.jsonl"))
    lab().invoke({"questions": HARD}, CONFIG)
    for cached in (router_lab.router, router_lab.book):
        cached.cache_clear()
    now = router_lab.now(router_lab.router(), router_lab.checked(HARD))
    assert [row["model"] for row in now] == [LARGE]
    done = lab().invoke({"questions": HARD, "do": "shadow"}, CONFIG)
    assert [row["count"] for row in done["report"]["pairs"]] == [12]
    told = router_lab.router().tallies.get("", LARGE)
    assert told.count == len(HARD) * 2  # each outcome counts once: calibrated, then shadowed


def test_a_spent_budget_ends_it_and_keeps_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBGRAPH_ROUTER_USD", "0.01")
    done = lab().invoke({"questions": HARD * 3}, CONFIG)
    assert done["report"]["stopped"]
    assert 0 < done["report"]["usd"] <= 0.01
    assert "It ended early" in done["messages"][-1].text


@pytest.mark.parametrize(
    "given",
    [
        {"questions": [{"text": "x"}]},
        {"questions": [{"text": "", "expected": "x"}]},
        {"questions": [1]},
        {"questions": EASY, "do": "guess"},
    ],
)
def test_what_is_no_experiment_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError):
        lab().invoke(given, CONFIG)


def test_models_come_from_the_environment_weakest_first() -> None:
    made = router_lab.cards("openai:gpt-5-mini, openai:gpt-5")
    assert [(card.name, round(card.prior, 2)) for card in made] == [
        ("openai:gpt-5-mini", 0.7),
        ("openai:gpt-5", 0.95),
    ]
    with pytest.raises(SettingsError, match="no provider"):
        router_lab.cards("gpt-5")

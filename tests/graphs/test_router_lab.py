from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from graphs import router_lab
from plumbgraph.errors import SettingsError


def test_the_lab_answers_and_says_why() -> None:
    agent = router_lab.make_graph().compile()
    state = agent.invoke({"messages": [HumanMessage("hello")]})
    assert state["messages"][-1].text == "(small) You said: hello"
    assert state["route"]["code"] == "cheapest_good"


def test_models_come_from_the_environment_weakest_first() -> None:
    made = router_lab.cards("openai:gpt-5-mini, openai:gpt-5")
    assert [(card.name, round(card.prior, 2)) for card in made] == [
        ("openai:gpt-5-mini", 0.7),
        ("openai:gpt-5", 0.95),
    ]
    with pytest.raises(SettingsError, match="no provider"):
        router_lab.cards("gpt-5")

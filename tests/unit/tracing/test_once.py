from __future__ import annotations

import gc

from langchain_core.messages import AIMessage, HumanMessage

from plumbgraph.routing.scope import identity_of
from plumbgraph.tracing.once import Once


def test_a_message_is_computed_once_until_a_part_is_replaced() -> None:
    made: list[str] = []

    def length(message: HumanMessage) -> int:
        made.append(str(message.content))
        return len(str(message.content))

    once = Once(length, lambda message: (message.content,))
    message = HumanMessage("some words")
    assert [once(message), once(message)] == [10, 10]
    message.content = "others"
    assert once(message) == 6
    assert made == ["some words", "others"]


def test_nothing_is_kept_of_messages_that_are_gone() -> None:
    once = Once(lambda message: str(message.content), lambda message: (message.content,))
    kept = HumanMessage("kept")
    for number in range(1000):
        assert once(HumanMessage(f"{number}")) == f"{number}"
    once(kept)
    gc.collect()
    assert len(once) == 1


def test_a_call_is_told_from_others_by_all_that_its_model_sees() -> None:
    call = {"name": "note", "args": {"text": "a"}, "id": "1"}
    shown = [HumanMessage("ask"), AIMessage("", tool_calls=[call])]
    same = [HumanMessage("ask"), AIMessage("", tool_calls=[{**call}])]
    assert identity_of(shown, ["x"]) == identity_of(same, ["x"])
    others = [
        identity_of(shown, ["y"]),
        identity_of(shown[:1], ["x"]),
        identity_of([shown[0], AIMessage("", tool_calls=[{**call, "args": {}}])], ["x"]),
        identity_of([HumanMessage("other"), shown[1]], ["x"]),
        identity_of([AIMessage("ask"), shown[1]], ["x"]),
    ]
    assert identity_of(shown, ["x"]) not in others

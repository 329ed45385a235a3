"""`RoutedChatModel` as any chat model is used: tools, structured output, streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from plumbgraph.errors import ModelUnavailable
from plumbgraph.routing import CostRouter, Route, RoutedChatModel
from plumbgraph.testing import ScriptedChatModel
from plumbgraph.testing.script import Fault, Reply, tokens

MakeRouter = Callable[..., CostRouter]


def test_the_chat_model_is_a_drop_in(make: MakeRouter, cheap: ScriptedChatModel) -> None:
    model = RoutedChatModel(make(), route=Route(task="greeting"))

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    answer = model.bind_tools([add], tool_choice="any").invoke("hello")
    assert cheap.calls[-1].tool_names == ["add"]
    assert cheap.calls[-1].tool_choice == "any"
    assert answer.response_metadata["plumbgraph"]["replayable"] is False
    assert answer.usage_metadata is not None


def test_structured_output_works_through_the_chosen_model(make: MakeRouter) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        """A city."""

        name: str

    said = ScriptedChatModel([City(name="Bonn")], model_name="cheap")
    model = RoutedChatModel(make(of_cheap={"model": said}))
    assert model.with_structured_output(City).invoke("which?") == City(name="Bonn")


def test_streams_fall_back_only_before_the_first_chunk(make: MakeRouter) -> None:
    early = ScriptedChatModel([ConnectionError("gone")], model_name="cheap")
    whole = [c.text for c in RoutedChatModel(make(of_cheap={"model": early})).stream("x")]
    assert "".join(whole) == "strong says hi"
    late = ScriptedChatModel(
        [Reply(text="one two three", fault=Fault(ConnectionError("gone"), after_chunks=2))],
        model_name="cheap",
    )
    got: list[str] = []
    with pytest.raises(ModelUnavailable, match="after its first words"):
        got.extend(c.text for c in RoutedChatModel(make(of_cheap={"model": late})).stream("x"))
    got.clear()
    cut = ScriptedChatModel(
        [Reply(text="one two", fault=Fault(after_chunks=1))], model_name="cheap"
    )
    with pytest.raises(ModelUnavailable, match="finish reason"):
        list(RoutedChatModel(make(of_cheap={"model": cut})).stream("x"))


async def test_a_stream_carries_usage_and_mark(make: MakeRouter) -> None:
    said = ScriptedChatModel(
        [Reply(text="a b c", usage=tokens(100, 10, cached=50))], model_name="cheap"
    )
    whole: Any = None
    async for chunk in RoutedChatModel(make(of_cheap={"model": said})).astream("x"):
        whole = chunk if whole is None else whole + chunk
    assert whole.text == "a b c"
    assert whole.usage_metadata["input_tokens"] == 100
    mark = whole.response_metadata["plumbgraph"]
    assert mark["cost_usd"] == pytest.approx(100 * 0.1e-6 + 10 * 0.4e-6)

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from pydantic import BaseModel

from plumbgraph.errors import ScriptExhausted, SettingsError
from plumbgraph.testing import Fault, PlannedCall, Reply, ScriptedChatModel, call, tokens


class Answer(BaseModel):
    """An answer."""

    value: int


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


FULL = Reply(
    text="Let me add  these.\n",
    tool_calls=(call("add", a=1, b=2), call("add", a=3, b=40_000_000_000_000)),
    usage=tokens(100, 20, cached=60, reasoning=5),
)


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return chunks[0] + chunks[1:]


def facts(message: AIMessage) -> tuple[Any, ...]:
    return (
        message.text,
        message.tool_calls,
        message.usage_metadata,
        message.response_metadata,
    )


async def test_all_four_ways_give_the_same_message() -> None:
    model = ScriptedChatModel([FULL], on_end="repeat", model_name="m-1", provider="acme")
    expected = facts(model.invoke("go"))
    assert expected[1][1]["args"] == {"a": 3, "b": 40_000_000_000_000}
    ids = {made["id"] for made in expected[1]}
    assert ids == {"call_0_0", "call_0_1"}
    model = ScriptedChatModel([FULL], on_end="repeat", model_name="m-1", provider="acme")
    chunks = list(model.stream("go"))
    assert facts(merged(chunks)) == expected
    model = ScriptedChatModel([FULL], model_name="m-1", provider="acme")
    assert facts(await model.ainvoke("go")) == expected
    model = ScriptedChatModel([FULL], model_name="m-1", provider="acme")
    assert facts(merged([chunk async for chunk in model.astream("go")])) == expected


def test_usage_and_reason_stand_on_the_last_chunk_only() -> None:
    *early, last = ScriptedChatModel([FULL]).stream("go")
    assert all(chunk.usage_metadata is None for chunk in early)
    assert not any("finish_reason" in chunk.response_metadata for chunk in early)
    assert last.usage_metadata == {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_token_details": {"cache_read": 60},
        "output_token_details": {"reasoning": 5},
    }
    assert last.response_metadata["finish_reason"] == "tool_calls"
    assert last.chunk_position == "last"
    assert sum(len(chunk.tool_call_chunks) for chunk in early) > 4


def test_estimated_usage_counts_the_messages_shown() -> None:
    model = ScriptedChatModel(["four"], on_end="repeat")
    short = model.invoke("x").usage_metadata
    long = model.invoke("x" * 400).usage_metadata
    assert short is not None
    assert long is not None
    assert long["input_tokens"] - short["input_tokens"] == 100


def test_bound_tools_are_recorded_for_each_call() -> None:
    model = ScriptedChatModel([call("add", a=1, b=2), "3"])
    bound: Any = model.bind_tools([add], tool_choice="any", parallel_tool_calls=False)
    bound.invoke("1 + 2?", stop=["END"])
    model.invoke("and now without")
    first, second = bound.calls
    assert first.tool_names == ["add"]
    assert (first.tool_choice, first.stop) == ("any", ("END",))
    assert first.options == {"parallel_tool_calls": False}
    assert (second.tools, second.index) == ((), 1)
    assert second.messages[0].text == "and now without"


def test_structured_output_is_parsed_from_the_tool_call() -> None:
    model = ScriptedChatModel([Answer(value=42)])
    assert model.with_structured_output(Answer).invoke("?") == Answer(value=42)
    assert model.calls[0].tool_names == ["Answer"]


def test_by_turn_a_new_process_goes_on_where_the_messages_stand() -> None:
    script = ["one", "two", "three"]
    seen: list[BaseMessage] = [HumanMessage("go")]
    for expected in script:
        fresh = ScriptedChatModel(script, replay="turn")
        reply = fresh.invoke(seen)
        assert reply.text == expected
        seen.append(reply)
    with pytest.raises(ScriptExhausted, match="3 replies and was asked for reply 4"):
        ScriptedChatModel(script, replay="turn").invoke(seen)


def test_from_messages_answers_what_it_sees() -> None:
    model = ScriptedChatModel.from_messages(lambda seen: seen[-1].text.upper())
    assert model.invoke("quiet").text == "QUIET"
    assert model.bind_tools([add]).invoke("again").text == "AGAIN"


@pytest.mark.parametrize(
    ("on_end", "expected"), [("repeat", ["a", "b", "b", "b"]), ("cycle", ["a", "b", "a", "b"])]
)
def test_after_the_last_reply(on_end: str, expected: list[str]) -> None:
    model = ScriptedChatModel(["a", "b"], on_end=on_end)
    assert [model.invoke("x").text for _ in expected] == expected


async def test_a_fault_at_a_chosen_call() -> None:
    model = ScriptedChatModel(["fine", TimeoutError("late"), "fine again"])
    assert model.invoke("1").text == "fine"
    with pytest.raises(TimeoutError, match="late"):
        await model.ainvoke("2")
    assert model.invoke("3").text == "fine again"


async def test_a_fault_in_the_middle_of_a_stream() -> None:
    broken = Reply(text="one two three", fault=Fault(ConnectionResetError, after_chunks=2))
    model = ScriptedChatModel([broken], on_end="repeat")
    stream = model.stream("x")
    assert [next(stream).text, next(stream).text] == ["one", " two"]
    with pytest.raises(ConnectionResetError):
        next(stream)
    with pytest.raises(ConnectionResetError):
        _ = [chunk async for chunk in model.astream("x")]
    with pytest.raises(ConnectionResetError):
        model.invoke("x")


def test_a_truncated_stream_ends_without_a_reason() -> None:
    model = ScriptedChatModel([Reply(text="one two three", fault=Fault(None, 2))], on_end="repeat")
    whole = merged(list(model.stream("x")))
    assert whole.text == "one two"
    assert "finish_reason" not in whole.response_metadata
    assert whole.usage_metadata is None
    assert "finish_reason" not in model.invoke("x").response_metadata


def test_content_blocks_stream_and_merge() -> None:
    blocks: list[str | dict[str, Any]] = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "So."},
    ]
    model = ScriptedChatModel([Reply(text=blocks)], on_end="repeat")
    streamed = merged(list(model.stream("x")))
    assert [block["type"] for block in streamed.content_blocks] == ["reasoning", "text"]
    assert model.invoke("x").text == "So."


def test_broken_arguments_become_invalid_tool_calls() -> None:
    message = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "mine"}])
    assert ScriptedChatModel([message]).invoke("x").tool_calls[0]["id"] == "mine"
    bad = Reply(tool_calls=(PlannedCall("add", "not json"),))
    answer = ScriptedChatModel([bad]).invoke("x")
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["args"] == "not json"


def test_threads_share_one_script_without_losing_a_reply() -> None:
    count = 200
    model = ScriptedChatModel([str(number) for number in range(count)])
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: model.invoke("x").text, range(count)))
    assert sorted(got, key=int) == [str(number) for number in range(count)]
    assert [made.index for made in model.calls] == list(range(count))


def test_a_pickled_copy_goes_on_by_itself() -> None:
    model = ScriptedChatModel(["a", "b", "c"], model_name="m-1")
    model.invoke("x")
    twin = pickle.loads(pickle.dumps(model))
    assert (twin.invoke("x").text, model.invoke("x").text) == ("b", "b")
    assert (len(twin.calls), twin.model_name) == (2, "m-1")


def test_per_call_model_name_is_reported() -> None:
    model = ScriptedChatModel(["a", "b"], model_name="m-1")
    assert model.invoke("x", model="m-2").response_metadata["model_name"] == "m-2"
    assert model.invoke("x").response_metadata["model_name"] == "m-1"


@pytest.mark.parametrize("wrong", [3, [3], {"text": "x"}, None])
def test_what_cannot_be_played_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="cannot play"):
        ScriptedChatModel([wrong])


def test_a_bare_text_and_a_misspelt_option_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"Write ScriptedChatModel\(\[text\]\)"):
        ScriptedChatModel("hello")
    with pytest.raises(ValueError, match="reply"):
        ScriptedChatModel(["x"], reply="turn")


def test_forgotten_calls_do_not_begin_the_script_again() -> None:
    model = ScriptedChatModel(["one", "two", "three"])
    assert model.invoke("a").text == "one"
    assert model.invoke("b").text == "two"
    model.forget_calls()
    assert model.calls == []
    assert model.invoke("c").text == "three"
    assert [call.index for call in model.calls] == [2]

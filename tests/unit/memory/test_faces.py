"""Memory in graphs, as tools, as middleware, over MCP, on the command line, asleep."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import Command
from mcp import Client, StdioServerParameters
from typer.testing import CliRunner

from plumbgraph.agents.memory import MemoryState, RecallNode, RememberNode
from plumbgraph.agents.memory_middleware import MemoryMiddleware
from plumbgraph.cli import memory as cli
from plumbgraph.cli.mcp import server
from plumbgraph.errors import MemoryExpired, MemoryInvalid, SettingsError
from plumbgraph.memory import Attribute, Fact, MemoryStore
from plumbgraph.testing import ScriptedChatModel, call

PLACE = ("users", "{user_id}")
NS = ("users", "u1")
CONFIG: Any = {"configurable": {"user_id": "u1", "thread_id": "t1"}}


class Talk(MessagesState, MemoryState):
    """Messages and what was recalled."""


def graph(store: MemoryStore, **options: Any) -> Any:
    made = StateGraph(Talk)
    made.add_node("recall", RecallNode(PLACE))
    made.add_node("remember", RememberNode(PLACE, **options))
    made.set_entry_point("recall")
    made.add_edge("recall", "remember")
    return made.compile(store=store)


def said(text: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text, id=text[:9])]}


def test_a_message_of_one_thread_is_recalled_in_another(store: MemoryStore) -> None:
    app = graph(store)
    app.invoke(said("I moved to Oslo"), CONFIG)
    app.invoke(said("I moved to Oslo"), CONFIG)
    out = app.invoke(
        said("what of Oslo?"), {"configurable": {**CONFIG["configurable"], "thread_id": "t2"}}
    )
    assert "moved to Oslo" in out["recalled"]["text"]
    item = store.get(NS, "I moved t")
    assert item is not None
    assert item.version == 1
    assert (item.provenance.thread_id, item.provenance.node) == ("t1", "remember")
    assert item.marks.group == "t1"


async def test_nodes_work_under_ainvoke_and_extract_facts(store: MemoryStore) -> None:
    app = graph(store, extract=lambda _: [Fact("Ana", "home_city", "Oslo")])
    await app.ainvoke(said("Ana moved"), CONFIG)
    assert [i.value["value"] for i in await store.afacts(NS, "Ana")] == ["Oslo"]
    await store.aclose()


def test_a_missing_place_or_store_says_what_to_do(store: MemoryStore) -> None:
    with pytest.raises(MemoryInvalid, match="user_id"):
        graph(store).invoke(said("x"), {"configurable": {}})
    with pytest.raises(SettingsError, match="MemoryStore"):
        RecallNode(("a",)).invoke(said("x"))


def test_the_model_remembers_recalls_and_forgets_by_tools(store: MemoryStore) -> None:
    model = ScriptedChatModel(
        [
            call("remember", subject="Ana", attribute="home_city", value="Oslo"),
            call("recall", query="Oslo"),
            call("forget", subject="Ana", attribute="home_city"),
            "done",
        ]
    )
    middleware = MemoryMiddleware(PLACE, attributes=[Attribute("home_city")])
    agent: Any = create_agent(model, middleware=[middleware], store=store)
    out = agent.invoke(said("Ana lives in Oslo"), CONFIG)
    tools = [m.text for m in out["messages"] if m.type == "tool"]
    assert tools[0].startswith("created: home_city")
    assert "Ana · home_city: Oslo" in tools[1]
    assert tools[2] == "Forgot 1."
    told = convert_to_openai_tool(middleware.tools[0])["function"]["parameters"]["properties"]
    assert set(told) == {"subject", "attribute", "value"}
    assert told["attribute"]["const"] == "home_city"


async def test_other_harnesses_share_the_memory_over_mcp(redis_url: str) -> None:
    async with MemoryStore(redis_url) as store:
        made = server(store, NS)
        await made.call_tool("remember", {"subject": "Ana", "attribute": "city", "value": "Rome"})
        assert "Rome" in str(await made.call_tool("facts", {"subject": "ana"}))
        assert "Rome" in str(await made.call_tool("recall", {"query": "Rome"}))
        await made.call_tool("forget", {"subject": "Ana", "attribute": "city"})
        assert await store.afacts(NS, "Ana") == []


@pytest.mark.blocking_ok
async def test_the_official_client_uses_the_server_on_standard_input_and_output(
    redis_url: str,
) -> None:
    words = ["-m", "plumbgraph.cli", "mcp", "--url", redis_url, "--namespace", "users/u1"]
    started = StdioServerParameters(command=sys.executable, args=words)
    async with Client(started) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"remember", "recall", "facts", "forget"}
        assert all(tool.description for tool in tools.values())
        fact = {"subject": "Ana", "attribute": "city", "value": "Rome"}
        assert "created" in str(await client.call_tool("remember", fact))
        again = await client.call_tool("remember", fact | {"value": "Oslo"})
        assert "superseded" in str(again.content)
        wrong = await client.call_tool("remember", {"subject": " ", "attribute": "a", "value": "b"})
        assert wrong.is_error
        assert "Oslo" in str(await client.call_tool("recall", {"query": "Oslo"}))
    async with MemoryStore(redis_url) as store:
        (item,) = await store.afacts(NS, "Ana")
        assert (item.value["value"], item.provenance.source) == ("Oslo", "mcp")


def test_the_command_line_in_words(store: MemoryStore, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "_store", lambda: nullcontext(store))
    store.put(NS, "k", {"text": "we met yesterday"})
    store.put(NS, "k", {"text": "we met today"})
    store.remember(NS, Fact("Ana", "employer", "A"))
    store.remember(NS, Fact("Ana", "employer", "B"))

    def told(*words: str) -> str:
        done = CliRunner().invoke(cli.app, list(words))
        assert done.exit_code == 0, done.output
        return str(done.output)

    assert "we met today" in told("ls", "users")
    assert "nothing is remembered" in told("ls", "nobody")
    assert "version" in told("get", "users/u1", "k")
    assert "put" in told("history", "users/u1", "k")
    assert "changed" in told("diff", "users/u1", "k", "1", "2")
    assert "version 3" in told("revert", "users/u1", "k", "1")
    assert "employer" in told("conflicts", "users/u1")
    assert "settled" in told("resolve", "users/u1", "Ana", "employer", "B")
    assert "nothing is contested" in told("conflicts", "users/u1")
    assert "dated" in told("sleep", "users/u1")
    assert "would be removed" in told("erase", "Ana")
    file = tmp_path / "all.jsonl"
    assert "2 exported" in told("export", "users", "--to", str(file)).replace("\n", "")
    assert '"format"' in told("export", "users")
    assert "2 imported" in told("import", str(file))
    for words in (["get", "users/u1", "nothing"], ["diff", "users/u1", "nothing", "1", "2"]):
        missing = CliRunner().invoke(cli.app, words)
        assert isinstance(missing.exception, MemoryExpired)
        assert "'nothing'" in str(missing.exception)


def test_the_command_line(store: MemoryStore, monkeypatch: Any, tmp_path: Path) -> None:
    from contextlib import contextmanager

    @contextmanager
    def ours() -> Any:
        yield store

    monkeypatch.setattr(cli, "_store", ours)
    store.put(NS, "k", {"n": 1})
    store.put(NS, "k", {"n": 2})
    store.remember(NS, Fact("Ana", "employer", "A"))
    store.remember(NS, Fact("Ana", "employer", "B"))

    def run(*words: str) -> Any:
        done = CliRunner().invoke(cli.app, [*words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert {row["key"] for row in run("ls", "users")} == {"k", "ana|employer"}
    assert run("get", "users/u1", "k", "--as-of", "1")["value"] == {"n": 1}
    assert [row["version"] for row in run("history", "users/u1", "k")] == [2, 1]
    assert run("diff", "users/u1", "k", "1", "2")[0]["after"] == 2
    assert run("revert", "users/u1", "k", "1") == {"version": 3}
    assert run("conflicts", "users/u1")[0]["rival"] == "B"
    assert run("resolve", "users/u1", "Ana", "employer", "B")["said"] == "settled"
    assert run("sleep", "users/u1", "--dry-run")["actions"] == []
    file = tmp_path / "all.jsonl"
    assert run("export", "", "--to", str(file))["exported"] == 2
    assert run("erase", "Ana", "--yes")["items"] == 1
    assert run("import", str(file))["imported"] == 2
    assert len(store.facts(NS, "Ana")) == 1


async def test_the_sleep_graph_asks_about_contested_facts(store: MemoryStore) -> None:
    from graphs.sleep import builder

    await store.aput(NS, "a", {"text": "we met yesterday"})
    await store.aremember(NS, Fact("Ana", "employer", "A"))
    await store.aremember(NS, Fact("Ana", "employer", "B"))
    app = builder.compile(store=store, checkpointer=InMemorySaver())
    start: Any = {"namespace": "users/u1"}
    out = await app.ainvoke(start, CONFIG)
    assert out["__interrupt__"][0].value["rivals"] == ["B"]
    out = await app.ainvoke(Command(resume="B"), CONFIG)
    assert out["settled"] == ["ana|employer"]
    assert [a[0] for a in out["report"]["actions"]] == ["dated"]
    assert await store.aconflicts(NS) == []
    await store.aclose()

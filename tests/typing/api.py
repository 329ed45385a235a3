"""The public API as a user writes it: read by a type checker, never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from langchain_core.messages import AnyMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict

import plumbgraph
from plumbgraph import (
    Budget,
    CostRouter,
    Fact,
    Guard,
    MemoryStore,
    ModelCard,
    PlumbSaver,
    Policy,
    SkillLibrary,
    Timeline,
    Workspace,
    create_agent,
    effect,
    trace,
)
from plumbgraph.agents import Memory, build_agent, file_tools, journal_for
from plumbgraph.channels import GuardState, RouteState, SkillState, WorkspaceState
from plumbgraph.content import FolderBlobs, PostgresBlobs
from plumbgraph.effects import Done, Journal, Outcome, current_effect
from plumbgraph.memory import MemoryItem, Recollection
from plumbgraph.nodes import (
    EffectToolNode,
    GuardNode,
    ModelNode,
    Node,
    RecallNode,
    RememberNode,
    RouterNode,
    SkillNode,
    WorkspaceNode,
)
from plumbgraph.servers import Endpoints
from plumbgraph.state import RecoveryRules
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.workspace import Manifest

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "user_id": "ann"}}


class Notes(TypedDict):
    notes: list[str]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@effect
def plain(what: str) -> str:
    """Do something."""
    return what


def known(key: str) -> Done | Outcome:
    return Outcome.NOT_DONE


@effect(reconcile=known)
def pay(what: str, cents: int) -> str:
    """Pay for something."""
    return f"{current_effect().key} {what} {cents}"


def marked_functions_keep_their_types() -> None:
    assert_type(plain("x"), str)
    assert_type(pay("x", 3), str)


def one_line_to_begin(graph: StateGraph[Notes]) -> None:
    with plumbgraph.open() as p:
        assert_type(p.saver, PlumbSaver)
        assert_type(p.store, MemoryStore)
        assert_type(p.workspace("desk"), Workspace)
        agent = graph.compile(checkpointer=p.saver, store=p.store)
        agent.invoke({"notes": []}, CONFIG)


async def one_line_to_begin_in_a_loop(graph: StateGraph[Notes]) -> None:
    async with plumbgraph.open("home", postgres_url="postgresql://h/d") as p:
        agent = graph.compile(checkpointer=p.saver)
        await agent.ainvoke({"notes": []}, CONFIG)


def only_the_saver() -> None:
    with PlumbSaver("postgresql://h/d", tenant="acme", allow=[("app", "Order")]) as saver:
        saver.setup()
        assert_type(saver.wait_committed("t", "", "id", timeout_s=1.0), bool)
        with saver.claim("t", ttl_s=10):
            saver.accept("t", {"messages": []})
        saver.recover(lambda: None, RecoveryRules(attempts=3))


def only_the_store(store: MemoryStore) -> None:
    base: BaseStore = store
    base.put(("users",), "k", {"x": 1})
    found = store.get(("users",), "k")
    assert_type(found, MemoryItem | None)
    store.remember(("users",), Fact("ann", "city", "Portland"))
    assert_type(store.recall(("users",), "where?", token_budget=100), Recollection)
    assert_type(store.facts(("users",), "ann"), list[MemoryItem])


def only_skills() -> None:
    library = SkillLibrary(["skills"])
    for hit in library.search("read a pdf", k=3):
        assert_type((hit.name, hit.score, hit.reason), tuple[str, float, str])
    library.open("pdf")
    library.catalog(500)


def only_the_router(model: ScriptedChatModel) -> None:
    router = CostRouter(
        ["openai:gpt-5-mini", ModelCard(model=model, prior=0.9)],
        policy=Policy({"version": 1, "models": {"deny": ["*:big"]}}),
        budget=Budget(5.0, redis="redis://h"),
    )
    agent = create_agent(router, [add])
    agent.invoke({"messages": ["1 + 2?"]}, CONFIG)


def only_the_workspace() -> None:
    workspace = Workspace("desk", blobs=FolderBlobs("blobs"))
    manifest = workspace.snapshot()
    assert_type(manifest, Manifest)
    assert_type(manifest.digest, str)
    workspace.restore(manifest.digest)
    Workspace("desk", blobs=PostgresBlobs("postgresql://h/d"))


def every_part(saver: PlumbSaver, store: MemoryStore, router: CostRouter) -> None:
    agent = create_agent(
        router,
        [add, pay, *file_tools()],
        system=["You are exact.", lambda state, runtime: None],
        memory=Memory(namespace=("users", "{user_id}"), mode="precise"),
        skills="skills",
        effects=journal_for(saver),
        workspace=Workspace("desk", blobs=FolderBlobs("blobs")),
        policy={"version": 1, "tools": {"approve": ["pay"]}},
        guard=Guard(),
        checkpointer=saver,
        store=store,
        max_steps=500,
    )
    compiled: CompiledStateGraph[Any, Any, Any, Any] = agent
    compiled.invoke({"messages": [("user", "go")]}, CONFIG)
    build_agent("openai:gpt-5.5", [add], memory=("users",), skills=SkillLibrary(["skills"]))


class State(SkillState, RouteState, WorkspaceState, GuardState):
    messages: Sequence[AnyMessage]


class Mine(Node):
    """A node of one's own."""


def nodes_in_a_graph_of_ones_own(
    router: CostRouter, journal: Journal, workspace: Workspace
) -> None:
    graph = StateGraph(State)
    route = RouterNode(router, journal=journal)
    tools = EffectToolNode([add, pay], journal=journal)
    graph.add_node("recall", RecallNode(("users",)))
    graph.add_node("skills", SkillNode("skills"))
    graph.add_node("guard", GuardNode(Guard()))
    graph.add_node("route", route)
    graph.add_node("model", ModelNode(route.model))
    graph.add_node("tools", WorkspaceNode(tools, workspace=workspace))
    graph.add_node("remember", RememberNode(("users",)))
    graph.add_edge(START, "recall")


def what_happened(saver: PlumbSaver) -> None:
    with trace(path="events.jsonl"):
        pass
    story = Timeline.load("t", sources=saver, log="events.jsonl")
    assert_type((story.verdict.code, story.verdict.text), tuple[str, str])


def offline() -> None:
    model = ScriptedChatModel([call("add", a=1, b=2), "three"], replay="turn")
    assert_type(model.calls[0].messages, tuple[BaseMessage, ...])


def servers() -> None:
    with plumbgraph.servers.up() as endpoints:
        assert_type(endpoints, Endpoints)
        assert_type((endpoints.postgres_url, endpoints.redis_url), tuple[str, str])

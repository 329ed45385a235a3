"""A policy judges the addresses that journaled tools are called with."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool

from plumbgraph.agents import create_agent
from plumbgraph.agents.effects import EffectToolNode, journal_for
from plumbgraph.agents.gate import url_arguments
from plumbgraph.agents.workspace import WorkspaceNode
from plumbgraph.content import FolderBlobs
from plumbgraph.effects import effect
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.workspace import Workspace

POLICY: Any = {"version": 1, "web": {"URLBlocklist": ["evil.example"]}}
T1: Any = {"configurable": {"thread_id": "t1"}}


def posting(posted: list[str]) -> StructuredTool:
    def post(url: str, text: str) -> str:
        """Post a text."""
        posted.append(f"{url} {text}")
        return "posted"

    made = StructuredTool.from_function(post, metadata={"url_arguments": ["url"]})
    return effect(made)


@pytest.mark.parametrize("with_files", [False, True])
def test_a_blocked_address_is_neither_called_nor_journaled(
    saver: PlumbSaver, database: Database, tmp_path: Any, *, with_files: bool
) -> None:
    posted: list[str] = []
    both = [
        call("post", url="https://evil.example/x", text="a"),
        call("post", url="https://good.example/x", text="b"),
    ]
    workspace = Workspace(tmp_path / "work", blobs=FolderBlobs(tmp_path / "blobs"))
    agent = create_agent(
        ScriptedChatModel([both, "done"]),
        [posting(posted)],
        policy=POLICY,
        effects=journal_for(saver, database),
        workspace=workspace if with_files else None,
        checkpointer=saver,
    )
    done = agent.invoke({"messages": [("user", "go")]}, T1)
    told = [m.text for m in done["messages"] if isinstance(m, ToolMessage)]
    assert posted == ["https://good.example/x b"]
    assert min(told, key=len) == "posted"
    assert any("evil.example" in text and "blocked" in text for text in told)
    with database.transaction() as connection:
        rows = connection.execute(f'SELECT name FROM "{database.schema}".effects').fetchall()
    assert len(rows) == 1


def test_declared_addresses_are_found_through_nodes_around_the_tools(
    saver: PlumbSaver, database: Database, tmp_path: Any
) -> None:
    node = EffectToolNode([posting([])], journal=journal_for(saver, database))
    workspace = Workspace(tmp_path / "work", blobs=FolderBlobs(tmp_path / "blobs"))
    assert url_arguments(node) == {"post": ("url",)}
    assert url_arguments(WorkspaceNode(node, workspace=workspace)) == {"post": ("url",)}
    assert url_arguments(object()) == {}

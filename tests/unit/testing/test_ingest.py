from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langsmith import Client
from typing_extensions import TypedDict

from plumbgraph.testing.ingest import IngestServer


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def graph() -> Any:
    builder = StateGraph(State)
    builder.add_node("answer", lambda _: {"messages": [AIMessage("secret-word here")]})
    builder.add_edge(START, "answer")
    return builder.compile()


@pytest.fixture
def server() -> Iterator[IngestServer]:
    with IngestServer() as server:
        yield server


def send(server: IngestServer, times: int = 1, *, until: str | None = None) -> None:
    """Trace some runs; the SDK compresses only once it has read `/info`, so wait for that."""
    client = Client(api_url=server.url, api_key="none", auto_batch_tracing=True)
    for turn in range(100 if until else times):
        if until and turn >= times and until in {one.encoding for one in server.requests}:
            break
        tracer = LangChainTracer(client=client, project_name="p")
        graph().invoke({"messages": []}, {"callbacks": [tracer]})
        client.flush()


def test_the_real_sdk_rebuilds_whole_trees(server: IngestServer) -> None:
    send(server, 3)
    assert len(server.roots()) == 3
    assert server.open_roots() == []
    assert server.orphans() == []
    assert server.errors == []
    assert {run["name"] for run in server.runs.values()} >= {"LangGraph", "answer"}
    assert server.contains("secret-word")


def test_compression_is_offered_and_used(server: IngestServer) -> None:
    send(server, until="zstd")
    assert {request.path for request in server.requests} == {"/runs/multipart"}
    assert "zstd" in {request.encoding for request in server.requests}


def test_without_multipart_the_batch_endpoint_is_used() -> None:
    with IngestServer(multipart=False, zstd=False) as server:
        send(server)
        assert {request.path for request in server.requests} == {"/runs/batch"}
        assert len(server.roots()) == 1


@pytest.mark.parametrize("status", [429, 500])
def test_faults_are_answered_and_survived(server: IngestServer, status: int) -> None:
    server.fail(status, times=1)
    send(server)
    assert status in {request.status for request in server.requests}
    assert server.open_roots() == []


def test_a_body_over_the_limit_is_refused() -> None:
    with IngestServer(size_limit_bytes=200) as server:
        send(server)
        assert {request.status for request in server.requests} == {413}
        assert server.runs == {}

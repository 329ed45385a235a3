from __future__ import annotations

from typing import Any

import pytest
from langchain_core.tools import tool

from plumbgraph.agents import create_agent
from plumbgraph.errors import SettingsError
from plumbgraph.testing import ScriptedChatModel, call
from plumbgraph.tracing.otel import OpenTelemetry

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
SECRET = "sk-abcdefghijklmnopqrstuvwxyz"
MAIL = "me@example.com"


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q} for {MAIL}"


def spans_of(*script: Any, raises: bool = False) -> list[Any]:
    exporter = memory.InMemorySpanExporter()
    told: Any = {
        "configurable": {"thread_id": "th-1"},
        "run_name": f"run {SECRET}",
        "tags": [MAIL],
        "metadata": {"who": MAIL},
    }
    with OpenTelemetry(exporter=exporter, project="p") as otel:
        agent: Any = otel.attach(create_agent(ScriptedChatModel(script), [look]))
        try:
            agent.invoke({"messages": [("user", f"{SECRET} {MAIL}")]}, told)
        except RuntimeError:
            assert raises
    return list(exporter.get_finished_spans())


def test_one_tree_with_the_thread_as_session() -> None:
    spans = spans_of(call("look", q="a"), "done")
    ids = {span.context.span_id for span in spans}
    assert len([span for span in spans if span.parent is None]) == 1
    assert all(span.parent.span_id in ids for span in spans if span.parent)
    kinds = {span.attributes["openinference.span.kind"] for span in spans}
    assert {"LLM", "TOOL"} <= kinds
    assert {span.attributes.get("session.id") for span in spans} == {"th-1"}
    assert {span.resource.attributes["openinference.project.name"] for span in spans} == {"p"}
    asked = sum(span.attributes.get("llm.token_count.prompt", 0) for span in spans)
    assert asked > 0


def test_secrets_are_in_no_span() -> None:
    spans = spans_of(call("look", q="a"), RuntimeError(f"{SECRET} {MAIL}"), raises=True)
    whole = " ".join(span.to_json() for span in spans)
    assert "[email]" in whole
    assert SECRET not in whole
    assert MAIL not in whole


def test_where_to_send_must_be_said() -> None:
    with pytest.raises(SettingsError, match="endpoint or an exporter"):
        OpenTelemetry()


def test_openinferences_handler_is_a_callback_handler_that_takes_a_tracer() -> None:
    from langchain_core.callbacks import BaseCallbackHandler
    from opentelemetry.sdk.trace import TracerProvider

    from plumbgraph.upstream import openinference_tracer

    kind = openinference_tracer()
    tracer = TracerProvider().get_tracer("test")
    made = kind(tracer, separate_trace_from_runtime_context=False)
    assert isinstance(made, BaseCallbackHandler)

"""The node that asks the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from typing_extensions import TypedDict, override

from plumbgraph.agents.node import Ask, Node, State, off_loop
from plumbgraph.plan import Plan

ChooseModel: TypeAlias = Callable[[State, Runtime[Any]], BaseChatModel]
"""Gives the model for one call, from the state and the runtime."""

Section: TypeAlias = str | Callable[[State, Runtime[Any]], str | None]
"""A part of the system prompt: a text, or a function of the state; None leaves it out."""


class AgentState(TypedDict):
    """The state every agent has: its messages."""

    messages: Annotated[list[AnyMessage], add_messages]


class ModelNode(Node):
    """Asks the model for the next message, with the system prompt in front and the tools bound.

    The system prompt is put together for each call and never stored in the thread. Tool calls
    whose arguments are not JSON are answered with an error message, so that the model can repeat
    them and the thread stays valid for every provider.

    Args:
        model: A chat model, or a function `(state, runtime)` that gives one for each call. The
            function runs in a worker thread under `ainvoke`, so it may load a provider.
        tools: What the model may call.
        system: The sections of the system prompt, constant ones first so that providers can
            cache the prefix.
        name: The node's name in the graph.
    """

    state_schema = AgentState

    def __init__(
        self,
        model: BaseChatModel | ChooseModel,
        tools: Sequence[BaseTool] = (),
        *,
        system: Sequence[Section] = (),
        name: str = "model",
    ) -> None:
        super().__init__(name=name)
        self.tools = tuple(tools)
        self._fixed = self._with_tools(model) if isinstance(model, BaseChatModel) else None
        self._choose = None if isinstance(model, BaseChatModel) else model
        self.system = tuple(system)

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, list[BaseMessage]]]:
        return (yield from self.asking(state, runtime, config))

    def asking(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None, *last: str
    ) -> Plan[Ask, Any, dict[str, list[BaseMessage]]]:
        """The plan of one call, with further sections at the end of the system prompt."""
        bound = self._fixed
        if self._choose is not None:
            bound = self._with_tools((yield off_loop(self._choose, state, runtime)))
        assert bound is not None
        shown = [*self._system(state, runtime, last), *state["messages"]]
        reply = yield Ask.of(bound, shown, config)
        return {"messages": [reply, *_refusals(reply)]}

    def _with_tools(self, model: BaseChatModel) -> Runnable[Any, AIMessage]:
        if not self.tools:
            return model
        # A router's model takes tools in this form; making it anew for each call is dear.
        return model.bind_tools(self._described if hasattr(model, "router") else self.tools)

    @cached_property
    def _described(self) -> list[dict[str, Any]]:
        return [convert_to_openai_tool(tool) for tool in self.tools]

    def _system(
        self, state: State, runtime: Runtime[Any], last: Sequence[str]
    ) -> Iterator[SystemMessage]:
        sections = (*self.system, *last)
        texts = [each if isinstance(each, str) else each(state, runtime) for each in sections]
        if said := [text for text in texts if text]:
            yield SystemMessage("\n\n".join(said))


def last_reply(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """The model's newest message, None before the first."""
    return next((each for each in reversed(messages) if isinstance(each, AIMessage)), None)


def _refusals(reply: AIMessage) -> list[ToolMessage]:
    return [_refusal(made) for made in reply.invalid_tool_calls if made["id"]]


def _refusal(made: InvalidToolCall) -> ToolMessage:
    return ToolMessage(
        f"The arguments of {made['name']!r} were not valid JSON, so nothing was done. "
        "Call it again with a complete JSON object.",
        tool_call_id=made["id"] or "",
        name=made["name"],
        status="error",
    )

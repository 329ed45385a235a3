"""An agent out of plain LangGraph nodes: the model, its tools, and whatever else is plugged in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias, get_type_hints

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict

from plumbgraph.agents.allow import types_in_state
from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.model import AgentState, ChooseModel, ModelNode, Section, last_reply
from plumbgraph.agents.models import resolve_model
from plumbgraph.agents.node import State
from plumbgraph.errors import SettingsError
from plumbgraph.tracing.guard import Guard

if TYPE_CHECKING:
    from plumbgraph.workspace import Workspace

AnyTool: TypeAlias = BaseTool | Callable[..., Any]
Step: TypeAlias = Runnable[Any, Any]
AnyGraph: TypeAlias = StateGraph[Any, Any, Any, Any]
Agent: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]


def build_agent(
    model: BaseChatModel | ChooseModel | str,
    tools: Sequence[AnyTool] = (),
    *,
    system: Section | Sequence[Section] = (),
    before: Sequence[Step] = (),
    each_turn: Sequence[Step] = (),
    after: Sequence[Step] = (),
    guard: Guard | None = None,
    workspace: Workspace | None = None,
    tool_node: Step | None = None,
    state_schema: type | None = None,
    context_schema: type | None = None,
) -> AnyGraph:
    """The agent's graph, not yet compiled: what `langgraph.json` and further wiring want.

    The order is `before` once, then for each turn `each_turn`, the model and its tools, and when
    the model asks for no more tools `after` once.

    Args:
        model: A chat model, `provider:name`, or a function `(state, runtime)` that gives a model.
        tools: Tools or plain functions with docstrings.
        system: The system prompt: a text, a function of state and runtime, or several in order.
        before: Nodes that run once, before the first turn. A node with a method `way(state)`
            that says `stop` instead of `go` ends the run there.
        each_turn: Nodes that run before every call of the model.
        after: Nodes that run once, after the last turn.
        guard: Stops loops and overspending, right before the model; see `GuardNode`.
        workspace: Its files belong to the thread like its messages; see `WorkspaceNode`. Tools
            find it by `Workspace.current()`, and `file_tools()` does so by itself.
        tool_node: Runs the tools; None means LangGraph's `ToolNode`.
        state_schema: Further channels of the state, as a TypedDict.
        context_schema: The run's context, as LangGraph takes it.

    Raises:
        SettingsError: Two nodes have the same name, or two schemas disagree about a channel.
        MissingExtra: `model` is a name and what loads it is not installed.
    """
    usable = [each if isinstance(each, BaseTool) else as_tool(each) for each in tools]
    asks = ModelNode(
        resolve_model(model) if isinstance(model, str) else model,
        usable,
        system=_sections(system, workspace),
    )
    runs_tools = _in_workspace(tool_node or ToolNode(usable), workspace) if usable else None
    guards = [GuardNode(guard)] if guard else []
    stages = _Stages(before, [*each_turn, *guards, asks], runs_tools, after)
    schema = merged_schema([AgentState, state_schema, *map(_schema_of, stages.all)])
    graph: AnyGraph = StateGraph(schema, context_schema=context_schema)
    return stages.wired(graph)


def create_agent(
    model: BaseChatModel | ChooseModel | str,
    tools: Sequence[AnyTool] = (),
    *,
    name: str = "agent",
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    store: BaseStore | None = None,
    max_steps: int = 250,
    **parts: Any,
) -> Agent:
    """The agent, compiled: invoke it, stream it, draw it.

    Args:
        model: See `build_agent`.
        tools: See `build_agent`.
        name: The graph's name in traces.
        checkpointer: Keeps the threads; without one the agent forgets each run. A PlumbSaver
            is told of the types that stand in the state's schema.
        store: Keeps the long-term memory that nodes and tools see.
        max_steps: Super-steps after which a run stops with GraphRecursionError; its thread
            keeps everything up to there. LangGraph's own default is ten thousand.
        parts: All other keywords of `build_agent`.
    """
    graph = build_agent(model, tools, **parts)
    agent = graph.compile(checkpointer=_informed(checkpointer, graph), store=store, name=name)
    return agent.with_config(recursion_limit=max_steps)


def merged_schema(schemas: Iterable[type | None]) -> type:
    """One TypedDict with the channels of all.

    Raises:
        SettingsError: Two schemas give one channel different types or reducers.
    """
    channels: dict[str, Any] = {}
    for schema in schemas:
        for key, hint in (get_type_hints(schema, include_extras=True) if schema else {}).items():
            if channels.setdefault(key, hint) != hint:
                raise SettingsError(
                    f"The channel {key!r} is {channels[key]!r} in one schema and {hint!r} "
                    f"in {schema!r}.",
                    hint="Rename one of them.",
                )
    make: Any = TypedDict  # its call form wants literals from a type checker
    merged: type = make("AgentState", channels)
    return merged


@dataclass(frozen=True, slots=True)
class _Stages:
    """The agent's nodes in the order they run; the last of `turn` asks the model."""

    before: Sequence[Step]
    turn: Sequence[Step]
    tools: Step | None
    after: Sequence[Step]

    @property
    def all(self) -> list[Step]:
        return [*self.before, *self.turn, *([self.tools] if self.tools else []), *self.after]

    def wired(self, graph: AnyGraph) -> AnyGraph:
        for step in self.all:
            if step.get_name() in graph.nodes:
                raise SettingsError(
                    f"Two nodes are named {step.get_name()!r}.",
                    hint="Give one of them another name=….",
                )
            graph.add_node(step.get_name(), step)
        self._forth(graph)
        self._back(graph)
        return graph

    @property
    def _done(self) -> list[str]:
        return [*_names(self.after), END]

    def _forth(self, graph: AnyGraph) -> None:
        """From the start to the model. A node with a `way` may end the run."""
        first = [*self.before, *self.turn]
        graph.add_edge(START, first[0].get_name())
        for step, following in pairwise(first):
            name, onward = step.get_name(), following.get_name()
            if way := getattr(step, "way", None):
                graph.add_conditional_edges(name, way, {"go": onward, "stop": self._done[0]})
            else:
                graph.add_edge(name, onward)

    def _back(self, graph: AnyGraph) -> None:
        """From the model round through the tools, or to the end."""
        again = self.turn[0].get_name()
        ways: dict[Hashable, str] = {"done": self._done[0], "again": again}
        if self.tools:
            ways["tools"] = self.tools.get_name()
            graph.add_edge(self.tools.get_name(), again)
        graph.add_conditional_edges(self.turn[-1].get_name(), next_step, ways)
        for first, second in pairwise(self._done):
            graph.add_edge(first, second)


def next_step(state: State) -> str:
    """Where the model's reply leads: to the `tools`, to `again` ask, or `done`."""
    reply = last_reply(state["messages"])
    if reply is None:
        return "done"
    if reply.tool_calls:
        return "tools"
    return "again" if reply.invalid_tool_calls else "done"


def _informed(
    saver: BaseCheckpointSaver[Any] | None, graph: AnyGraph
) -> BaseCheckpointSaver[Any] | None:
    if saver is None:
        return None
    from plumbgraph.state import PlumbSaver  # noqa: PLC0415 - only where there is a saver

    if isinstance(saver, PlumbSaver) and (own := types_in_state(graph)):
        return saver.with_allowlist({(each.__module__, each.__name__) for each in own})
    return saver


def _sections(
    system: Section | Sequence[Section], workspace: Workspace | None
) -> Sequence[Section]:
    told = [system] if isinstance(system, str) or callable(system) else system
    if workspace is None:
        return told
    from plumbgraph.agents.workspace import workspace_notice  # noqa: PLC0415 - only with one

    return [*told, lambda state, _: workspace_notice(state)]


def _in_workspace(tools: Step, workspace: Workspace | None) -> Step:
    if workspace is None:
        return tools
    from plumbgraph.agents.workspace import WorkspaceNode  # noqa: PLC0415 - only with one

    return WorkspaceNode(tools, workspace=workspace)


def _names(steps: Sequence[Step]) -> list[str]:
    return [step.get_name() for step in steps]


def _schema_of(step: Step) -> type | None:
    return getattr(step, "state_schema", None)

"""An agent out of plain LangGraph nodes: the model, its tools, and whatever else is plugged in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict, Unpack

from plumbgraph.agents import parts as part
from plumbgraph.agents.allow import types_in_state
from plumbgraph.agents.gate import permitted_tools
from plumbgraph.agents.guard import GuardNode
from plumbgraph.agents.model import AgentState, Section
from plumbgraph.agents.parts import AnyModel, AnyPolicy, AnySkills
from plumbgraph.agents.remembering import AnyMemory, Memory
from plumbgraph.agents.served import informed, served
from plumbgraph.agents.stages import AnyGraph, Stages, Step
from plumbgraph.errors import SettingsError
from plumbgraph.tracing.guard import Guard

if TYPE_CHECKING:
    from plumbgraph.effects import Journal
    from plumbgraph.workspace import Workspace

AnyTool: TypeAlias = BaseTool | Callable[..., Any]
Agent: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

_TURNS = 125


class Parts(TypedDict, total=False):
    """What can be plugged into an agent; what is left out adds nothing.

    Attributes:
        system: The system prompt: a text, a function of state and runtime, or several in order.
        memory: A namespace of the store, such as `("users", "{user_id}")`, or a `Memory`: what it
            knows about the user's message is recalled, and the turn is remembered.
        skills: A `SkillLibrary`, a folder of skills or several, or a `SkillNode` with rules.
        effects: The journal of tools marked with `@effect` and of a router's calls.
        workspace: Its files belong to the thread like its messages; see `WorkspaceNode`. Tools
            find it by `Workspace.current()`, and `file_tools()` does so by itself.
        policy: Rules of this agent about tools, addresses and models; the managed ones always
            apply. See `GateNode`.
        guard: Stops loops and overspending at the beginning of each turn; see `GuardNode`.
        before: Nodes that run once, before the first turn. A node with a method `way(state)`
            that says `stop` instead of `go` ends the run there.
        each_turn: Nodes that run before every call of the model.
        after: Nodes that run once, after the last turn.
        tool_node: Runs the tools; else LangGraph's `ToolNode`, or `EffectToolNode` where a tool
            is marked.
        state_schema: Further channels of the state, as a TypedDict.
        context_schema: The run's context, as LangGraph takes it.
    """

    system: Section | Sequence[Section]
    memory: AnyMemory | None
    skills: AnySkills | None
    effects: Journal | None
    workspace: Workspace | None
    policy: AnyPolicy | None
    guard: Guard | None
    before: Sequence[Step]
    each_turn: Sequence[Step]
    after: Sequence[Step]
    tool_node: Step | None
    state_schema: type | None
    context_schema: type | None


def build_agent(model: AnyModel, tools: Sequence[AnyTool] = (), **parts: Unpack[Parts]) -> AnyGraph:
    """The agent's graph, not yet compiled: what `langgraph.json` and further wiring want.

    The order is recall and `before` once, then for each turn guard, `each_turn`, skills and route,
    the model and its tools, and when the model asks for no more tools `after` and remember once.
    What only decides (guard, skills, route) shares the super-step of the model.

    Args:
        model: A chat model, `provider:name`, a function `(state, runtime)` that gives a model, or
            a `CostRouter` (or `RouterNode`) that chooses one for each call.
        tools: Tools or plain functions with docstrings.
        parts: See `Parts`.

    Raises:
        SettingsError: A part is not known, two nodes have the same name, two schemas disagree
            about a channel, or a tool is marked as an effect and there is no journal.
        PolicyDenied: The policy refuses the model.
        MissingExtra: `model` is a name and what loads it is not installed.
    """
    if unknown := sorted(set(parts) - set(Parts.__annotations__)):
        raise SettingsError(
            f"An agent has no part {unknown[0]!r}.",
            hint=f"Its parts are {', '.join(Parts.__annotations__)}.",
        )
    stages = _stages(model, _as_tools(tools), parts)
    schema = stages.schema(AgentState, parts.get("state_schema"))
    graph: AnyGraph = StateGraph(schema, context_schema=parts.get("context_schema"))
    return stages.wired(graph)


def _stages(model: AnyModel, tools: Sequence[BaseTool], parts: Parts) -> Stages:
    """The agent's nodes in their order."""
    rules = part.policy_of(parts.get("policy"))
    journal, guard = parts.get("effects"), parts.get("guard")
    memory, workspace = Memory.of(parts.get("memory")), parts.get("workspace")
    every = [*tools, *(memory.own_tools if memory else [])]
    route = part.router_node(model, journal, rules)
    skilled = part.skill_node(parts.get("skills"), rules)
    asks = part.model_node(
        model,
        permitted_tools(rules, every),
        system=part.sections(parts.get("system", ()), memory, workspace),
        route=route,
        skilled=skilled,
        policy=rules,
    )
    turn = part.turn_nodes(
        parts.get("each_turn", ()),
        asks,
        guard=GuardNode(guard) if guard else None,
        skilled=skilled,
        route=route,
    )
    first, last = ([memory.recall], [memory.remember]) if memory else ([], [])
    return Stages(
        [*part.repair_nodes(every, journal), *first, *parts.get("before", ())],
        turn,
        part.tool_step(
            every,
            parts.get("tool_node"),
            skilled=skilled,
            journal=journal,
            workspace=workspace,
            policy=rules,
        ),
        [*parts.get("after", ()), *last],
    )


def create_agent(
    model: AnyModel,
    tools: Sequence[AnyTool] = (),
    *,
    name: str = "agent",
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    store: BaseStore | None = None,
    max_steps: int | None = None,
    **parts: Unpack[Parts],
) -> Agent:
    """The agent, compiled: invoke it, stream it, draw it.

    A PlumbSaver serves the other parts too: it is told of the types that stand in the state's
    schema, effects and a router's calls are recorded beside its checkpoints, and loaded skills
    are kept there.

    Args:
        model: See `build_agent`.
        tools: See `build_agent`.
        name: The graph's name in traces.
        checkpointer: Keeps the threads; without one the agent forgets each run.
        store: Keeps the long-term memory that nodes and tools see.
        max_steps: Super-steps after which a run stops with GraphRecursionError; its thread
            keeps everything up to there. By default enough for 125 turns; LangGraph's own
            default is ten thousand steps.
        parts: See `Parts`.
    """
    usable = _as_tools(tools)
    told = served(model, usable, checkpointer, store, parts)
    graph = build_agent(model, usable, **told)
    if own := types_in_state(graph):
        allowed = informed(checkpointer, own)
        if allowed is not checkpointer:
            checkpointer = allowed
            told = served(model, usable, checkpointer, store, parts)
            graph = build_agent(model, usable, **told)
    agent = graph.compile(checkpointer=checkpointer, store=store, name=name)
    steps = max_steps or _TURNS * max(2, len(graph.nodes))
    return agent.with_config(recursion_limit=steps)


def _as_tools(tools: Sequence[AnyTool]) -> list[BaseTool]:
    return [each if isinstance(each, BaseTool) else as_tool(each) for each in tools]

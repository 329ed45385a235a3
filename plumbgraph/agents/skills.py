"""`SkillNode`: a turn's upkeep of skills, and what the model and its tools need of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool
from langgraph.prebuilt import ToolNode
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import override

from plumbgraph.agents.model import AgentState, ChooseModel, ModelNode, Section
from plumbgraph.agents.node import Ask, Node, State, off_loop
from plumbgraph.agents.skill_tools import skill_tools
from plumbgraph.plan import Plan
from plumbgraph.skills.bodies import Blobs
from plumbgraph.skills.channel import CatalogRef, SkillEntry, SkillState
from plumbgraph.skills.desk import Rules, SkillDesk
from plumbgraph.skills.gate import ToolPolicy
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.scripts import ScriptRules
from plumbgraph.tracing.guard import NOTICE

Handler = Callable[[ToolCallRequest], ToolMessage | Command[Any]]
AsyncHandler = Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]


class SkillKit:
    """Skills for one agent, shared by the node and the middleware.

    Args:
        library: Where skills are found; a folder or a list of sources will do.
        tools: Tools that appear only while a skill that requires them is loaded.
        rules: Budgets, drift, pinning and restriction; `gated` is taken from `tools`.
        scripts: Whether scripts of skills run; off by default.
        policy: The operator's rules about tools.
        blobs: Where loaded skills are kept by digest; the user's data folder by default.
    """

    def __init__(
        self,
        library: SkillLibrary | str | Sequence[Any],
        *,
        tools: Iterable[BaseTool | Callable[..., Any]] = (),
        rules: Rules | None = None,
        scripts: ScriptRules | None = None,
        policy: ToolPolicy | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        if not isinstance(library, SkillLibrary):
            library = SkillLibrary(library)
        self.brought = [t if isinstance(t, BaseTool) else as_tool(t) for t in tools]
        rules = rules or Rules()
        gated = rules.gated | {tool.name for tool in self.brought}
        self.desk = SkillDesk(library, blobs=blobs, rules=rules.with_gated(gated), policy=policy)
        self.scripts = scripts or ScriptRules()
        self.own = skill_tools(self.desk, self.scripts)

    @property
    def tools(self) -> list[BaseTool]:
        """The tools that load skills, and those that skills bring: give all to the tool node."""
        return [*self.own, *self.brought]

    def begin(self, state: State) -> dict[str, Any]:
        """The update before a model call; see `SkillDesk.begin`."""
        messages = state.get("messages") or []
        turn, query = turn_of(messages)
        return self.desk.begin(entries_of(state), catalog_of(state), turn=turn, query=query)

    def prompt(self, state: State) -> str:
        """The skills part of the system prompt for this state."""
        return self.desk.prompt(entries_of(state), catalog_of(state))

    def visible(self, state: State, tools: Sequence[BaseTool]) -> list[BaseTool]:
        """Those of `tools` that the model may see now."""
        entries = entries_of(state)
        return [tool for tool in tools if self.desk.refusal(entries, tool.name) is None]

    def refusal(self, request: ToolCallRequest) -> ToolMessage | None:
        """The answer to a call that may not run now, whatever the model was shown."""
        call = request.tool_call
        refused = self.desk.refuse_call(entries_of(request.state), call["name"], call["args"])
        if refused is None:
            return None
        return ToolMessage(
            f"{refused.reason} Nothing was done.",
            tool_call_id=call["id"],
            name=call["name"],
            status="error",
        )

    def guard(self, request: ToolCallRequest, handler: Handler) -> ToolMessage | Command[Any]:
        """Around every tool call: refuse it, or let it run."""
        return self.refusal(request) or handler(request)

    async def aguard(
        self, request: ToolCallRequest, handler: AsyncHandler
    ) -> ToolMessage | Command[Any]:
        """See `guard`."""
        return await asyncio.to_thread(self.refusal, request) or await handler(request)


class SkillNode(Node):
    """Keeps a thread's skills: put it before the model, in the loop or once a turn.

    At a new turn it looks at the sources again, settles drift, puts one-turn skills down and
    chooses the catalog; before each model call it keeps the loaded skills inside their budget.
    `model_node` and `tool_node` make the two other nodes an agent needs; without them use
    `prompt(state)`, `visible(state, tools)` and `guard`.

    Args:
        library: Where skills are found; a folder or a list of sources will do.
        tools: Tools that appear only while a skill that requires them is loaded.
        name: The node's name in the graph.
        settings: The other keywords of `SkillKit`: rules, scripts, policy, blobs.
    """

    state_schema = SkillState

    def __init__(
        self,
        library: SkillLibrary | str | Sequence[Any],
        *,
        tools: Iterable[BaseTool | Callable[..., Any]] = (),
        name: str = "skills",
        **settings: Any,
    ) -> None:
        super().__init__(name=name)
        self.kit = SkillKit(library, tools=tools, **settings)
        self.tools = self.kit.tools
        self.prompt = self.kit.prompt
        self.visible = self.kit.visible

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        update: dict[str, Any] = yield off_loop(self.kit.begin, state)
        return update

    def model_node(
        self,
        model: BaseChatModel | ChooseModel,
        tools: Sequence[BaseTool] = (),
        *,
        system: Sequence[Section] = (),
        name: str = "model",
    ) -> SkillModelNode:
        """A model node that shows the skills and binds only the tools that may be seen."""
        return SkillModelNode(self.kit, model, tools, system=system, name=name)

    def tool_node(self, tools: Sequence[BaseTool] = (), *, name: str = "tools") -> ToolNode:
        """A tool node with the skill tools that refuses what may not run."""
        every = [*tools, *self.kit.tools]
        kit = self.kit
        return ToolNode(every, name=name, wrap_tool_call=kit.guard, awrap_tool_call=kit.aguard)


class SkilledState(AgentState, SkillState):
    """Messages and the channels of skills."""


class SkillModelNode(ModelNode):
    """A `ModelNode` whose system prompt ends with the skills and whose tools follow them."""

    state_schema = SkilledState

    def __init__(
        self,
        kit: SkillKit,
        model: BaseChatModel | ChooseModel,
        tools: Sequence[BaseTool] = (),
        **settings: Any,
    ) -> None:
        super().__init__(model, (), **settings)
        self._kit, self._model = kit, model
        self._every = [*tools, *kit.tools]
        self._nodes: dict[tuple[str, ...], ModelNode] = {}

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, list[BaseMessage]]]:
        found: tuple[ModelNode, str] = yield off_loop(self._with_skills, state)
        node, text = found
        return (yield from node.asking(state, runtime, config, text))

    def _with_skills(self, state: State) -> tuple[ModelNode, str]:
        """The node with the tools that may be seen now, and the skills' part of the prompt."""
        tools = self._kit.visible(state, self._every)
        names = tuple(tool.name for tool in tools)
        node = self._nodes.get(names)
        if node is None:
            node = ModelNode(self._model, tools, system=self.system, name=self.name)
            self._nodes[names] = node
        return node, self._kit.prompt(state)


def entries_of(state: State) -> dict[str, SkillEntry]:
    """The loaded and unloaded skills of a state; none where it has no such channel."""
    found = state.get("skills") if isinstance(state, Mapping) else getattr(state, "skills", None)
    return dict(found or {})


def catalog_of(state: State) -> CatalogRef | None:
    """The turn's catalog of a state."""
    found: CatalogRef | None = state.get("skills_catalog") if isinstance(state, Mapping) else None
    return found


def _said_by_a_person(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and NOTICE not in message.additional_kwargs


def turn_of(messages: Sequence[BaseMessage]) -> tuple[str, str]:
    """The turn's name and what the user wants: both from the last thing a person said."""
    for message in reversed(messages):
        if _said_by_a_person(message):
            name = message.id or f"turn-{sum(map(_said_by_a_person, messages))}"
            return name, str(message.text)
    return "start", ""

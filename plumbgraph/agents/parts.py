"""What each part adds to an agent: a node, a section of the prompt, or a wrap around the tools."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode

from plumbgraph.agents.gate import GateNode, gates, permitted_model, speaks_of_models
from plumbgraph.agents.model import ChooseModel, ModelNode, Section
from plumbgraph.agents.models import resolve_model
from plumbgraph.agents.node import Node
from plumbgraph.agents.remembering import Memory
from plumbgraph.agents.turn import TurnNode
from plumbgraph.errors import PlumbError, SettingsError
from plumbgraph.policy import Policy, Rules

if TYPE_CHECKING:
    from plumbgraph.agents.routing import RouterNode
    from plumbgraph.agents.skills import SkillNode
    from plumbgraph.effects import Journal
    from plumbgraph.routing import CostRouter
    from plumbgraph.skills.library import SkillLibrary
    from plumbgraph.workspace import Workspace

AnyModel: TypeAlias = "BaseChatModel | ChooseModel | str | CostRouter | RouterNode"
AnySkills: TypeAlias = "SkillNode | SkillLibrary | str | os.PathLike[str] | Sequence[Any]"
AnyPolicy: TypeAlias = Policy | Rules | Mapping[str, Any] | str | os.PathLike[str]


def policy_of(given: AnyPolicy | None) -> Policy:
    """The policy of an agent; without one, the managed rules alone."""
    if isinstance(given, Policy):
        return given
    if given is None:
        return _managed()
    return Policy(os.fspath(given) if isinstance(given, os.PathLike) else given)


def _managed() -> Policy:
    """The managed rules: read anew, but in a running loop, which must not block, as last read."""
    if _read and _in_loop():
        return _read[0]
    _read[:] = [Policy()]
    return _read[0]


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_read: list[Policy] = []
with suppress(PlumbError):  # whoever makes an agent is told of it
    _managed()


def is_router(model: Any) -> bool:
    """Whether a model is a `CostRouter` or a `RouterNode`, told without importing either."""
    if isinstance(model, BaseChatModel | str):
        return False
    return hasattr(model, "decide") or hasattr(model, "router")


def router_node(model: Any, journal: Journal | None, policy: Policy) -> RouterNode | None:
    """The node that decides which model is asked; None where the model is no router.

    Raises:
        SettingsError: The agent's policy has rules about models that the router does not know.
    """
    if not is_router(model):
        return None
    from plumbgraph.agents.routing import RouterNode  # noqa: PLC0415 - only with a router

    node = model if isinstance(model, RouterNode) else RouterNode(model, journal=journal)
    if not hasattr(node.router, "policy"):
        return node  # it is chosen at run time, and checks its own rules
    known = [rules.models for rules in node.router.policy.rules.values()]
    if speaks_of_models(policy) and any(
        rules.models not in known for rules in policy.rules.values()
    ):
        raise SettingsError(
            "The policy has rules about models, and the router does not know them.",
            hint="Give the policy to the router as well: CostRouter(…, policy=policy).",
        )
    return node


def skill_node(given: AnySkills | None, policy: Policy, blobs: Any = None) -> SkillNode | None:
    """The node that keeps an agent's skills; None without skills."""
    if given is None:
        return None
    from plumbgraph.agents.skills import SkillNode  # noqa: PLC0415 - only with skills
    from plumbgraph.skills.library import SkillLibrary  # noqa: PLC0415 - as above

    if isinstance(given, SkillNode):
        return given
    if not isinstance(given, SkillLibrary):
        given = SkillLibrary([given] if isinstance(given, str | os.PathLike) else given)
    return SkillNode(given, policy=policy, blobs=blobs)


def model_node(
    model: AnyModel,
    tools: Sequence[BaseTool],
    *,
    system: Sequence[Section],
    route: RouterNode | None,
    skilled: SkillNode | None,
    policy: Policy,
) -> Node:
    """The node that asks the model, as the parts want it asked."""
    asked: Any = route.model if route else model
    asked = resolve_model(asked) if isinstance(asked, str) else asked
    fixed = route is not None and hasattr(route.router, "decide")
    asked = asked if fixed else permitted_model(policy, asked)
    if skilled:
        node: Node = skilled.model_node(asked, tools, system=system)
    else:
        node = ModelNode(asked, tools, system=system)
    if route is None:
        return node
    from plumbgraph.agents.routing import RoutedNode  # noqa: PLC0415 - only with a router

    return RoutedNode(node, route)


def turn_nodes(
    own: Sequence[Runnable[Any, Any]],
    asks: Node,
    *,
    guard: Node | None,
    skilled: Node | None,
    route: RouterNode | None,
) -> list[Runnable[Any, Any]]:
    """The nodes of a turn. What only decides shares the super-step of what comes after it.

    Nodes of the user's own keep their place between the guard and the rest. A router without a
    journal keeps a step of its own, whose checkpoint holds its decision before money is spent.
    """
    first = [guard] if guard and own else []
    deciding = [each for each in (None if first else guard, skilled) if each]
    if route is not None and route.journal is None:
        return [*first, *own, _folded(route, deciding), asks]
    return [*first, *own, _folded(asks, deciding)]


def _folded(last: Node, before: Sequence[Node]) -> Node:
    return TurnNode(last, before) if before else last


def tool_step(
    tools: Sequence[BaseTool],
    given: Runnable[Any, Any] | None,
    *,
    skilled: SkillNode | None,
    journal: Journal | None,
    workspace: Workspace | None,
    policy: Policy,
) -> Runnable[Any, Any] | None:
    """The node that runs the tools, inside whatever parts watch over them."""
    every = [*tools, *(skilled.tools if skilled else [])]
    if not every:
        return None
    step = given or _tool_node(every, skilled, journal)
    if workspace is not None:
        from plumbgraph.agents.workspace import WorkspaceNode  # noqa: PLC0415 - only with one

        step = WorkspaceNode(step, workspace=workspace)
    if not gates(policy, step):
        return step
    exempt = [tool.name for tool in skilled.kit.own] if skilled else []
    return GateNode(step, policy=policy, exempt=exempt)


def _tool_node(
    tools: Sequence[BaseTool], skilled: SkillNode | None, journal: Journal | None
) -> ToolNode:
    wraps: dict[str, Callable[..., Any]] = {}
    if skilled:
        wraps = {"wrap_tool_call": skilled.kit.guard, "awrap_tool_call": skilled.kit.aguard}
    marked = marked_tools(tools)
    if not marked:
        return ToolNode(tools, **wraps)  # type: ignore[arg-type]
    if journal is None:
        raise SettingsError(
            f"The effects of {', '.join(map(repr, marked))} need a journal to happen once.",
            hint="Pass a PlumbSaver as checkpointer, or effects=journal_for(saver).",
        )
    from plumbgraph.agents.effects import EffectToolNode  # noqa: PLC0415 - only with effects

    return EffectToolNode(tools, journal=journal, **wraps)


def marked_tools(tools: Sequence[Any]) -> list[str]:
    """The names of the tools marked with `@effect`."""
    if "plumbgraph.effects.decorator" not in sys.modules:
        return []  # nothing can be marked yet, and importing the journal takes a while
    from plumbgraph.effects.decorator import spec_of  # noqa: PLC0415 - as above

    specs = [spec_of(tool) for tool in tools]
    return [spec.name for spec in specs if spec is not None]


def sections(
    system: Section | Sequence[Section], memory: Memory | None, workspace: Workspace | None
) -> list[Section]:
    """The system prompt's sections, the constant ones first."""
    told = [system] if isinstance(system, str) or callable(system) else list(system)
    if memory is not None:
        told.append(memory.recall.section)
    if workspace is not None:
        from plumbgraph.agents.workspace import workspace_notice  # noqa: PLC0415 - only with one

        told.append(lambda state, _: workspace_notice(state))
    return told


def repair_nodes(tools: Sequence[BaseTool], journal: Journal | None) -> list[Node]:
    """The node that answers tool calls a crash left open, where calls are on record."""
    if journal is None:
        return []
    from plumbgraph.agents.effects import RepairNode  # noqa: PLC0415 - only with effects

    marked = marked_tools(tools)
    return [RepairNode(journal, marked)] if marked else []

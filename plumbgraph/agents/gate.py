"""The policy in front of tools and models: what is denied does not run, what needs a yes asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from typing_extensions import override

from plumbgraph.agents.model import ChooseModel, last_reply
from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.clock import SYSTEM
from plumbgraph.errors import PolicyDenied, UnknownPrice
from plumbgraph.plan import Plan
from plumbgraph.policy import Decision, ModelRules, Policy, ToolRules, Verdict, WebRules

KIND = "plumbgraph.tool_approval"
Update: TypeAlias = Any


def speaks_of_tools(policy: Policy) -> bool:
    """Whether any layer has a rule about tools or the addresses in their arguments."""
    return any(rules.tools != ToolRules() for rules in policy.rules.values())


def gates(policy: Policy, node: Any) -> bool:
    """Whether a policy can refuse a call of a tool node: by the tool, or by an address in it."""
    web = any(rules.web != WebRules() for rules in policy.rules.values())
    return speaks_of_tools(policy) or (web and bool(url_arguments(node)))


def speaks_of_models(policy: Policy) -> bool:
    """Whether any layer has a rule about models."""
    return any(rules.models != ModelRules() for rules in policy.rules.values())


def permitted_tools(policy: Policy, tools: Sequence[BaseTool]) -> list[BaseTool]:
    """Those of `tools` that are not denied whatever their arguments."""
    return [tool for tool in tools if policy.tool(tool.name).verdict is not Verdict.DENY]


def permitted_model(policy: Policy, model: BaseChatModel | ChooseModel) -> Any:
    """The model itself, or the function that chooses it, under the policy's rules about models.

    Raises:
        PolicyDenied: The policy refuses this model; a chosen one is refused when it is chosen.
    """
    if not speaks_of_models(policy):
        return model
    if isinstance(model, BaseChatModel):
        return require_model(policy, model)
    return lambda state, runtime: require_model(policy, model(state, runtime))


def require_model(policy: Policy, model: BaseChatModel) -> BaseChatModel:
    """The model, where the policy allows it.

    Raises:
        PolicyDenied: It does not.
    """
    if hasattr(model, "router"):
        return model  # its router asks the rules about each candidate
    from plumbgraph.routing.catalog import Catalog, ModelCard  # noqa: PLC0415 - only with rules
    from plumbgraph.routing.prices import price_book  # noqa: PLC0415 - only with rules

    card = ModelCard(model=model)
    try:
        price = Catalog([card], prices=price_book()).price(card.name, at=SYSTEM.now())
    except UnknownPrice:
        price = None
    policy.require(policy.model(card.facts(price)))
    return model


class GateNode(Node):
    """A tool node behind a policy.

    A call that is denied is answered with the rule that denied it and does not run. Calls that
    need a person's approval are asked about together, with one `interrupt`, before any tool of
    the step runs; resume with `True`, with `{"approve": True}`, or with `{"approve": [ids]}` for
    some of them. Everything else runs in the inner node.

    Args:
        inner: The tool node, or a node around it.
        policy: Asked about each call with its arguments.
        exempt: Names of tools that no rule takes away.
        name: The node's name; the inner one's by default.
    """

    def __init__(
        self,
        inner: Runnable[Any, Any],
        *,
        policy: Policy,
        exempt: Collection[str] = (),
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or inner.get_name())
        self.inner = inner
        self.policy = policy
        self.exempt = frozenset(exempt)
        self._urls = url_arguments(inner)
        # An instance's own: the channels are those of the node inside.
        self.state_schema = getattr(inner, "state_schema", None)  # type: ignore[misc]

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, Update]:
        reply = last_reply(state["messages"])
        refused = self._refused(reply.tool_calls) if reply else {}
        if reply is None or not refused:
            return (yield Ask.of(self.inner, state, config))
        left = [made for made in reply.tool_calls if str(made["id"]) not in refused]
        answers = list(refused.values())
        if not left:
            return {"messages": answers}
        update = yield Ask.of(self.inner, _with_calls(state, reply, left), config)
        return _joined(update, answers)

    def _refused(self, calls: Sequence[ToolCall]) -> dict[str, ToolMessage]:
        """The answers to the calls that may not run, by the calls' ids."""
        judged = {
            str(made["id"]): (made, self._judged(made))
            for made in calls
            if made["name"] not in self.exempt
        }
        asked = {key: each for key, each in judged.items() if each[1].verdict is Verdict.APPROVE}
        agreed = approved(interrupt(question(asked)), asked) if asked else frozenset()
        return {
            key: refusal(self.policy, made, decision)
            for key, (made, decision) in judged.items()
            if not decision.allowed and key not in agreed
        }

    def _judged(self, made: ToolCall) -> Decision:
        urls = self._urls.get(made["name"], ())
        return self.policy.tool(made["name"], made["args"], url_arguments=urls)


def refusal(policy: Policy, made: ToolCall, decision: Decision) -> ToolMessage:
    """The answer to a call that may not run; the refusal is recorded."""
    with suppress(PolicyDenied):  # the model is told, and the run goes on
        policy.require(decision)
    why = decision.reason
    if decision.verdict is Verdict.APPROVE:
        why += " It was not approved."
    return ToolMessage(
        f"{why} Nothing was done.",
        name=made["name"],
        tool_call_id=str(made["id"]),
        status="error",
    )


def url_arguments(node: Any) -> dict[str, tuple[str, ...]]:
    """Which arguments of a tool node's tools are web addresses, as the tools' metadata says.

    Args:
        node: The tool node, or nodes around it that hold it as `inner`.
    """
    while not hasattr(node, "tools_by_name") and hasattr(node, "inner"):
        node = node.inner
    tools: Mapping[str, BaseTool] = getattr(node, "tools_by_name", {})
    told = {name: (tool.metadata or {}).get("url_arguments", ()) for name, tool in tools.items()}
    return {name: tuple(arguments) for name, arguments in told.items() if arguments}


def question(asked: Mapping[str, tuple[ToolCall, Decision]]) -> dict[str, Any]:
    """What the interrupt carries: plain data, to be shown to a person."""
    return {
        "kind": KIND,
        "calls": [
            {"id": key, "tool": made["name"], "args": made["args"], "rule": decision.rule}
            for key, (made, decision) in asked.items()
        ],
        "answer": {"approve": list(asked)},
    }


def approved(answer: Any, asked: Collection[str]) -> frozenset[str]:
    """The ids of the calls that an answer approves."""
    said = answer.get("approve") if isinstance(answer, Mapping) else answer
    if said is True:
        return frozenset(asked)
    return frozenset(said) & frozenset(asked) if isinstance(said, list | tuple) else frozenset()


def _with_calls(state: State, reply: AIMessage, calls: Sequence[ToolCall]) -> State:
    """The state as the tools are to see it: the model asked for these calls alone."""
    shown = reply.model_copy(update={"tool_calls": list(calls)})
    messages = [shown if each is reply else each for each in state["messages"]]
    return {**state, "messages": messages}


def _joined(update: Update, answers: list[ToolMessage]) -> Update:
    if update is None:
        return {"messages": answers}
    if isinstance(update, Mapping) and "messages" in update:
        return {**update, "messages": [*update["messages"], *answers]}
    parts = update if isinstance(update, list | tuple) else [update]
    commands = [part if isinstance(part, Command) else Command(update=part) for part in parts]
    return [*commands, Command(update={"messages": answers})]

"""The policy as middleware for `langchain.agents.create_agent`; needs the extra `agents`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command, interrupt
from typing_extensions import override

from plumbgraph.agents.gate import (
    approved,
    permitted_tools,
    question,
    refusal,
    require_model,
    speaks_of_models,
)
from plumbgraph.agents.parts import AnyPolicy, policy_of
from plumbgraph.errors import MissingExtra
from plumbgraph.policy import Verdict

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing

Answer: TypeAlias = ToolMessage | Command[Any]


class PolicyMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Keeps an agent inside a policy; see `GateNode`.

    Denied tools are neither shown nor run, some calls ask a person first, and a denied model is
    not asked. Put it before the other middlewares; give a router its policy as well.

    Args:
        policy: Rules of this agent; the operator's managed ones always apply, also without any.
        exempt: Names of tools that no rule takes away.
    """

    def __init__(self, policy: AnyPolicy | None = None, *, exempt: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.policy = policy_of(policy)
        self.exempt = frozenset(exempt)
        self._models = speaks_of_models(self.policy)

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]
    ) -> ModelResponse[Any]:
        """The call with the tools that may be seen, if the model may be asked."""
        answer: ModelResponse[Any] = handler(self._shown(request))
        return answer

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> ModelResponse[Any]:
        """See `wrap_model_call`."""
        answer: ModelResponse[Any] = await handler(self._shown(request))
        return answer

    @override
    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Answer]
    ) -> Answer:
        """The tool's answer, or the rule that forbids it."""
        return self._refused(request) or handler(request)

    @override
    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Answer]]
    ) -> Answer:
        """See `wrap_tool_call`."""
        return self._refused(request) or await handler(request)

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if self._models:
            require_model(self.policy, request.model)
        own = [tool for tool in request.tools if isinstance(tool, BaseTool)]
        seen = {tool.name for tool in permitted_tools(self.policy, own)} | self.exempt
        tools = [
            tool for tool in request.tools if not isinstance(tool, BaseTool) or tool.name in seen
        ]
        return request.override(tools=tools)

    def _refused(self, request: ToolCallRequest) -> ToolMessage | None:
        made: ToolCall = request.tool_call
        if made["name"] in self.exempt:
            return None
        told = (request.tool.metadata or {}) if request.tool is not None else {}
        urls = tuple(told.get("url_arguments", ()))
        decision = self.policy.tool(made["name"], made["args"], url_arguments=urls)
        if decision.verdict is Verdict.APPROVE:
            asked = {str(made["id"]): (made, decision)}
            if approved(interrupt(question(asked)), asked):
                return None
        return None if decision.allowed else refusal(self.policy, made, decision)

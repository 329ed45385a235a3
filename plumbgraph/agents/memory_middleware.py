"""Memory as middleware for `langchain.agents.create_agent`; needs the extra `agents`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from langchain_core.messages import SystemMessage
from typing_extensions import override

from plumbgraph.agents.memory import (
    Extract,
    MemoryState,
    Place,
    RecallNode,
    RememberNode,
    memory_tools,
    recalled,
)
from plumbgraph.errors import MissingExtra
from plumbgraph.memory import Attribute, MemoryStore
from plumbgraph.memory.recollection import Mode

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing


class _RememberingState(AgentState[Any], MemoryState):
    """The agent's state with the channel of recall."""


class MemoryMiddleware(AgentMiddleware[_RememberingState, Any, Any]):
    """Recalls at the start of a turn, shows it to the model, and remembers at the end.

    Args:
        namespace: Where; labels in braces come from the run's `configurable`.
        store: The store; by default the agent's own.
        mode: How to recall; see `RecallNode`.
        token_budget: Most tokens of what is recalled.
        extract: Turns the turn's messages into facts; see `RememberNode`.
        attributes: What the tool `remember` offers.
        keep_messages: Whether the turn's messages themselves are remembered.
    """

    state_schema = _RememberingState

    def __init__(
        self,
        namespace: Place,
        *,
        store: MemoryStore | None = None,
        mode: Mode = "broad",
        token_budget: int = 1_000,
        extract: Extract | None = None,
        attributes: Iterable[Attribute] = (),
        keep_messages: bool = True,
    ) -> None:
        super().__init__()
        self._recall = RecallNode(namespace, store=store, mode=mode, token_budget=token_budget)
        said_by: Any = ("human", "ai") if keep_messages else ()
        self._remember = RememberNode(namespace, store=store, extract=extract, said_by=said_by)
        self.tools = memory_tools(namespace, store=store, attributes=attributes)

    @override
    def before_agent(self, state: _RememberingState, runtime: Any) -> dict[str, Any]:
        """Recall for the turn's message."""
        return {"recalled": recalled(self._recall.ask(state["messages"], runtime, None).call())}

    @override
    async def abefore_agent(self, state: _RememberingState, runtime: Any) -> dict[str, Any]:
        """See `before_agent`."""
        ask = self._recall.ask(state["messages"], runtime, None)
        return {"recalled": recalled(await ask.acall())}

    @override
    def after_agent(self, state: _RememberingState, runtime: Any) -> None:
        """Remember the turn."""
        for ask in self._remember.asks(state["messages"], runtime, None):
            ask.call()

    @override
    async def aafter_agent(self, state: _RememberingState, runtime: Any) -> None:
        """See `after_agent`."""
        for ask in self._remember.asks(state["messages"], runtime, None):
            await ask.acall()

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]
    ) -> ModelResponse[Any]:
        """Show the model what was recalled."""
        answer: ModelResponse[Any] = handler(self._shown(request))
        return answer

    @override
    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Any]]
    ) -> ModelResponse[Any]:
        """See `wrap_model_call`."""
        answer: ModelResponse[Any] = await handler(self._shown(request))
        return answer

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        section = self._recall.section(request.state)
        if section is None:
            return request
        given = request.system_message
        text = f"{given.text}\n\n{section}" if given is not None else section
        return request.override(system_message=SystemMessage(text))

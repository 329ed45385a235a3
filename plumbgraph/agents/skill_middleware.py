"""Skills as middleware for `langchain.agents.create_agent`; needs the extra `agents`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from langchain_core.messages import SystemMessage
from langchain_core.tools import BaseTool
from typing_extensions import override

from plumbgraph.agents.skills import AsyncHandler, Handler, SkillKit
from plumbgraph.errors import MissingExtra
from plumbgraph.skills.channel import SkillState
from plumbgraph.skills.library import SkillLibrary

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing


class _SkilledState(AgentState[Any], SkillState):
    """The agent's state with the channels of skills."""


class SkillMiddleware(AgentMiddleware[_SkilledState, Any, Any]):
    """Shows, loads and puts down skills in an agent of `create_agent` or deepagents.

    The system prompt gets the catalog and the loaded instructions at each call; the tools that
    load skills are added, and tools that skills bring appear and go with them.

    Args:
        library: Where skills are found; a folder or a list of sources will do.
        tools: Tools that appear only while a skill that requires them is loaded.
        settings: The other keywords of `SkillKit`: rules, scripts, policy, blobs.
    """

    state_schema = _SkilledState

    def __init__(
        self,
        library: SkillLibrary | str | Sequence[Any],
        *,
        tools: Iterable[BaseTool | Callable[..., Any]] = (),
        **settings: Any,
    ) -> None:
        super().__init__()
        self.kit = SkillKit(library, tools=tools, **settings)
        self.tools = self.kit.tools

    @override
    def before_model(self, state: _SkilledState, runtime: Any) -> dict[str, Any] | None:
        """The upkeep of a turn; see `SkillNode`."""
        return self.kit.begin(state) or None

    @override
    async def abefore_model(self, state: _SkilledState, runtime: Any) -> dict[str, Any] | None:
        """See `before_model`."""
        return await asyncio.to_thread(self.kit.begin, state) or None

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """The call with the skills in its prompt and only the tools that may be seen."""
        return handler(self._shown(request))

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """See `wrap_model_call`."""
        return await handler(await asyncio.to_thread(self._shown, request))

    @override
    def wrap_tool_call(self, request: Any, handler: Handler) -> Any:
        """Refuse a call that no loaded skill or rule allows."""
        return self.kit.guard(request, handler)

    @override
    async def awrap_tool_call(self, request: Any, handler: AsyncHandler) -> Any:
        """See `wrap_tool_call`."""
        return await self.kit.aguard(request, handler)

    def _shown(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        own = [tool for tool in request.tools if isinstance(tool, BaseTool)]
        seen = {tool.name for tool in self.kit.visible(request.state, own)}
        tools = [
            tool for tool in request.tools if not isinstance(tool, BaseTool) or tool.name in seen
        ]
        text = self.kit.prompt(request.state)
        before = request.system_message.text if request.system_message else ""
        message = SystemMessage("\n\n".join(part for part in (before, text) if part))
        return request.override(tools=tools, system_message=message)

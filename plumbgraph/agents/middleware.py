"""The parts as middleware for `langchain.agents.create_agent`; needs the extra `agents`."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from plumbgraph.agents.guard import GuardNode, GuardState
from plumbgraph.errors import MissingExtra
from plumbgraph.tracing.guard import Guard

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, hook_config
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing


class _GuardedState(AgentState[Any], GuardState):
    """The agent's state with the guard's channels."""


class GuardMiddleware(AgentMiddleware[_GuardedState, Any, Any]):
    """Stops an agent that loops or outspends its limits; see `GuardNode`.

    Args:
        guard: Rules and limits.
        settings: As for `GuardNode`.
    """

    state_schema = _GuardedState

    def __init__(self, guard: Guard | None = None, **settings: Any) -> None:
        super().__init__()
        self._node = GuardNode(guard, **settings)

    @override
    @hook_config(can_jump_to=["end"])
    def before_model(self, state: _GuardedState, runtime: Any) -> dict[str, Any]:
        """The guard's update; jumps to the end when the run must stop."""
        update = self._node.update(state)
        return {**update, "jump_to": "end"} if update["stop_reason"] else update

"""Routing as middleware for `langchain.agents.create_agent`; needs the extra `agents`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.types import Command
from typing_extensions import override

from plumbgraph.agents.routing import Describe, MiddlewareCore, RouteState, Turn, describe_state
from plumbgraph.errors import MissingExtra
from plumbgraph.routing.call import Answer, Offer
from plumbgraph.routing.journal import Journal
from plumbgraph.routing.router import CostRouter

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ExtendedModelResponse,
        ModelRequest,
        ModelResponse,
    )
except ModuleNotFoundError as missing:
    raise MissingExtra("Middleware needs langchain.", extra="agents") from missing


class _RoutedState(AgentState[Any], RouteState):
    """The agent's state with the router's channels."""


class RouterMiddleware(AgentMiddleware[_RoutedState, Any, Any]):
    """Lets a router choose the model of each call of an agent; see `CostRouter`.

    The tools are bound anew to the chosen model, the limit on the answer is set, and decision
    and ledger row reach the state in the same step as the answer. The agent's own `model` is
    never asked.

    Args:
        router: Decides.
        describe: What the state says of its next call: data classes, task, a pin.
        journal: Keeps decisions and answers for a resumed run.
    """

    state_schema = _RoutedState

    def __init__(
        self,
        router: CostRouter,
        *,
        describe: Describe = describe_state,
        journal: Journal | None = None,
    ) -> None:
        super().__init__()
        self._core = MiddlewareCore(router, describe=describe, journal=journal)

    @override
    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """The routed answer with the state's update."""
        answer, update = self._core.call(_turn(request, handler, _no_async))
        raw = answer.raw
        if answer.replayed:
            raw = handler(request.override(model=_Recorded(message=answer.message)))
        return _response(answer, raw, update)

    @override
    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """See `wrap_model_call`."""
        answer, update = await self._core.acall(_turn(request, _no_sync, handler))
        raw = answer.raw
        if answer.replayed:
            raw = await handler(request.override(model=_Recorded(message=answer.message)))
        return _response(answer, raw, update)


class _Recorded(BaseChatModel):
    """Gives a recorded answer, so that what the framework makes of an answer is made of it too."""

    message: AIMessage

    @override
    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    @override
    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.message)])

    @property
    @override
    def _llm_type(self) -> str:
        return "plumbgraph-recorded"


def _turn(
    request: ModelRequest[Any],
    handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ahandler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
) -> Turn:
    system = [request.system_message] if request.system_message else []
    return Turn(
        messages=[*system, *request.messages],
        tools=list(request.tools),
        state=request.state,
        ask=lambda offer: handler(_offered(request, offer)),
        aask=lambda offer: ahandler(_offered(request, offer)),
        message_of=_message_of,
    )


def _offered(request: ModelRequest[Any], offer: Offer) -> ModelRequest[Any]:
    messages: Any = offer.messages
    system = messages[0] if messages and isinstance(messages[0], SystemMessage) else None
    return request.override(
        model=offer.model,
        system_message=system,
        messages=messages[1:] if system else messages,
        model_settings={**request.model_settings, **offer.settings},
    )


def _message_of(response: Any) -> AIMessage:
    result = [response] if isinstance(response, AIMessage) else _model_response(response).result
    return next(m for m in reversed(result) if isinstance(m, AIMessage))


def _model_response(response: Any) -> ModelResponse[Any]:
    if isinstance(response, ExtendedModelResponse):
        return response.model_response
    if isinstance(response, AIMessage):
        return ModelResponse(result=[response])
    assert isinstance(response, ModelResponse)
    return response


def _response(answer: Answer, raw: Any, update: dict[str, Any]) -> ExtendedModelResponse[Any]:
    """What the handler gave, its answer marked, with the state's update."""
    inner = _model_response(raw)
    result = [answer.message if isinstance(m, AIMessage) else m for m in inner.result]
    told = ModelResponse(result=result, structured_response=inner.structured_response)
    return ExtendedModelResponse(model_response=told, command=Command(update=update))


def _no_async(_: ModelRequest[Any]) -> Any:
    raise AssertionError("the other color was asked for")


def _no_sync(_: ModelRequest[Any]) -> Any:
    raise AssertionError("the other color was asked for")

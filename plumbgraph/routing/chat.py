"""`RoutedChatModel`: a router where a chat model is expected."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    message_chunk_to_message,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field
from typing_extensions import override

from plumbgraph.routing.call import Answer, Asked, Offer, routed
from plumbgraph.routing.charging import mark_of
from plumbgraph.routing.handover import MARK
from plumbgraph.routing.router import CostRouter
from plumbgraph.routing.scope import current_scope, identity_of, view_of
from plumbgraph.routing.steps import Emit, RoutePlan, astream, stream
from plumbgraph.routing.tokens import bounds_of, needs_of
from plumbgraph.routing.values import Decision, Request
from plumbgraph.tracing.guard import NOTICE

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.tools import BaseTool

_NOT_FOR_MODELS = ("ls_structured_output_format", "structured_output_format")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What an application says of the calls it routes.

    Attributes:
        skill: The skill at work.
        task: Its own label of the task.
        data_classes: Classes of the data.
        regions: Only models that compute there.
        pin: Use this model and no other.
        output_tokens: Expected output tokens.
        max_output_tokens: Limit on output tokens.
        turns_left: How many more calls after this one a switch may count on to pay for itself.
        failures: Failures in a row, beyond those of tools.
    """

    skill: str = ""
    task: str = ""
    data_classes: frozenset[str] = frozenset()
    regions: frozenset[str] | None = None
    pin: str = ""
    output_tokens: int = 400
    max_output_tokens: int | None = None
    turns_left: float = 0.0
    failures: int = 0
    needs: frozenset[str] = field(default_factory=frozenset)


def request_for(
    route: Route,
    messages: Sequence[BaseMessage],
    *,
    node: str,
    now: float,
    tools: Sequence[Any] = (),
) -> Request:
    """The request that a call with these messages and tools is."""
    asked = [
        m for m in messages if isinstance(m, HumanMessage) and NOTICE not in m.additional_kwargs
    ]
    bounds = bounds_of(messages, tools)
    needs = route.needs | needs_of(messages) | ({"tool_calling"} if tools else set())
    return Request(
        text=asked[-1].text if asked else "",
        node=node,
        skill=route.skill,
        task=route.task,
        input_tokens=bounds.expected,
        worst_input_tokens=bounds.worst,
        output_tokens=route.output_tokens,
        max_output_tokens=route.max_output_tokens,
        needs=frozenset(needs),
        data_classes=route.data_classes,
        regions=route.regions,
        pin=route.pin,
        thread=view_of(messages, now=now, failures=route.failures),
        turns_left=route.turns_left,
    )


class RoutedChatModel(BaseChatModel):
    """A chat model that asks whichever model the router chooses, call by call.

    A drop-in for any `BaseChatModel`: tools, structured output and streaming work as the chosen
    model offers them. Inside a graph with a checkpointer and a journal a resumed run gets the
    recorded answer; outside one every call is paid, budget and ledger hold, and the answer's
    `response_metadata["plumbgraph"]["replayable"]` is false.

    Args:
        router: Decides.
        journal: Keeps decisions and answers for a resumed run.
        route: What is said of every call through this object.
        decision: A decision already made, by a `RouterNode`; else each call makes its own.
        tell: Is told the decision behind each answer.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    router: CostRouter = Field(exclude=True, repr=False)
    journal: Any = Field(default=None, exclude=True, repr=False)
    route: Route = Field(default_factory=Route)
    decision: Decision | None = None
    tell: Callable[[Decision], None] | None = Field(default=None, exclude=True, repr=False)

    def __init__(self, router: CostRouter, **settings: Any) -> None:
        super().__init__(router=router, **settings)

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools; they are bound anew to each model that is asked."""
        described = [convert_to_openai_tool(tool) for tool in tools]
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=described, **kwargs)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self.router.call(self._asked(messages, stop, run_manager, kwargs)))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = self._asked(messages, stop, run_manager, kwargs)
        return self._result(await self.router.acall(asked))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = self._asked(messages, stop, run_manager, kwargs, streamed=True)
        for chunk in stream(self._streamed(asked)):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = self._asked(messages, stop, run_manager, kwargs, streamed=True)
        async for chunk in astream(self._streamed(asked)):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _streamed(self, asked: Asked) -> RoutePlan[None]:
        """The call's plan, with a last chunk that carries the mark or the replayed answer."""
        answer: Answer = yield from routed(self.router, asked)
        if answer.replayed:
            yield Emit(_as_chunk(answer.message))
        else:
            mark = {MARK: self._mark(answer)}
            last = AIMessageChunk(content="", response_metadata=mark)
            yield Emit(ChatGenerationChunk(message=last))

    def _asked(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        run_manager: Any,
        kwargs: dict[str, Any],
        *,
        streamed: bool = False,
    ) -> Asked:
        scope = current_scope()
        ask = _Inner(stop, run_manager, kwargs)
        tools = kwargs.get("tools") or ()
        now = self.router.clock.now()
        journal = self.journal if scope.replayable else None
        return Asked(
            request=request_for(self.route, messages, node=scope.node, now=now, tools=tools),
            messages=messages,
            payer=scope.payer,
            call=ask.call,
            acall=ask.acall,
            message_of=_message_of,
            stream=ask.stream if streamed else None,
            astream=ask.astream if streamed else None,
            whole=_whole if streamed else None,
            identity=identity_of(messages, [tools, stop]) if journal is not None else None,
            journal=journal,
            decision=self.decision,
        )

    def _result(self, answer: Answer) -> ChatResult:
        told = {**answer.message.response_metadata, MARK: self._mark(answer)}
        message = answer.message.model_copy(update={"response_metadata": told})
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _mark(self, answer: Answer) -> dict[str, Any]:
        if self.tell is not None:
            self.tell(answer.decision)
        mark = mark_of(self.router, answer.decision, answer.charge)
        return {**mark, "replayed": answer.replayed, "replayable": answer.replayable}

    @override
    def __repr_args__(self) -> Iterable[tuple[str, Any]]:
        # LangChain tells callbacks the text of each model object, and these are made by the call.
        return [("models", list(self.router.names))]

    @property
    @override
    def _llm_type(self) -> str:
        return "plumbgraph-routed"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"models": list(self.router.names)}


class _Inner:
    """Asks the chosen model inside the run of the routed one, so that usage is traced once."""

    def __init__(self, stop: list[str] | None, run_manager: Any, kwargs: Mapping[str, Any]) -> None:
        self._stop = stop
        self._manager = run_manager
        self._kwargs = dict(kwargs)

    def call(self, offer: Offer) -> ChatResult:
        model, kwargs = self._bound(offer)
        return model._generate(offer.messages, self._stop, self._manager, **kwargs)  # noqa: SLF001 - the method every chat model implements

    async def acall(self, offer: Offer) -> ChatResult:
        model, kwargs = self._bound(offer)
        return await model._agenerate(offer.messages, self._stop, self._manager, **kwargs)  # noqa: SLF001 - as above

    def stream(self, offer: Offer) -> Iterator[ChatGenerationChunk]:
        model, kwargs = self._bound(offer, streamed=True)
        if type(model)._stream is BaseChatModel._stream:  # noqa: SLF001 - as above
            return iter([_as_chunk(_message_of(self.call(offer)))])
        return model._stream(offer.messages, self._stop, None, **kwargs)  # noqa: SLF001 - as above

    async def astream(self, offer: Offer) -> AsyncIterator[ChatGenerationChunk]:
        model, kwargs = self._bound(offer, streamed=True)
        own = type(model)
        if own._stream is BaseChatModel._stream and own._astream is BaseChatModel._astream:  # noqa: SLF001 - as above
            yield _as_chunk(_message_of(await self.acall(offer)))
            return
        async for chunk in model._astream(offer.messages, self._stop, None, **kwargs):  # noqa: SLF001 - as above
            yield chunk

    def _bound(
        self, offer: Offer, *, streamed: bool = False
    ) -> tuple[BaseChatModel, dict[str, Any]]:
        given = dict(self._kwargs)
        tools = given.pop("tools", None)
        bound: Any = offer.model
        kwargs: dict[str, Any] = {}
        if tools:
            bound = offer.model.bind_tools(tools, **given)
        else:
            kwargs = given
        while isinstance(bound, RunnableBinding):
            kwargs = {**bound.kwargs, **kwargs}
            bound = bound.bound
        kwargs |= offer.settings
        for name in _NOT_FOR_MODELS:
            kwargs.pop(name, None)
        if streamed and "stream_usage" in type(bound).model_fields:
            kwargs["stream_usage"] = True
        return bound, kwargs


def _message_of(result: Any) -> AIMessage:
    generation = result.generations[0]
    message: AIMessage = generation.message
    told = {**(generation.generation_info or {}), **(result.llm_output or {})}
    told |= message.response_metadata
    return message.model_copy(update={"response_metadata": told})


def _whole(chunks: list[ChatGenerationChunk]) -> ChatResult:
    if not chunks:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=""))])
    whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
    assert isinstance(whole.message, AIMessageChunk)
    message = message_chunk_to_message(whole.message)
    info = whole.generation_info
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])


def _as_chunk(message: AIMessage) -> ChatGenerationChunk:
    told = message.model_dump(exclude={"type", "tool_calls", "invalid_tool_calls"})
    calls: list[Any] = [
        {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i}
        for i, c in enumerate(message.tool_calls)
    ]
    return ChatGenerationChunk(message=AIMessageChunk(**told, tool_call_chunks=calls))

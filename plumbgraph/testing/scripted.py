"""A real chat model that plays a script: for tests, demos and offline work."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr
from typing_extensions import override

from plumbgraph.errors import ScriptExhausted, SettingsError
from plumbgraph.testing.script import Call, Reply, ScriptItem, as_reply, chunks, perform

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models.base import LangSmithParams
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

Respond: TypeAlias = Callable[[Sequence[BaseMessage]], ScriptItem]
Replay: TypeAlias = Literal["position", "turn"]
Performance: TypeAlias = Iterator[float | ChatGenerationChunk]
OnEnd: TypeAlias = Literal["raise", "repeat", "cycle"]

_IGNORED = ("api_key", "max_retries", "stop", "streaming", "timeout")


class _Stage:
    """The script, how far it was played, and what was asked; shared by copies of the model."""

    def __init__(self, script: Sequence[Reply], respond: Respond | None) -> None:
        self.script = tuple(script)
        self.respond = respond
        self.calls: list[Call] = []
        self._entered = 0
        self._lock = threading.Lock()

    def enter(self, received: Call) -> Call:
        """Record one call and give it its number."""
        with self._lock:
            numbered = replace(received, index=self._entered)
            self._entered += 1
            self.calls.append(numbered)
        return numbered

    def forget(self) -> None:
        """Drop the record of calls."""
        with self._lock:
            self.calls.clear()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {**self.__dict__, "_lock": None, "calls": list(self.calls)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class ScriptedChatModel(BaseChatModel):
    """A chat model that plays `script`, call by call, and records what it was asked.

    Streams text and tool calls in pieces with the usage on the last one, works under `invoke`,
    `ainvoke` and many threads, and supports `bind_tools` and `with_structured_output`. `calls`
    (also of the bound model) lists every call with its messages and bound tools.

    Args:
        script: The replies, in order. Each is a text, a `call(…)` or a list of them, an
            AIMessage, a pydantic value (structured output), an exception to raise, or a `Reply`.
        replay: `position` plays the next reply at each call of this object. `turn` plays the
            reply whose number is the count of AI messages the model is shown, so that a new
            process goes on where a killed one stopped, and many threads can share the model.
        on_end: After the last reply `raise` ScriptExhausted, `repeat` the last one, or `cycle`.
        model_name: Reported in traces and in `response_metadata`; `model=` is accepted too.
        provider: Reported as `ls_provider` and `model_provider`.
        settings: `temperature` and `max_tokens` are reported in traces. The standard parameters
            `api_key`, `max_retries`, `stop`, `streaming` and `timeout` are accepted, because
            every chat model's constructor accepts them, and change nothing.

    Raises:
        ScriptExhausted: A call came after the last reply.
        SettingsError: A script item cannot be played.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    model_name: str = Field(default="scripted", alias="model")
    provider: str = "scripted"
    replay: Replay = "position"
    on_end: OnEnd = "raise"
    temperature: float | None = None
    max_tokens: int | None = None
    _stage: _Stage = PrivateAttr()

    def __init__(self, script: Iterable[ScriptItem] = (), **settings: Any) -> None:
        if isinstance(script, str):
            raise SettingsError(
                f"A script is a list of replies, not the text {script!r}.",
                hint="Write ScriptedChatModel([text]).",
            )
        super().__init__(**{key: settings[key] for key in settings if key not in _IGNORED})
        self._stage = _Stage([as_reply(item) for item in script], None)

    @classmethod
    def from_messages(cls, respond: Respond, **settings: Any) -> Self:
        """A model whose reply is a function of the messages it is shown.

        Args:
            respond: Called with the messages, in the caller's thread; returns a script item.
                It may be called from several threads at once.
            settings: As for the class.
        """
        model = cls((), **settings)
        model._stage.respond = respond
        return model

    @property
    def script(self) -> tuple[Reply, ...]:
        """The replies, in order."""
        return self._stage.script

    @property
    def calls(self) -> list[Call]:
        """Every call so far, or since they were forgotten, oldest first."""
        return list(self._stage.calls)

    def forget_calls(self) -> None:
        """Forget the calls so far, in a run of hours; the script goes on where it was."""
        self._stage.forget()

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools; its `calls` are this model's calls."""
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
        return _result(list(_played_now(self._performance(messages, stop, kwargs, stream=False))))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        played = _played_async(self._performance(messages, stop, kwargs, stream=False))
        return _result([chunk async for chunk in played])

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        return _played_now(self._performance(messages, stop, kwargs, stream=True))

    @override
    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        return _played_async(self._performance(messages, stop, kwargs, stream=True))

    def _performance(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Any, *, stream: bool
    ) -> Performance:
        options = dict(kwargs)
        received = self._stage.enter(
            Call(
                index=0,
                messages=tuple(messages),
                tools=tuple(options.pop("tools", ())),
                tool_choice=options.pop("tool_choice", None),
                stop=tuple(stop or ()),
                options=options,
                streamed=stream,
            )
        )
        number = _turn(messages) if self._by_turn else received.index
        reply = self._reply(messages, number)
        if not stream:
            reply = replace(reply, chunk_latency_s=0.0)
        played = chunks(
            reply,
            messages,
            model_name=options.get("model", self.model_name),
            provider=self.provider,
            number=number,
            pieces=stream or reply.fault is not None,
        )
        return perform(reply, played)

    @property
    def _by_turn(self) -> bool:
        return self.replay == "turn" or self._stage.respond is not None

    def _reply(self, messages: Sequence[BaseMessage], number: int) -> Reply:
        if self._stage.respond is not None:
            return as_reply(self._stage.respond(messages))
        script = self._stage.script
        if number < len(script):
            return script[number]
        if script and self.on_end == "repeat":
            return script[-1]
        if script and self.on_end == "cycle":
            return script[number % len(script)]
        raise ScriptExhausted(
            f"The script of {self.model_name!r} has {len(script)} replies "
            f"and was asked for reply {number + 1}; the last message was "
            f"{messages[-1].text[:200] if messages else ''!r}.",
            replies=len(script),
            asked=number + 1,
        )

    @property
    @override
    def _llm_type(self) -> str:
        return "plumbgraph-scripted"

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "provider": self.provider}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = self.provider
        return params


def _turn(messages: Sequence[BaseMessage]) -> int:
    return sum(isinstance(message, AIMessage) for message in messages)


def _played_now(
    performance: Iterator[float | ChatGenerationChunk],
) -> Iterator[ChatGenerationChunk]:
    for event in performance:
        if not isinstance(event, float | int):
            yield event
        elif event:
            time.sleep(event)


async def _played_async(performance: Performance) -> AsyncIterator[ChatGenerationChunk]:
    for event in performance:
        if not isinstance(event, float | int):
            yield event
        elif event:
            await asyncio.sleep(event)


def _result(played: Sequence[ChatGenerationChunk]) -> ChatResult:
    """One message out of the chunks, so that `invoke` and `stream` cannot differ."""
    message: BaseMessage = AIMessage(content="")
    if played:
        whole = played[0] + list(played[1:])
        assert isinstance(whole.message, AIMessageChunk)
        message = message_chunk_to_message(whole.message)
    return ChatResult(generations=[ChatGeneration(message=message)])

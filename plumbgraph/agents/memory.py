"""Memory in a graph: recall before the model, remember after it, and tools for the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime
from pydantic import ConfigDict, Field, create_model
from typing_extensions import TypedDict, override

from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.content.digest import digest_of
from plumbgraph.errors import MemoryInvalid, SettingsError
from plumbgraph.memory import Attribute, Attributes, Fact, MemoryStore, Recollection
from plumbgraph.memory.keys import Namespace
from plumbgraph.memory.recollection import Mode
from plumbgraph.plan import Plan
from plumbgraph.tracing.context import running_config
from plumbgraph.tracing.guard import NOTICE

Place: TypeAlias = Sequence[str] | Callable[[Mapping[str, Any]], Namespace]
"""A namespace whose labels may name keys of the run's `configurable`: `("users", "{user_id}")`;
or a function of the config."""

Extract: TypeAlias = Callable[[Sequence[BaseMessage]], Iterable[Fact]]
"""Turns new messages into facts."""


class Recalled(TypedDict):
    """What was recalled for the present turn; version 1.

    Attributes:
        text: Lines for the prompt; empty when nothing fits.
        keys: The items recalled, best first.
    """

    version: int
    text: str
    keys: list[str]


class MemoryState(TypedDict, total=False):
    """The channel of `RecallNode`."""

    recalled: Recalled


def place_of(place: Place, config: Mapping[str, Any] | None) -> Namespace:
    """The namespace for a run.

    Raises:
        MemoryInvalid: A label names a key that the run's `configurable` does not have.
    """
    config = config or {}
    if callable(place):
        return place(config)
    values = config.get("configurable") or {}
    try:
        return tuple(label.format_map(values) for label in place)
    except KeyError as missing:
        raise MemoryInvalid(
            f"The namespace {tuple(place)!r} needs {missing} in the run's configurable.",
            hint='Pass {"configurable": {…}} when the graph is invoked.',
        ) from missing


def store_of(given: MemoryStore | None, runtime: Any) -> MemoryStore:
    """The store that was given, else the graph's own.

    Raises:
        SettingsError: Neither is a `MemoryStore`.
    """
    store = given or getattr(runtime, "store", None)
    if not isinstance(store, MemoryStore):
        raise SettingsError(
            f"Memory needs a MemoryStore, not {type(store).__name__}.",
            hint="Compile the graph with store=MemoryStore(…), or pass store= here.",
        )
    return store


class RecallNode(Node):
    """Puts what memory knows about the last human message into the state's `recalled`.

    Args:
        namespace: Where to look; labels in braces come from the run's `configurable`.
        store: The store; by default the one the graph was compiled with.
        mode: `precise` (names and aliases call; right for facts) or `broad` (words).
        token_budget: Most tokens of what is recalled.
        max_items: Most items besides the pinned ones.
    """

    state_schema = MemoryState

    def __init__(
        self,
        namespace: Place,
        *,
        store: MemoryStore | None = None,
        mode: Mode = "broad",
        token_budget: int = 1_000,
        max_items: int | None = 10,
        name: str = "recall",
    ) -> None:
        super().__init__(name=name)
        self.namespace, self.store = namespace, store
        self.mode, self.token_budget, self.max_items = mode, token_budget, max_items

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, MemoryState]:
        found: Recollection = yield self.ask(state["messages"], runtime, config)
        return {"recalled": recalled(found)}

    def ask(
        self, messages: Sequence[BaseMessage], runtime: Any, config: Mapping[str, Any] | None
    ) -> Ask:
        """The recall for these messages, in both colours."""
        store = store_of(self.store, runtime)
        place = place_of(self.namespace, config or running_config())
        query = _last_said(messages)
        how = {
            "mode": self.mode,
            "token_budget": self.token_budget,
            "max_items": self.max_items,
        }
        return Ask(
            lambda: store.recall(place, query, **how),  # type: ignore[arg-type]  # keys are known
            lambda: store.arecall(place, query, **how),  # type: ignore[arg-type]  # as above
        )

    def section(self, state: State, _runtime: Any = None) -> str | None:
        """A section for `ModelNode`'s system prompt; nothing when nothing was recalled."""
        return prompt_of((state.get("recalled") or {}).get("text") or "")


def recalled(found: Recollection) -> Recalled:
    """A recollection as the state keeps it."""
    return {"version": 1, "text": found.text, "keys": [hit.key for hit in found]}


def prompt_of(text: str) -> str | None:
    """The recalled lines under a heading; `None` when there are none."""
    return f"What you remember:\n{text}" if text else None


def _last_said(messages: Sequence[BaseMessage]) -> str:
    for message in reversed(messages):
        if isinstance(message, HumanMessage) and NOTICE not in message.additional_kwargs:
            return str(message.text)
    return ""


class RememberNode(Node):
    """Keeps the turn's messages as memories, and the facts an extractor finds in them.

    A message is kept once under its id, however often the node runs. It is indexed together with
    the message before it, because a reply is often only found by what it answers, and grouped by
    thread.

    Args:
        namespace: Where to keep them; labels in braces come from the run's `configurable`.
        store: The store; by default the one the graph was compiled with.
        extract: Turns the turn's messages into facts; none by default.
        said_by: Whose messages are kept.
        ttl: Minutes the messages live after their last use; `None` for no end.
    """

    def __init__(
        self,
        namespace: Place,
        *,
        store: MemoryStore | None = None,
        extract: Extract | None = None,
        said_by: Sequence[Literal["human", "ai"]] = ("human", "ai"),
        ttl: float | None = None,
        name: str = "remember",
    ) -> None:
        super().__init__(name=name)
        self.namespace, self.store, self.extract = namespace, store, extract
        self.said_by, self.ttl = frozenset(said_by), ttl

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, dict[str, Any]]:
        waiting = self.asks(state["messages"], runtime, config)
        while waiting:
            yield waiting.pop(0)
        return {}

    def asks(
        self, messages: Sequence[BaseMessage], runtime: Any, config: Mapping[str, Any] | None
    ) -> list[Ask]:
        """The writes of this turn, in both colours."""
        store = store_of(self.store, runtime)
        config = config or running_config() or {}
        place = place_of(self.namespace, config)
        turn, before = _turn(messages)
        group = str((config.get("configurable") or {}).get("thread_id") or "")
        asks = []
        for message in turn:
            if message.type in self.said_by and message.text:
                asks.append(_keeping(store, place, message, before, group, self.ttl))
            before = str(message.text)
        facts = list(self.extract(turn)) if self.extract else []
        return asks + [_settling(store, place, fact) for fact in facts]


def _turn(messages: Sequence[BaseMessage]) -> tuple[Sequence[BaseMessage], str]:
    start = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    spoken = [m for m in messages[:start] if isinstance(m, HumanMessage | AIMessage) and m.text]
    return messages[start:], str(spoken[-1].text) if spoken else ""


def _keeping(
    store: MemoryStore,
    place: Namespace,
    message: BaseMessage,
    before: str,
    group: str,
    ttl: float | None,
) -> Ask:
    value = {"said_by": message.type, "text": str(message.text)}
    key = message.id or _key_of(message, before, group)
    how: Any = {
        "context": before,
        "group": group,
        "kind": "message",
        "idempotency_key": f"{key}@{group}",
        "ttl": ttl,
    }
    return Ask(
        lambda: store.put(place, key, value, **how), lambda: store.aput(place, key, value, **how)
    )


def _key_of(message: BaseMessage, before: str, group: str) -> str:
    """A key for a message without an id, the same whenever this turn is kept again."""
    said = "\x1f".join((group, message.type, before, str(message.text)))
    return digest_of(said.encode(errors="surrogatepass"))[:32]


def _settling(store: MemoryStore, place: Namespace, fact: Fact) -> Ask:
    return Ask(lambda: store.remember(place, fact), lambda: store.aremember(place, fact))


def memory_tools(
    namespace: Place,
    *,
    store: MemoryStore | None = None,
    attributes: Iterable[Attribute] = (),
) -> list[BaseTool]:
    """The tools `remember`, `recall` and `forget`, bound to one namespace of the run.

    Args:
        namespace: Labels in braces come from the run's `configurable`.
        store: The store; by default the one the graph was compiled with.
        attributes: What can be remembered, offered to the model as the only choices; by default
            the store's declared ones, or any wording when none are declared.
    """
    declared = tuple(attributes) or (store.rules.attributes.declared if store else ())
    memory = _Memory(namespace, store)
    return [memory.remember_tool(declared), memory.recall_tool(), memory.forget_tool(declared)]


class _Memory:
    """The three tools over one namespace."""

    def __init__(self, namespace: Place, store: MemoryStore | None) -> None:
        self._namespace, self._store = namespace, store

    def _at(self, runtime: ToolRuntime[Any, Any]) -> tuple[MemoryStore, Namespace]:
        return store_of(self._store, runtime), place_of(self._namespace, runtime.config)

    def remember_tool(self, declared: Sequence[Attribute]) -> BaseTool:
        def remember(
            subject: str, attribute: str, value: str, runtime: ToolRuntime[Any, Any]
        ) -> str:
            store, place = self._at(runtime)
            return said(store.remember(place, Fact(subject, attribute, value)))

        async def aremember(
            subject: str, attribute: str, value: str, runtime: ToolRuntime[Any, Any]
        ) -> str:
            store, place = self._at(runtime)
            return said(await store.aremember(place, Fact(subject, attribute, value)))

        return StructuredTool.from_function(
            remember,
            aremember,
            name="remember",
            description="Keep a fact about someone or something. A newer value replaces the old.",
            args_schema=_schema("Remember", declared, value=(str, Field(description="The value."))),
        )

    def recall_tool(self) -> BaseTool:
        def recall(query: str, runtime: ToolRuntime[Any, Any]) -> str:
            """Look up what is remembered about something.

            Args:
                query: What it should be about.
                runtime: Injected.
            """
            store, place = self._at(runtime)
            return store.recall(place, query).text or "Nothing is remembered about that."

        async def arecall(query: str, runtime: ToolRuntime[Any, Any]) -> str:
            """Look up what is remembered about something."""
            store, place = self._at(runtime)
            return (await store.arecall(place, query)).text or "Nothing is remembered about that."

        return StructuredTool.from_function(recall, arecall, parse_docstring=True)

    def forget_tool(self, declared: Sequence[Attribute]) -> BaseTool:
        def forget(subject: str, attribute: str, runtime: ToolRuntime[Any, Any]) -> str:
            store, place = self._at(runtime)
            held = store.facts(place, subject)
            name = store.rules.attributes.match(attribute).attribute.name
            gone = [store.forget(place, Fact.of(i)) for i in held if i.value["attribute"] == name]
            return _forgotten(sum(gone))

        async def aforget(subject: str, attribute: str, runtime: ToolRuntime[Any, Any]) -> str:
            store, place = self._at(runtime)
            held = await store.afacts(place, subject)
            name = store.rules.attributes.match(attribute).attribute.name
            wanted = [Fact.of(item) for item in held if item.value["attribute"] == name]
            return _forgotten(sum([await store.aforget(place, fact) for fact in wanted]))

        return StructuredTool.from_function(
            forget,
            aforget,
            name="forget",
            description="Forget what is known about one attribute of someone or something.",
            args_schema=_schema("Forget", declared),
        )


def said(outcome: Any) -> str:
    """An outcome as a tool's answer."""
    if outcome.said == "quarantined":
        return (
            f"Not kept under {outcome.attribute!r}: {outcome.reason}. "
            "Use one of the declared attributes."
        )
    return f"{outcome.said}: {outcome.attribute} ({outcome.reason})"


def _forgotten(count: int) -> str:
    return f"Forgot {count}." if count else "Nothing was known."


def _schema(name: str, declared: Sequence[Attribute], **more: Any) -> Any:
    names = Attributes(tuple(declared)).names
    kind: Any = Literal[names] if names else str
    told = "; ".join(f"{a.name}: {a.description}" for a in declared if a.description)
    return create_model(
        name,
        __config__=ConfigDict(arbitrary_types_allowed=True),
        subject=(str, Field(description="Whom or what it is about.")),
        attribute=(kind, Field(description=f"What is known. {told}".strip())),
        **more,
        runtime=(ToolRuntime[Any, Any], Field()),
    )

"""`Memory`: an agent's long-term memory as one argument: recall, remember, and the tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.tools import BaseTool
from langgraph.store.base import BaseStore

from plumbgraph.errors import SettingsError

if TYPE_CHECKING:
    from plumbgraph.agents.memory import Extract, Place, RecallNode, RememberNode
    from plumbgraph.memory import Attribute, MemoryStore

AnyMemory: TypeAlias = "Memory | Place"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How an agent remembers; a namespace alone does for the defaults.

    Attributes:
        namespace: Where; labels in braces come from the run's `configurable`, for example
            `("users", "{user_id}")`.
        store: The store; by default the one the agent is given.
        mode: `precise` (names and aliases call; right for facts) or `broad` (words).
        token_budget: Most tokens of what is recalled for a turn.
        extract: Turns the turn's messages into facts.
        attributes: What the tool `remember` offers; by default what the store declares.
        keep_messages: Whether the turn's messages themselves are remembered.
        tools: Whether the model gets the tools `remember`, `recall` and `forget`.
    """

    namespace: Place
    store: MemoryStore | None = None
    mode: Literal["precise", "broad"] = "broad"
    token_budget: int = 1_000
    extract: Extract | None = None
    attributes: Sequence[Attribute] = ()
    keep_messages: bool = True
    tools: bool = True

    @classmethod
    def of(cls, given: AnyMemory | None) -> Memory | None:
        """The memory that an argument describes."""
        return given if given is None or isinstance(given, Memory) else cls(namespace=given)

    def on(self, store: BaseStore | None) -> Memory:
        """This memory, kept in the agent's store where it names none of its own.

        Raises:
            SettingsError: There is no store, or it is no `MemoryStore`.
        """
        if self.store is not None:
            return self
        from plumbgraph.memory import MemoryStore  # noqa: PLC0415 - only with memory

        if not isinstance(store, MemoryStore):
            raise SettingsError(
                f"Memory needs a MemoryStore, not {type(store).__name__}.",
                hint="Pass store=MemoryStore(…), for example the one of plumbgraph.open().",
            )
        return replace(self, store=store)

    @cached_property
    def recall(self) -> RecallNode:
        """The node before the first turn."""
        from plumbgraph.agents.memory import RecallNode  # noqa: PLC0415 - only with memory

        return RecallNode(
            self.namespace, store=self.store, mode=self.mode, token_budget=self.token_budget
        )

    @cached_property
    def remember(self) -> RememberNode:
        """The node after the last turn."""
        from plumbgraph.agents.memory import RememberNode  # noqa: PLC0415 - only with memory

        said_by: Any = ("human", "ai") if self.keep_messages else ()
        return RememberNode(self.namespace, store=self.store, extract=self.extract, said_by=said_by)

    @cached_property
    def own_tools(self) -> list[BaseTool]:
        """The model's tools."""
        if not self.tools:
            return []
        from plumbgraph.agents.memory import memory_tools  # noqa: PLC0415 - only with memory

        return memory_tools(self.namespace, store=self.store, attributes=self.attributes)

"""The keywords of the store and of its writes, as types a checker knows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypedDict

from langgraph.store.base import IndexConfig, TTLConfig

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import origin
from plumbgraph.memory.attributes import Attribute
from plumbgraph.memory.conflict import Policy
from plumbgraph.memory.facts import Judge
from plumbgraph.memory.keys import ShardBy
from plumbgraph.memory.recollection import Mode, TokenCounter
from plumbgraph.memory.records import Marks, Moment


class PutOptions(TypedDict, total=False):
    """What `put` takes besides LangGraph's arguments; see `Put` and `Marks`."""

    if_version: int | None
    valid_from: Moment | None
    valid_to: Moment | None
    idempotency_key: str
    source: str | None
    context: str
    group: str
    name: str
    aliases: tuple[str, ...]
    scopes: tuple[str, ...]
    kind: str
    status: str
    pinned: bool
    participants: tuple[str, ...]
    confidence: float


OF_PUT = ("if_version", "valid_from", "valid_to", "idempotency_key")


class RememberOptions(TypedDict, total=False):
    """What `remember` takes besides the fact; see `Remember`."""

    policy: Policy | Judge | None
    ttl: float | None
    idempotency_key: str


class RecallOptions(TypedDict, total=False):
    """What `recall` takes besides the query; see `Recall`."""

    token_budget: int
    max_items: int | None
    at: Moment | None
    mode: Mode
    scopes: tuple[str, ...]
    kinds: tuple[str, ...]
    pinned: bool
    count: TokenCounter


class StoreOptions(TypedDict, total=False):
    """Bounds and names of a store; see `MemoryStore`."""

    tenant: origin.Tenant
    shard_by: ShardBy
    ttl: TTLConfig | None
    history: int
    history_age_s: float
    feed: int
    max_value_bytes: int
    prefix: str
    durability: Literal["memory", "wait"]
    replicas: int
    wait_s: float
    index: IndexConfig | None
    language: str
    index_bytes: int
    search_module_above: int | None
    attributes: Iterable[Attribute]
    policy: Policy | Judge


def marked(**marks: Any) -> Marks:
    """Marks from keywords, lists taken for tuples.

    Raises:
        MemoryInvalid: An unknown keyword, or a confidence outside 0 to 1.
    """
    frozen: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list | set) else v for k, v in marks.items()
    }
    try:
        found = Marks(**frozen)
    except TypeError as error:
        raise MemoryInvalid(f"Unknown option of a memory: {error}.") from error
    if not 0 <= found.confidence <= 1:
        raise MemoryInvalid(f"confidence={found.confidence!r} is not between 0 and 1.")
    return found

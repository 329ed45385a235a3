"""The memory store: everything a caller asks of memory, on one class in both colours."""

from __future__ import annotations

from plumbgraph.memory.factstore import FactStore


class MemoryStore(FactStore):
    """Memory for agents behind LangGraph's `BaseStore`: versioned, timed, exact when many write.

    Works on Redis 7.0 or newer and Valkey 7.2 or newer, alone or as a cluster, without modules.
    One object serves `invoke`, `ainvoke`, worker threads and several event loops; it does no I/O
    until used.

    Args:
        redis: URL, client, or a function that returns a URL (for tokens that do not live long).
        tenant: Whose memory; a name, or a function of the run's config.
        shard_by: In a cluster, a tenant lies in one slot, or (`namespace_root`) each first
            label of its namespaces does.
        attributes: The declared attributes of facts; with none, every name is its own slot.
        policy: What to do when values of a fact differ: `newest` (the one that became true
            last), `last_write`, `confidence`, `source`, `contest`, `keep`, or a function.
        ttl: LangGraph's TTL configuration, in minutes. Expired items are never returned.
        history: Most earlier versions an item keeps; 0 keeps none.
        history_age_s: Longest time an earlier version, or a deleted item's history, is kept.
        feed: About how many entries the change feed of a tenant (or root) holds; 0 for none.
        max_value_bytes: Longest JSON text of a value.
        prefix: First word of every key in Redis.

    Raises:
        SettingsError: The URL or the tenant's name cannot be used.
        MemoryInvalid: A bound makes no sense.
    """

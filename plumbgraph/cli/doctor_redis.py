"""What `plumbgraph doctor --production` asks the given Redis or Valkey, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from plumbgraph.cli.checks import Check, Verdict
from plumbgraph.cli.fleet import Fleet, clock_check, is_local

if TYPE_CHECKING:
    from plumbgraph.settings import Settings

_REDIS = (7, 0)
_VALKEY = (7, 2)
_NEARLY_FULL = 0.8
_SLOTS = 16_384
_WITH_REPLICA = 4  # first slot, last slot, primary, replica


def redis(settings: Settings, fleet: Fleet | None = None) -> Iterator[Check]:
    """The findings about the Redis or Valkey of the settings; none where it is embedded."""
    from plumbgraph.clock import SYSTEM  # noqa: PLC0415 - quick start
    from plumbgraph.redis.clients import Command, Redis  # noqa: PLC0415 - quick start

    if settings.redis_url is None:
        return
    words = _probes(f"plumb:{{{settings.tenant}}}:doctor")
    asked = ("INFO",), ("CONFIG", "GET", "maxmemory-policy"), ("CONFIG", "GET", "appendonly")
    with Redis(settings.redis_url) as client:
        replies = client.send(tuple(Command(*each, near="doctor") for each in asked))
        info = parsed(replies[0])
        before = SYSTEM.now()
        (told,) = client.send((Command("TIME", near="doctor"),))
        after = SYSTEM.now()
        refusals = client.send(tuple(Command(*each) for each in words.values()))
        slots = _slots(client, info)
    yield from redis_facts(info, value_of(replies[1]), value_of(replies[2]))
    yield from rights_checks(dict(zip(words, refusals, strict=True)))
    yield from replica_checks(info, slots)
    yield clients_check(info, fleet or Fleet())
    yield from way_checks(settings.redis_url)
    if isinstance(told, list | tuple):
        there = int(told[0]) + int(told[1]) / 1e6
        yield clock_check("redis", there - (before + after) / 2)


def _probes(key: str) -> dict[str, tuple[Any, ...]]:
    """Commands that show a lack of rights and change nothing."""
    return {
        "functions": ("FUNCTION", "LIST", "LIBRARYNAME", "plumb_doctor"),
        "scripts": ("EVAL", "return 1", 1, key),
        "reading": ("GET", key),
        "writing": ("SET", key, "", "XX"),
        "sorted sets": ("ZRANGE", key, 0, 0),
        "streams": ("XLEN", key),
        "hashes": ("HGET", key, "x"),
    }


def _slots(client: Any, info: Mapping[str, str]) -> list[Any]:
    from plumbgraph.redis.clients import Command  # noqa: PLC0415 - quick start

    if info.get("cluster_enabled") not in {"1", "True"}:
        return []
    (told,) = client.send((Command("CLUSTER", "SLOTS", near="doctor"),))
    return list(told) if isinstance(told, list | tuple) else []


def parsed(info: Any) -> dict[str, str]:
    """The lines of INFO as a mapping, whether the client parsed them or not."""
    if isinstance(info, Mapping):
        return {_text(key): _text(value) for key, value in info.items()}
    lines = _text(info).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def value_of(reply: Any) -> str | None:
    """The value of a CONFIG GET; `None` where CONFIG is forbidden, as on hosted servers."""
    if isinstance(reply, Mapping):
        return next((_text(value) for value in reply.values()), None)
    if isinstance(reply, list | tuple) and len(reply) > 1:
        return _text(reply[1])
    return None


def redis_facts(info: Mapping[str, str], policy: str | None, aof: str | None) -> Iterator[Check]:
    """What the answers of a Redis or Valkey mean."""
    name = "valkey" if "valkey_version" in info else "redis"
    said = info.get(f"{name}_version", "0")
    least = _VALKEY if name == "valkey" else _REDIS
    old = tuple(int(part) for part in said.split(".")[:2]) < least
    hint = f"Use {name} {'.'.join(map(str, least))} or newer." if old else ""
    mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
    verdict: Verdict = "fault" if old else "ok"
    yield Check(verdict, name, f"version {said}, {mode}", hint, "redis.old" * old)
    if info.get("role") == "slave":
        hint = "Name the primary in PLUMBGRAPH_REDIS_URL."
        yield Check("fault", name, "is a replica", hint, "redis.replica")
    yield _eviction(policy or info.get("maxmemory_policy"))
    yield from _persistence(info, aof)
    yield from _room(info)


def _eviction(policy: str | None) -> Check:
    if policy is None:
        hint = "Make sure that it is `noeviction`."
        return Check("note", "eviction", "the server does not tell", hint, "redis.eviction_unknown")
    if policy == "noeviction":
        return Check("ok", "eviction", "noeviction")
    hint = "CONFIG SET maxmemory-policy noeviction: budgets refuse a server that evicts."
    return Check("fault", "eviction", policy, hint, "redis.evicts")


def _persistence(info: Mapping[str, str], aof: str | None) -> Iterator[Check]:
    on = aof == "yes" or info.get("aof_enabled") in {"1", "True"}
    if not on and info.get("role") != "slave":
        hint = "CONFIG SET appendonly yes; snapshots alone lose the minutes since the last one."
        yield Check("warning", "persistence", "appendonly is off", hint, "redis.not_durable")
    bad = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if info.get(name, "ok") != "ok"
    ]
    if bad:
        hint = "Look into the server's log: its disk is full, or fork() fails."
        yield Check("fault", "persistence", f"failed: {', '.join(bad)}", hint, "redis.write_failed")


def _room(info: Mapping[str, str]) -> Iterator[Check]:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not used:
        return
    mib = f"{used / 2**20:,.0f} MiB used"
    if not most:
        hint = "CONFIG SET maxmemory: at the limit writes fail; without one the kernel kills it."
        yield Check("warning", "memory", f"{mib}, no maxmemory", hint, "redis.no_limit")
    elif used > _NEARLY_FULL * most:
        hint = "Raise maxmemory, add shards, or shorten histories (`MemoryStore(history=…)`)."
        said = f"{mib} of {most / 2**20:,.0f}"
        yield Check("fault", "memory", said, hint, "redis.full")
    else:
        yield Check("ok", "memory", f"{mib} of {most / 2**20:,.0f}")


def rights_checks(replies: Mapping[str, Any]) -> Iterator[Check]:
    """What the user may not do, from the replies to `_probes`."""
    refused = {name for name, reply in replies.items() if isinstance(reply, Exception)}
    wrong_type = {name for name in refused if str(replies[name]).startswith("WRONGTYPE")}
    refused -= wrong_type
    if {"functions", "scripts"} <= refused or refused - {"functions", "scripts"}:
        hint = "ACL SETUSER … ~plumb:* ~{plumb:* +@all -@dangerous +function +info."
        yield Check(
            "fault", "rights", f"refused: {', '.join(sorted(refused))}", hint, "redis.rights"
        )
    elif refused:
        said = f"{', '.join(refused)} refused; the other way to run Lua is used"
        yield Check("note", "rights", said, "", "redis.half_rights")
    else:
        yield Check("ok", "rights", "reading, writing and Lua are allowed")


def replica_checks(info: Mapping[str, str], slots: list[Any]) -> Iterator[Check]:
    """Whether each primary has somebody to take over."""
    hint = "Add one: without it a lost node takes memory and budgets along."
    if slots:
        covered = sum(int(each[1]) - int(each[0]) + 1 for each in slots)
        if covered < _SLOTS:
            said = f"{_SLOTS - covered} slots are served by nobody"
            fix = "Repair the cluster: `valkey-cli --cluster check HOST:PORT`."
            yield Check("fault", "cluster", said, fix, "redis.cluster_down")
        alone = sum(len(each) < _WITH_REPLICA for each in slots)
        if alone:
            said = f"{alone} of {len(slots)} slot ranges have no replica"
            yield Check("warning", "replicas", said, hint, "redis.no_replica")
        else:
            yield Check("ok", "replicas", f"each of {len(slots)} slot ranges has one")
    elif info.get("role") != "slave" and int(info.get("connected_slaves", 0)) == 0:
        yield Check("note", "replicas", "no replica is seen", hint, "redis.no_replica")


def clients_check(info: Mapping[str, str], fleet: Fleet) -> Check:
    """Whether the pools of all workers together fit into what a node admits."""
    wanted, room = fleet.redis_connections, int(info.get("maxclients", 0))
    used = info.get("connected_clients", "?")
    said = f"up to {wanted} for each part in use; {room or '?'} are allowed, {used} in use"
    if room and wanted > room:
        hint = "Raise maxclients, or give the parts a client with a smaller pool_max."
        return Check("fault", "redis clients", said, hint, "redis.connections")
    return Check("ok", "redis clients", said)


def way_checks(url: str) -> Iterator[Check]:
    """Whether strangers on the way can read along, or just connect."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or is_local(parts.hostname or ""):
        return
    if parts.scheme != "rediss":
        said = "the connection is not encrypted"
        yield Check("warning", "redis TLS", said, "Write rediss://….", "redis.plain")
    else:
        yield Check("ok", "redis TLS", "encrypted")
    if not parts.password:
        hint = "Give the server a user with a password, and the URL too."
        yield Check("warning", "redis login", "no password", hint, "redis.no_password")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)

"""What every memory plan needs to know: the layout, the bounds, and how to ask and judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ormsgpack
from redis import exceptions

from plumbgraph.errors import (
    AccessDenied,
    DataCorrupt,
    MemoryInvalid,
    NotReplicated,
    PlumbError,
    StoreUnavailable,
    VersionConflict,
)
from plumbgraph.memory.keys import Layout, Namespace, Shard, joined, split_path
from plumbgraph.memory.records import Number, Provenance
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call, Library

_SWEPT_AT_ONCE = 256
_GUESSES = 1_024


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms under which plans are made: one tenant's layout and the store's bounds.

    Attributes:
        keep: Most earlier versions an item keeps.
        age_ms: Longest time an earlier version, or the trace of a deleted item, is kept.
        feed: About how many entries the change feed holds; 0 for none.
        roots: Root labels that this process knows to be registered.
        guesses: The namespaces that this process last saw under a prefix.
        sliding: The store gives its items a time to live, so that most reads must renew one.
        replicas: How many replicas must confirm a write within `wait_ms`; 0 for none.
    """

    layout: Layout
    library: Library
    keep: int
    age_ms: int
    feed: int
    max_value_bytes: int
    roots: set[tuple[str, str]] = field(default_factory=set)
    guesses: dict[Namespace, tuple[Namespace, ...]] = field(default_factory=dict)
    sliding: bool = False
    replicas: int = 0
    wait_ms: int = 1_000

    def shard(self, namespace: Namespace) -> Shard:
        """The shard of a namespace."""
        return self.layout.shard(namespace)

    def asked(self, calls: Sequence[Call | Command]) -> RedisPlan[list[Any]]:
        """The replies of one round trip, each checked."""
        replies = yield from self.library.calls(calls)
        return [told(call, reply) for call, reply in zip(calls, replies, strict=True)]

    def write(
        self,
        part: str,
        namespace: Namespace,
        key: str,
        *,
        if_version: int | None = None,
        idempotency_key: str = "",
        provenance: Provenance | None = None,
        body: tuple[Any, ...] = (),
        extra: tuple[Any, ...] = (),
    ) -> Call:
        """A writing call; `body` is ttl, valid from, valid to, marks and value."""
        ttl_ms, from_us, to_us, marks, value = body or (0, "", "", "", "")
        text = joined(namespace)
        head = (text, key, self.keep, self.age_ms, self.feed)
        condition = (_condition(if_version), idempotency_key)
        source = provenance.packed() if provenance else ""
        tail = (ttl_ms, from_us, to_us, source, marks, value)
        shard = self.shard(namespace)
        keys = shard.remove(text, key) if part == "delete" else shard.write(text, key)
        return Call(part, keys, (*head, *condition, *tail, *extra))

    def written(
        self, call: Call, namespace: Namespace, key: str, *, repeatable: bool
    ) -> RedisPlan[tuple[str, int, int]]:
        """Send one write and return outcome, version and moment.

        With an idempotency key the call is repeated when the reply was lost; without one it
        never is, since it may have been applied.

        Raises:
            VersionConflict: The condition on the version was not met.
            NotReplicated: It was written, but too few replicas confirmed it.
        """
        yield from self.registered(namespace)
        calls = self._confirmed(call)
        try:
            reply, *confirmed = yield from self.asked(calls)
        except StoreUnavailable:
            if not repeatable:
                raise
            reply, *confirmed = yield from self.asked(calls)
        outcome, number, at_us, due, life = reply
        version = Number(number, life)
        if due:
            yield from self.sweep(self.shard(namespace))
        if outcome == "conflict":
            raise conflict(namespace, key, expected=call.args[5], found=number)
        if confirmed and confirmed[0] < self.replicas and outcome != "absent":
            raise NotReplicated(
                f"Version {version} of {key!r} in {namespace!r} was written, but "
                f"{confirmed[0]} of {self.replicas} replicas confirmed it.",
                namespace=namespace,
                key=key,
                version=version,
            )
        return outcome, version, at_us

    def _confirmed(self, call: Call) -> tuple[Call | Command, ...]:
        if not self.replicas:
            return (call,)
        return call, Command("WAIT", self.replicas, self.wait_ms, near=call.keys[0])

    def registered(self, namespace: Namespace) -> RedisPlan[None]:
        """Make a root label findable before its first item is written."""
        key, entry = self.layout.roots, (self.layout.tenant, namespace[0])
        if key is None or entry in self.roots:
            return
        yield from self.asked((Command("SADD", key, namespace[0]),))
        self.roots.add(entry)

    def shards(self, prefix: Namespace) -> RedisPlan[list[Shard]]:
        """The shards that may hold namespaces under a prefix."""
        key = self.layout.roots
        if prefix or key is None:
            return [self.shard(prefix or ("",))]
        (roots,) = yield from self.asked((Command("SMEMBERS", key),))
        return [self.layout.shard_of_root(root.decode()) for root in sorted(roots)]

    def guess(self, prefix: Namespace, spaces: tuple[Namespace, ...]) -> None:
        """Keep what was seen under a prefix, to ask for it at once next time."""
        if len(self.guesses) >= _GUESSES:
            self.guesses.clear()
        self.guesses[prefix] = spaces

    def sweep(self, shard: Shard) -> RedisPlan[int]:
        """Drop what expired items left in the indexes; at most 256 at once, the count dropped."""
        call = Call("due", (shard.due,), (_SWEPT_AT_ONCE,), reads=True)
        (paths,) = yield from self.asked((call,))
        if not paths:
            return 0
        dropped = yield from self.asked([_sweeping(shard, path) for path in paths])
        return sum(dropped)

    def sweep_all(self, shard: Shard) -> RedisPlan[int]:
        """Drop everything that is due."""
        total = 0
        while True:
            dropped = yield from self.sweep(shard)
            total += dropped
            if dropped < _SWEPT_AT_ONCE:
                return total


def _sweeping(shard: Shard, path: str) -> Call:
    namespace, key = split_path(path)
    text = joined(namespace)
    return Call("sweep", shard.remove(text, key), (path, text, key))


def _condition(version: Any) -> str:
    if version is None:
        return ""
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise MemoryInvalid(f"if_version={version!r} is no version: give a number from 0 on.")
    return f"{version:d}@{version.life}" if isinstance(version, Number) else f"{version:d}"


def conflict(namespace: Namespace, key: str, *, expected: str, found: int) -> VersionConflict:
    """The error of a lost race; `expected` is a condition as it was sent."""
    number = int(expected.partition("@")[0])
    again = " of an item that was written anew since" if number == found else ""
    return VersionConflict(
        f"The item {key!r} in {namespace!r} has version {found}{again}, not {number}.",
        namespace=namespace,
        key=key,
        expected=number,
        found=found,
    )


def told(call: Call | Command, reply: Any) -> Any:
    """The reply, those of the library unpacked; or the typed error a refusal stands for.

    Raises:
        AccessDenied: The user may not run the command.
        DataCorrupt: A key of ours holds something else.
        StoreUnavailable: The server is busy, stopped the script, or failed otherwise.
    """
    if not isinstance(reply, Exception):
        packed = isinstance(call, Call) and isinstance(reply, bytes)
        return _unpacked(call, reply) if packed else reply
    if isinstance(reply, exceptions.NoPermissionError):
        raise AccessDenied(
            f"Redis refused a memory command: {reply}.",
            hint="Allow the user the commands named in docs/memory.md.",
        ) from reply
    if str(reply).startswith("WRONGTYPE"):
        raise DataCorrupt(
            f"A memory key holds something else: {reply}.",
            hint="Use another tenant or prefix, or remove the foreign key.",
        ) from reply
    raise StoreUnavailable(f"Redis did not do a memory command: {reply}.") from reply


def _unpacked(call: Call | Command, reply: bytes) -> Any:
    try:
        return ormsgpack.unpackb(reply)
    except ValueError as error:
        raise DataCorrupt(
            f"A memory key holds something else: {call!r:.200} was answered {reply!r:.80}.",
            hint="Use another tenant or prefix, or remove the foreign key.",
        ) from error


def milliseconds(ttl: Any) -> int:
    """Minutes to live as milliseconds, 0 for no end.

    Raises:
        MemoryInvalid: No positive number of minutes.
    """
    if ttl is None:
        return 0
    valid = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    if not valid or not 0 < ttl < _LONGEST_TTL:
        raise MemoryInvalid(f"The ttl {ttl!r} is not a positive number of minutes.")
    return int(max(1, round(ttl * 60_000)))


_LONGEST_TTL = 60 * 24 * 365 * 1000


def together(plans: Sequence[RedisPlan[Any]]) -> RedisPlan[list[Any]]:
    """Run plans in lockstep: each round sends the batches of all in one.

    Every plan runs to its end. A plan that fails leaves its `PlumbError` as its result; a lost
    connection reaches each plan that was waiting.
    """
    results: list[Any] = [None] * len(plans)
    waiting = {
        i: batch for i, plan in enumerate(plans) if (batch := _step(plan, results, i)) is not None
    }
    while waiting:
        merged = tuple(command for batch in waiting.values() for command in batch)
        try:
            replies = yield merged
        except PlumbError as error:
            waiting = {
                i: batch
                for i in waiting
                if (batch := _step(plans[i], results, i, error=error)) is not None
            }
            continue
        following, at = {}, 0
        for i, batch in waiting.items():
            part, at = replies[at : at + len(batch)], at + len(batch)
            if (batch_next := _step(plans[i], results, i, replies=part)) is not None:
                following[i] = batch_next
        waiting = following
    return results


def _step(
    plan: RedisPlan[Any],
    results: list[Any],
    i: int,
    *,
    replies: list[Any] | None = None,
    error: PlumbError | None = None,
) -> tuple[Command, ...] | None:
    try:
        if error is not None:
            return plan.throw(error)
        return next(plan) if replies is None else plan.send(replies)
    except StopIteration as done:
        results[i] = done.value
    except PlumbError as failure:
        results[i] = failure
    return None

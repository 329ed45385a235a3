"""Saved states: an item with its whole past, as one line of JSON, and how it is put back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ormsgpack import packb as _packed
from ormsgpack import unpackb

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.keys import Namespace, check_key, check_namespace, joined
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms
from plumbgraph.redis.clients import RedisPlan
from plumbgraph.redis.library import Call

FORMAT = "plumbgraph.memory/1"


@dataclass(frozen=True, slots=True)
class Saved:
    """An item and its past, raw, newest first; `now` is empty for a deleted one."""

    namespace: Namespace
    key: str
    now: bytes
    past: tuple[bytes, ...]

    def line(self) -> str:
        """The state as one line of JSON, without loss."""
        rows = [unpackb(raw) for raw in self.past]
        return json.dumps(
            {
                "format": FORMAT,
                "namespace": list(self.namespace),
                "key": self.key,
                "now": unpackb(self.now) if self.now else None,
                "past": rows,
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def of_line(cls, line: str) -> Saved:
        """The state written by `line`.

        Raises:
            MemoryInvalid: The line is no saved memory of a known format.
        """
        try:
            found = json.loads(line)
            if found["format"] != FORMAT:
                raise MemoryInvalid(f"The format {found['format']!r} is not {FORMAT!r}.")
            namespace, key = tuple(found["namespace"]), found["key"]
            now = _packed(found["now"]) if found["now"] else b""
            past = tuple(_packed(row) for row in found["past"])
            for raw in (now, *past):
                if raw:
                    Record.unpacked(raw)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, MemoryInvalid):
                raise
            raise MemoryInvalid(f"A line is no saved memory: {line[:60]!r}….") from error
        check_namespace(namespace)
        return cls(namespace, check_key(key), now, past)

    @property
    def moment(self) -> int:
        """When it was last changed, in microseconds."""
        newest = self.now or (self.past[0] if self.past else b"")
        return Record.unpacked(newest).updated_us if newest else 0


def states(terms: Terms, namespace: Namespace, keys: Sequence[str]) -> RedisPlan[list[Saved]]:
    """The present states of these keys: one round trip."""
    if not keys:
        return []
    shard, text = terms.shard(namespace), joined(namespace)
    names = tuple(n for key in keys for n in (shard.item(text, key), shard.past(text, key)))
    (found,) = yield from terms.asked((Call("states", names, reads=True),))
    return [
        Saved(namespace, key, _packed(now) if now else b"", tuple(map(_packed, past)))
        for key, (now, past) in zip(keys, found, strict=True)
    ]


def restoring(terms: Terms, saved: Saved, *, if_version: int | None) -> Call:
    """The call that puts a state back."""
    shard, text = terms.shard(saved.namespace), joined(saved.namespace)
    expected: Any = "" if if_version is None else if_version
    head = (text, saved.key, expected, terms.feed, saved.now, terms.age_ms)
    return Call("restore", shard.write(text, saved.key), (*head, *saved.past))


def restored(terms: Terms, states: Iterable[Saved]) -> RedisPlan[int]:
    """Put states back as they were, oldest change first; how many."""
    ordered = sorted(states, key=lambda saved: saved.moment)
    for start in range(0, len(ordered), _CHUNK):
        part = ordered[start : start + _CHUNK]
        for root in {saved.namespace[0]: saved.namespace for saved in part}.values():
            yield from terms.registered(root)
        yield from terms.asked([restoring(terms, saved, if_version=None) for saved in part])
    return len(ordered)


_CHUNK = 200

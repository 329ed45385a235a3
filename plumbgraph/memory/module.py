"""Recall by the server's own search module, for namespaces too big to be held in a process.

The module reads documents that are kept beside the items: whoever recalls first files what changed
since anybody did, in the order of the namespace's changes, and only then is the search sent. So
an acknowledged write is seen here too, and writers pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from plumbgraph.errors import StoreUnavailable
from plumbgraph.memory import documents
from plumbgraph.memory.calls import Candidate, Recall, Sight
from plumbgraph.memory.documents import Answer, Search
from plumbgraph.memory.events import ModuleUsed
from plumbgraph.memory.following import PAGE, page_of
from plumbgraph.memory.keys import Namespace, Shard, joined
from plumbgraph.memory.records import Record
from plumbgraph.memory.terms import Terms
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call
from plumbgraph.tracing import emit

_FILED_AT_ONCE = 250
_ATTEMPTS = 100
_DEEPER = 4
_NO_INDEX = ("no such index", "unknown index", "index not found")


class NoAnswer(Exception):
    """The module does not serve this namespace (any more)."""


@dataclass(frozen=True, slots=True)
class Module:
    """When the server's search module answers.

    Attributes:
        above: Most items of a namespace that a process holds itself; `None` for any number.
        there: Whether the server has such a module and is no cluster.
        language: Snowball language of the texts.
        serving: Namespaces it was seen to answer for.
        refused: Namespaces it cannot answer for, and why.
    """

    above: int | None
    there: Callable[[], bool]
    language: str
    serving: set[tuple[str, Namespace]] = field(default_factory=set)
    refused: dict[tuple[str, Namespace], str] = field(default_factory=dict)

    def outgrown(self, tenant: str, namespace: Namespace) -> Callable[[int], bool]:
        """Whether a namespace of so many items is the module's to answer for."""

        def judge(held: int) -> bool:
            beyond = self.above is not None and held > self.above
            return beyond and (tenant, namespace) not in self.refused and self.there()

        return judge


@dataclass(frozen=True, slots=True)
class Place:
    """Where the module's view of one namespace lies."""

    shard: Shard
    text: str

    @classmethod
    def of(cls, terms: Terms, namespace: Namespace) -> Place:
        """The place of a namespace."""
        return cls(terms.shard(namespace), joined(namespace))

    @property
    def index(self) -> str:
        """Name of the module's index, and of the key that says how far it was told."""
        return self.shard.module(self.text)


def sighted(terms: Terms, module: Module, op: Recall, *, depth: int = 0) -> RedisPlan[Sight]:
    """Candidates and pinned items, found by the module: one round trip when nothing changed.

    Args:
        terms: As ever.
        module: The module's terms.
        op: What is asked.
        depth: Least number of candidates by words.

    Raises:
        NoAnswer: The namespace became small, or the module refuses it.
    """
    place = Place.of(terms, op.namespace)
    most = max(op.wanted * _DEEPER, depth)
    asked = (
        documents.by_names(place.index, op)
        if op.mode == "precise"
        else documents.by_words(place.index, op, most)
    )
    told, pending = yield from sought(
        terms, module, op.namespace, [documents.by_pin(place.index, op), *asked]
    )
    pins, *rest = told
    pinned = sorted(pins, key=lambda each: -int(each.fields["u"]))
    found = [each for part in rest for each in part]
    if op.mode == "precise":
        candidates = yield from _named(terms, module, op, found)
    else:
        candidates = documents.ranked(found)[: max(op.wanted, depth)]
    return Sight(candidates, [each.key for each in pinned], pending, _alike)


def _alike(_: str) -> float:
    """Every word tells as much: the module does not say how many texts hold one."""
    return 1.0


def _named(
    terms: Terms, module: Module, op: Recall, found: list[Answer]
) -> RedisPlan[list[Candidate]]:
    candidates = documents.called(found, op.query)
    keys = [candidate.key for candidate in candidates]
    names = documents.participants(found, keys)
    if not names:
        return candidates
    place = Place.of(terms, op.namespace)
    search = documents.by_own_name(place.index, op, names)
    (told,), _ = yield from sought(terms, module, op.namespace, [search])
    related = dict.fromkeys([*names, *(each.key for each in told)])
    return [*candidates, *(Candidate(k, 0.0, "related") for k in related if k not in keys)]


def scored(terms: Terms, module: Module, op: Recall, *, most: int) -> RedisPlan[dict[str, float]]:
    """The score of the items that hold words of a query, the best of them.

    Raises:
        NoAnswer: The namespace became small, or the module refuses it.
    """
    place = Place.of(terms, op.namespace)
    asked = documents.by_words(place.index, op, most)
    told, _ = yield from sought(terms, module, op.namespace, asked)
    return {c.key: c.score for part in told for c in documents.ranked(part)}


def sought(
    terms: Terms, module: Module, namespace: Namespace, searches: Sequence[Search]
) -> RedisPlan[tuple[list[list[Answer]], int]]:
    """The answers to searches, after every change was filed; and how many changes there were."""
    place, taken = Place.of(terms, namespace), 0
    shard, text = place.shard, place.text
    keys = (shard.live(text), shard.gone(text), place.index, shard.due)
    for _ in range(_ATTEMPTS):
        call = Call("seek", keys, (PAGE, *searches), reads=True)
        ((held, cursor, language, due, live, gone, told),) = yield from terms.asked((call,))
        if language and language != module.language:
            raise _refusing(terms, module, namespace, f"it holds stems of {language!r}")
        if module.above is None or held <= module.above // 2:
            yield from dropped(terms, namespace)
            raise NoAnswer
        if due:
            yield from terms.sweep_all(shard)
        elif live or gone:
            if not cursor:
                yield from _created(terms, module, namespace)
            taken += yield from _filed(terms, module, namespace, live, gone)
        elif any(isinstance(answer, str) for answer in told):
            yield from _missing(terms, module, namespace, told)
        else:
            _serving(terms, module, namespace, held)
            return [documents.answers(answer) for answer in told], taken
    raise StoreUnavailable(
        f"The search index of {namespace!r} does not catch up with its changes.",
        hint="Write less at once, or give the store search_module_above=None.",
    )


def _serving(terms: Terms, module: Module, namespace: Namespace, held: int) -> None:
    name = (terms.layout.tenant, namespace)
    if name not in module.serving:
        module.serving.add(name)
        emit(ModuleUsed(namespace="/".join(namespace), items=held, reason="above the size"))


def _refusing(terms: Terms, module: Module, namespace: Namespace, why: str) -> NoAnswer:
    module.refused[terms.layout.tenant, namespace] = why
    emit(ModuleUsed(namespace="/".join(namespace), items=0, reason=f"not used: {why}"))
    return NoAnswer(why)


def _created(terms: Terms, module: Module, namespace: Namespace) -> RedisPlan[None]:
    place = Place.of(terms, namespace)
    words = documents.created(place.index, f"{place.index}:")
    (reply,) = yield from terms.library.calls((Command(*words),))
    # of two that begin at once, one finds it made by the other
    if isinstance(reply, Exception) and "already exists" not in str(reply).lower():
        raise _refusing(terms, module, namespace, str(reply))


def _missing(
    terms: Terms, module: Module, namespace: Namespace, told: Sequence[Any]
) -> RedisPlan[None]:
    """Begin anew where somebody dropped the index; give up where the module refuses to search."""
    said = next(answer for answer in told if isinstance(answer, str))
    if not any(words in said.lower() for words in _NO_INDEX):
        raise _refusing(terms, module, namespace, said)
    yield from dropped(terms, namespace)


def _filed(
    terms: Terms, module: Module, namespace: Namespace, live: list[str], gone: list[str]
) -> RedisPlan[int]:
    """Tell the module of one page of changes."""
    place = Place.of(terms, namespace)
    changed, removed, cursor = page_of(live, gone)
    keys = [*changed, *removed]
    for start in range(0, len(keys), _FILED_AT_ONCE):
        part = keys[start : start + _FILED_AT_ONCE]
        last = start + _FILED_AT_ONCE >= len(keys)
        items = [place.shard.item(place.text, key) for key in part]
        (rows,) = yield from terms.asked((Call("peek", tuple(items), reads=True),))
        names: list[str] = [place.index]
        words: list[Any] = [cursor if last else 0, module.language]
        for key, item, row in zip(part, items, rows, strict=True):
            record = Record.of(row) if row else None
            names += [item, place.shard.document(place.text, key)]
            words += _told(key, record, module.language)
        yield from terms.asked((Call("file", tuple(names), tuple(words)),))
    return len(keys)


def _told(key: str, record: Record | None, language: str) -> tuple[Any, Any]:
    if record is None:
        return "", ""
    return record.updated_us, documents.document(key, record, language)


def dropped(terms: Terms, namespace: Namespace) -> RedisPlan[None]:
    """Take the module's view of a namespace away, documents and all."""
    place = Place.of(terms, namespace)
    shard, text = place.shard, place.text
    drop = Command("FT.DROPINDEX", place.index, "DD")
    dropped, *_ = yield from terms.library.calls((drop, Command("DEL", place.index)))
    if not isinstance(dropped, Exception):
        return
    # somebody took the index away and left its documents
    (names,) = yield from terms.asked((Command("ZRANGE", shard.live(text), 0, -1),))
    for start in range(0, len(names), PAGE):
        part = (shard.document(text, name.decode()) for name in names[start : start + PAGE])
        yield from terms.asked((Command("UNLINK", *part),))


def forgotten(terms: Terms, namespaces: Sequence[Namespace]) -> RedisPlan[None]:
    """Take every view of these namespaces away: the module keeps words that items had before."""
    places = [Place.of(terms, namespace) for namespace in namespaces]
    there = yield from terms.asked([Command("EXISTS", place.index) for place in places])
    for namespace, exists in zip(namespaces, there, strict=True):
        if exists:
            yield from dropped(terms, namespace)

"""Items as documents of a search module, its queries, and how its answers read: pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ormsgpack

from plumbgraph.memory.bm25 import GROUP
from plumbgraph.memory.calls import Candidate, Recall
from plumbgraph.memory.handles import FUZZY_FROM, HandleIndex, forms
from plumbgraph.memory.index import names_of, searched_text
from plumbgraph.memory.records import Record
from plumbgraph.memory.words import raw_words
from plumbgraph.memory.words import terms as words_of

Search: TypeAlias = bytes
"""A packed search command."""

MOST = 1_000
_LONGEST_NAME = 8
_MOST_WORDS = 256
_GUARDED = 2
# a weight below 1 counts as 1, so the half weight of a context is the other's double
_SCHEMA = (
    *("w", "TEXT", "WEIGHT", "2", "NOSTEM"),
    *("c", "TEXT", "NOSTEM"),
    *(word for name in "skhfnp" for word in (name, "TAG")),
)


def created(index: str, prefix: str) -> tuple[Any, ...]:
    """The command that makes an index; it begins empty."""
    head = ("FT.CREATE", index, "ON", "HASH", "PREFIX", 1, prefix, "SKIPINITIALSCAN")
    return (*head, "NOOFFSETS", "NOHL", "STOPWORDS", 0, "SCHEMA", *_SCHEMA)


def document(key: str, record: Record, language: str) -> bytes:
    """An item as the module reads it; empty when it must not surface.

    Stems are made here, so that a text is found by the same words wherever it is searched; what
    is matched whole is told as a digest.
    """
    marks = record.marks
    if marks.status != "active":
        return b""
    searched = marks.index is not False
    names = list(names_of(record, marks)) if searched else []
    handles = {handle for name in names for handle in forms(name)}
    fields = {
        "u": str(record.updated_us),
        "key": key,
        "w": _words(words_of(searched_text(record, marks), language)) if searched else "",
        "c": _words(words_of(marks.context, language)) if searched and marks.context else "",
        "g": marks.group,
        "s": _tags(marks.scopes),
        "k": _tags([marks.kind]),
        "h": _tags(" ".join(handle) for handle in handles),
        "f": _tags(near for handle in handles for near in _near(handle[0])),
        "n": _tags([marks.name] if marks.name else []),
        "p": "1" if marks.pinned else "",
        "names": json.dumps(names, ensure_ascii=False) if names else "",
        "with": json.dumps(marks.participants) if marks.kind == "relation" else "",
    }
    return ormsgpack.packb([word for pair in fields.items() if pair[1] for word in pair])


def _words(stems: Iterable[str]) -> str:
    return " ".join(map(_word, stems))


def _word(stem: str) -> str:
    """A stem in letters and digits alone, for which no syntax has another use."""
    return stem if stem.isascii() and stem.isalnum() else f"zz{stem.encode().hex()}"


def _tags(values: Iterable[str]) -> str:
    return ",".join(sorted({_tag(value) for value in values}))


def _tag(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _near(word: str) -> set[str]:
    """The forms a word shares with every word one edit away that begins alike."""
    if len(word) < FUZZY_FROM:
        return {word}
    return {word, *(word[:i] + word[i + 1 :] for i in range(_GUARDED, len(word)))}


def _any_of(field: str, values: Iterable[str]) -> str:
    return f"@{field}:{{{'|'.join(sorted({_tag(value) for value in values}))}}}"


def _filtered(query: str, op: Recall) -> str:
    parts = [query]
    parts += [_any_of("s", op.scopes)] if op.scopes else []
    parts += [_any_of("k", op.kinds)] if op.kinds else []
    return " ".join(parts)


def by_words(index: str, op: Recall, most: int) -> list[Search]:
    """The search for the words of a query; none for a query without any."""
    counts = Counter(words_of(op.query, op.language))
    if not counts:
        return []
    told = (
        _word(stem) if count == 1 else f"({_word(stem)})=>{{$weight:{count};}}"
        for stem, count in counts.items()
    )
    how = ("WITHSCORES", "SCORER", "BM25STD")
    return [_search(index, _filtered(f"({'|'.join(told)})", op), ("key", "g"), most, how)]


def by_names(index: str, op: Recall) -> list[Search]:
    """The searches for names in a query: those that stand there, and those one edit away."""
    words = raw_words(op.query.replace("_", " "))[:_MOST_WORDS]
    if not words:
        return []
    phrases = [
        " ".join(words[start : start + length])
        for start in range(len(words))
        for length in range(1, _LONGEST_NAME + 1)
        if start + length <= len(words)
    ]
    queries = (_any_of("h", phrases), _any_of("f", (f for word in words for f in _near(word))))
    return [_search(index, _filtered(q, op), ("key", "names", "with"), MOST) for q in queries]


def by_pin(index: str, op: Recall) -> Search:
    """The search for pinned items."""
    query = "@p:{1}" + (f" {_any_of('s', op.scopes)}" if op.scopes else "")
    return _search(index, query, ("key", "u"), MOST)


def by_own_name(index: str, op: Recall, names: Iterable[str]) -> Search:
    """The search for items that are called so."""
    return _search(index, _filtered(_any_of("n", names), op), ("key",), MOST)


def _search(
    index: str, query: str, told: Sequence[str], most: int, how: Sequence[str] = ()
) -> Search:
    tail = ("RETURN", str(len(told)), *told, "LIMIT", "0", str(most), "TIMEOUT", "0")
    return ormsgpack.packb(("FT.SEARCH", index, query, "VERBATIM", *how, *tail, "DIALECT", "2"))


@dataclass(frozen=True, slots=True)
class Answer:
    """One document found: its fields asked for, and its score where there is one."""

    fields: dict[str, str]
    score: float = 0.0

    @property
    def key(self) -> str:
        """The item's key."""
        return self.fields["key"]


def answers(reply: list[Any]) -> list[Answer]:
    """The documents of a reply: a count, then for each its name, maybe its score, its fields."""
    found: list[Answer] = []
    score = 0.0
    for part in reply[1:]:
        if isinstance(part, list):
            pairs = zip(part[::2], part[1::2], strict=True)
            found.append(Answer({str(name): str(value) for name, value in pairs}, score))
        elif _is_number(part):
            score = float(part)
    return found


def _is_number(part: Any) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def ranked(found: Sequence[Answer]) -> list[Candidate]:
    """Candidates by words, each lifted by the best of its group."""
    best: dict[str, float] = {}
    for each in found:
        group = each.fields.get("g", "")
        if group:
            best[group] = max(best.get(group, 0.0), each.score)
    told = [
        Candidate(e.key, e.score + GROUP * best.get(e.fields.get("g", ""), 0.0), "words")
        for e in found
    ]
    return sorted(told, key=lambda candidate: -candidate.score)


def called(found: Iterable[Answer], query: str) -> list[Candidate]:
    """Candidates whose names stand in the query, by the rules of the index in a process."""
    handles = HandleIndex()
    for each in found:
        handles.put(each.key, json.loads(each.fields.get("names", "[]")))
    return [Candidate(k, float(len(w)), f"named: {w}") for k, w in handles.called(query).items()]


def participants(found: Iterable[Answer], keys: Iterable[str]) -> list[str]:
    """The names that the relations among these keys connect."""
    wanted = set(keys)
    told = [json.loads(e.fields["with"]) for e in found if e.key in wanted and "with" in e.fields]
    return sorted({name for names in told for name in names})

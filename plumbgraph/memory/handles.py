"""Handles: names and aliases that call a memory up when all their words stand in the query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from plumbgraph.memory.words import name_words, one_edit_apart, raw_words

Handle: TypeAlias = tuple[str, ...]

FUZZY_FROM = 4


class HandleIndex:
    """Which keys a query calls up by name."""

    def __init__(self) -> None:
        self._owners: dict[Handle, set[str]] = {}
        self._by_first: dict[str, set[Handle]] = {}
        self._near: dict[str, set[str]] = {}
        self._of: dict[str, tuple[Handle, ...]] = {}

    def put(self, key: str, names: Iterable[str]) -> None:
        """Let these names, and no others, call up the key."""
        self.drop(key)
        handles = tuple({handle for name in names for handle in forms(name)})
        if not handles:
            return
        self._of[key] = handles
        for handle in handles:
            self._owners.setdefault(handle, set()).add(key)
            self._by_first.setdefault(handle[0], set()).add(handle)
            self._near.setdefault(handle[0][:2], set()).add(handle[0])

    def drop(self, key: str) -> None:
        """Let nothing call up the key."""
        for handle in self._of.pop(key, ()):
            owners = self._owners[handle]
            owners.discard(key)
            if owners:
                continue
            del self._owners[handle]
            first = handle[0]
            self._by_first[first].discard(handle)
            if not self._by_first[first]:
                del self._by_first[first]
                self._near[first[:2]].discard(first)

    def called(self, query: str) -> dict[str, str]:
        """The keys the query calls up, each with the words that did it.

        Words of four letters and more may have one typing error after their first two letters.
        """
        words = raw_words(query.replace("_", " "))
        found: dict[str, str] = {}
        for start, word in enumerate(words):
            for handle in self._starting(word):
                if _stands(handle, words[start : start + len(handle)]):
                    for key in self._owners[handle]:
                        found.setdefault(key, " ".join(words[start : start + len(handle)]))
        return found

    def _starting(self, word: str) -> Iterable[Handle]:
        for first in self._near.get(word[:2], ()):
            if same_word(first, word):
                yield from self._by_first[first]


def forms(name: str) -> set[Handle]:
    """The words by which a name may be called."""
    return {tuple(words) for words in (name_words(name), _unsplit(name)) if words}


def _unsplit(name: str) -> list[str]:
    """The words of a name whose capitals do not part it: `ReactJS` is one word to most."""
    return raw_words(name.replace("_", " "))


def _stands(handle: Handle, words: Sequence[str]) -> bool:
    return len(words) == len(handle) and all(map(same_word, handle, words))


def same_word(known: str, said: str) -> bool:
    """Whether a word of a query is the known word, or one typing error away from it."""
    if known == said:
        return True
    guarded = min(len(known), len(said)) >= FUZZY_FROM and known[:2] == said[:2]
    return guarded and one_edit_apart(known, said)

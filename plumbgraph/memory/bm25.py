"""BM25 over short texts, held in the process: exact statistics through every change.

Robertson and Zaragoza, The Probabilistic Relevance Framework (2009), with the usual setting for
short passages. A text's context counts at a part of its weight, because a reply is often only
to be found by the words of what it answers.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.float32]
Weighted: TypeAlias = tuple[NDArray[np.uint32], Scores, np.float32, float]

K1 = 0.9
B = 0.4
CONTEXT = 0.5
GROUP = 0.25
_SPARE = 64
_KEPT_POSTINGS = 1_000_000
# sums of floats in another order differ a little: what is about as good must not be passed over
_ROUNDING = 0.9999
_SLOT_BITS = 32
_AT_ONCE = 10_000


class Numbers(dict[str, int]):
    """A number for each term, given when it is first asked for."""

    def __missing__(self, term: str) -> int:
        number = self[term] = len(self)
        return number


class TextIndex:
    """Postings of texts under integer slots; a removed slot leaves no trace in the scores.

    New texts are kept in a row until scores are asked for, then counted and sorted into their
    lists at once: reading a whole namespace is many times cheaper so.
    """

    def __init__(self) -> None:
        self._terms = Numbers()
        self._slots_of: list[array[int]] = []
        self._weights_of: list[array[float]] = []
        self._holders: list[int] = []
        self._new: list[tuple[Sequence[str], Sequence[str]]] = []
        self._forward: list[array[int]] = []
        self._lengths: array[float] = array("f")
        self._alive = bytearray()
        self._norms: Scores | None = None
        self._known_gains: dict[int, tuple[NDArray[np.uint32], Scores, float]] = {}
        self._kept = 0
        self._total = 0.0
        self.live = 0

    def __len__(self) -> int:
        return len(self._alive)

    def add(self, terms: Sequence[str], context: Sequence[str] = ()) -> int:
        """The slot of a new text.

        Args:
            terms: Its stems.
            context: Stems of the text around it, at half weight.
        """
        length = len(terms) + CONTEXT * len(context)
        self._new.append((terms, context))
        self._lengths.append(length)
        self._alive.append(1)
        self._total += length
        self.live += 1
        self._changed()
        if len(self._new) >= _AT_ONCE:
            self._settle()
        return len(self) - 1

    def _changed(self) -> None:
        if self._norms is not None:
            self._norms = None
            self._known_gains.clear()
            self._kept = 0

    def _settle(self) -> None:
        """Sort the terms of new texts into their lists, those of a text once each."""
        if not self._new:
            return
        first, count = len(self._forward), len(self._new)
        terms, slots, weights = self._counted(first)
        while len(self._holders) < len(self._terms):
            self._slots_of.append(array("I"))
            self._weights_of.append(array("f"))
            self._holders.append(0)
        for number, start, end in _runs(terms):
            self._slots_of[number].frombytes(slots[start:end].tobytes())
            self._weights_of[number].frombytes(weights[start:end].tobytes())
            self._holders[number] += end - start
        order = np.argsort(slots, kind="stable")
        terms = terms[order]
        ends = np.searchsorted(slots[order], np.arange(first, first + count + 1)).tolist()
        for start, end in pairwise(ends):
            self._forward.append(array("I", terms[start:end].tobytes()))
        self._new = []

    def _counted(self, first: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32], Scores]:
        """Each term of each new text with its weight there, by term and then by text."""
        keys, weights = [], []
        for place, weight in ((0, 1.0), (1, CONTEXT)):
            texts = [parts[place] for parts in self._new]
            lengths = np.fromiter(map(len, texts), np.int64, len(texts))
            total = int(lengths.sum())
            found = map(self._terms.__getitem__, chain.from_iterable(texts))
            numbers = np.fromiter(found, np.int64, total)
            slots = np.repeat(np.arange(first, first + len(texts)), lengths)
            keys.append((numbers << _SLOT_BITS) | slots)
            weights.append(np.full(total, weight, dtype=np.float32))
        every, gained = np.concatenate(keys), np.concatenate(weights)
        order = np.argsort(every, kind="stable")
        every, gained = every[order], gained[order]
        starts = np.flatnonzero(np.diff(every, prepend=-1))
        told = every[starts]
        sums = np.add.reduceat(gained, starts) if len(starts) else gained
        held = ((1 << _SLOT_BITS) - 1) & told
        return (told >> _SLOT_BITS).astype(np.uint32), held.astype(np.uint32), sums

    def remove(self, slot: int) -> None:
        """Take a text out of all statistics."""
        if not self._alive[slot]:
            return
        self._settle()
        self._alive[slot] = 0
        self._total -= self._lengths[slot]
        self.live -= 1
        for number in self._forward[slot]:
            self._holders[number] -= 1
        self._forward[slot] = array("I")
        self._changed()

    @property
    def wasteful(self) -> bool:
        """Whether more than a third of the slots are dead, so that compaction pays."""
        return len(self) - self.live > self.live // 2 + _SPARE

    def idf(self, term: str) -> float:
        """How much a stem tells; 0 for one that no text has."""
        self._settle()
        number = self._terms.get(term)
        holders = self._holders[number] if number is not None else 0
        if not holders:
            return 0.0
        return float(np.log1p((self.live - holders + 0.5) / (holders + 0.5)))

    def scores(self, query: Iterable[str]) -> Scores:
        """The score of each slot; 0 for dead ones and those without a word of the query."""
        total: Scores = np.zeros(len(self), dtype=np.float32)
        for slots, gains, weight, _ in self._weighted(query):
            total[slots] += gains * weight
        return total

    def top(self, query: Iterable[str], most: int) -> list[tuple[int, float]]:
        """The slots with the highest scores and these, best first, ties by age.

        As soon as the words left cannot lift a text that has only them among the best, they are
        counted for the texts found so far alone (Turtle and Flood, Query Evaluation, 1995).
        """
        lists = sorted(self._weighted(query), key=lambda part: -part[3])
        total: Scores = np.zeros(len(self), dtype=np.float32)
        rest, floor = sum(bound for *_, bound in lists), 0.0
        for place, (slots, gains, weight, bound) in enumerate(lists):
            if rest < floor:
                found = np.flatnonzero(total + np.float32(rest) >= floor)
                for others in lists[place:]:
                    found = found[total[found] + np.float32(rest) >= floor]
                    _lift(total, found, others)
                    rest -= others[3]
                return _ranked(total, found, most)
            total[slots] += gains * weight
            rest -= bound
            if len(slots) >= most > 0:
                held = total[slots]
                floor = max(floor, float(np.partition(held, -most)[-most]) * _ROUNDING)
        # of truth values numpy finds the places many times faster than of numbers
        return _ranked(total, np.flatnonzero(total >= floor if floor else total != 0), most)

    def _weighted(self, query: Iterable[str]) -> list[Weighted]:
        """For each word: its slots, what it gains them, its weight, and the most it can add."""
        self._settle()
        lists: list[Weighted] = []
        for term, count in Counter(query).items():
            number = self._terms.get(term)
            if number is not None and self._holders[number]:
                slots, gains, most = self._gains(number)
                weight = np.float32(count * self.idf(term))
                lists.append((slots, gains, weight, most * float(weight)))
        return lists

    def _gains(self, number: int) -> tuple[NDArray[np.uint32], Scores, float]:
        """The live slots that hold a term, what it gains them and at most, until a text changes."""
        known = self._known_gains.get(number)
        if known is None:
            slots = np.array(self._slots_of[number], dtype=np.uint32)
            weights = np.array(self._weights_of[number], dtype=np.float32)
            if self.live < len(self):
                alive = np.frombuffer(self._alive, dtype=np.uint8)[slots] > 0
                slots, weights = slots[alive], weights[alive]
            gains = (weights * (K1 + 1) / (weights + self._norm()[slots])).astype(np.float32)
            self._kept += len(slots)
            if self._kept > _KEPT_POSTINGS:
                self._known_gains.clear()
                self._kept = len(slots)
            known = self._known_gains[number] = (slots, gains, float(gains.max(initial=0.0)))
        return known

    def _norm(self) -> Scores:
        """What the length of each text does to its scores."""
        if self._norms is None:
            lengths = np.array(self._lengths, dtype=np.float32)
            average = self._total / self.live or 1.0
            self._norms = (K1 * (1 - B + B * lengths / average)).astype(np.float32)
        return self._norms

    def compacted(self) -> list[int]:
        """Drop dead slots; the old slot of each new one, in order."""
        self._settle()
        kept = [slot for slot, alive in enumerate(self._alive) if alive]
        renumber = np.full(len(self), -1, dtype=np.int64)
        renumber[kept] = np.arange(len(kept))
        for number, slots in enumerate(self._slots_of):
            moved = renumber[np.array(slots, dtype=np.uint32)] if slots else np.empty(0, np.int64)
            weights = np.array(self._weights_of[number], dtype=np.float32)[moved >= 0]
            self._slots_of[number] = array("I", moved[moved >= 0].astype(np.uint32).tobytes())
            self._weights_of[number] = array("f", weights.tobytes())
        self._forward = [self._forward[slot] for slot in kept]
        self._lengths = array("f", (self._lengths[slot] for slot in kept))
        self._alive = bytearray(b"\x01" * len(kept))
        self._changed()
        return kept


def _runs(terms: NDArray[np.uint32]) -> Iterator[tuple[int, int, int]]:
    """Each term of a sorted row, and where it begins and ends."""
    numbers, starts = np.unique(terms, return_index=True)
    ends = [*starts[1:].tolist(), len(terms)]
    return zip(numbers.tolist(), starts.tolist(), ends, strict=False)


def _lift(total: Scores, found: NDArray[np.intp], part: Weighted) -> None:
    """Add what one word gains the texts found."""
    slots, gains, weight, _ = part
    if not len(slots) or not len(found):
        return
    places = np.minimum(np.searchsorted(slots, found), len(slots) - 1)
    held = slots[places] == found
    total[found[held]] += gains[places[held]] * weight


def best(scores: Scores, most: int) -> list[int]:
    """The slots with the highest scores above 0, best first, ties by age."""
    return [slot for slot, _ in _ranked(scores, np.flatnonzero(scores != 0), most)]


def _ranked(scores: Scores, slots: NDArray[np.intp], most: int) -> list[tuple[int, float]]:
    values = scores[slots]
    if len(slots) > most > 0:
        kept = values >= np.partition(values, -most)[-most]
        slots, values = slots[kept], values[kept]
    order = np.lexsort((slots, -values))[:most]
    return list(zip(slots[order].tolist(), values[order].tolist(), strict=True))

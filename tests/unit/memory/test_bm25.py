"""Scores of texts: the best are found without looking at all, and exactly those."""

from __future__ import annotations

import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import snowballstemmer

from plumbgraph.memory.bm25 import TextIndex, best
from plumbgraph.memory.words import Stems, stems, terms

VOCABULARY = [f"w{n}" for n in range(60)]
_ENDINGS = (
    "s sses ied us ed eedly ing y tional enci izer ation ator alism aliti fulness iveness biliti "
    "ogi ogist lessli alize icate iciti ical ful ness ative ance er ic able ant ement ent ism ate "
    "iti ous ive ize ion e ll a b o th k rm x"
)
ENDINGS = _ENDINGS.split(" ")


@pytest.mark.parametrize("seed", range(6))
def test_the_best_are_those_of_all_scores(seed: int) -> None:
    picked = random.Random(seed)
    index = TextIndex()
    weights = [1 / (n + 1) for n in range(len(VOCABULARY))]
    for _ in range(800):
        said = picked.choices(VOCABULARY, weights, k=picked.randint(1, 20))
        index.add(said, picked.choices(VOCABULARY, k=picked.randint(0, 4)))
    for round_ in range(40):
        query = picked.choices(VOCABULARY, k=picked.randint(1, 6))
        most = picked.choice((1, 3, 18, 2_000))
        scores = index.scores(query)
        found = index.top(query, most)
        slots = best(scores, most)
        assert [s for _, s in found] == pytest.approx([float(scores[s]) for s in slots], rel=1e-5)
        assert [s for _, s in found] == pytest.approx(
            [float(scores[s]) for s, _ in found], rel=1e-5
        )
        if round_ % 4 == 0:
            index.remove(picked.randrange(len(index)))


def test_nothing_to_find_is_nothing_found() -> None:
    index = TextIndex()
    assert index.top(["cat"], 5) == []
    slot = index.add(["cat"])
    assert [found for found, _ in index.top(["cat", "dog"], 5)] == [slot]
    index.remove(slot)
    assert index.top(["cat"], 5) == []
    assert index.top([], 5) == []


def test_words_that_are_their_own_stems_are_known_without_the_stemmer() -> None:
    picked = random.Random(1)
    stem = snowballstemmer.stemmer("english").stemWord
    for _ in range(4_000):
        start = "".join(picked.choices("aeioubcdfglmnprstwyxz", k=picked.randint(1, 6)))
        word = start + picked.choice(ENDINGS)
        assert stems("english").of(word) == stem(word), word


def test_texts_part_into_the_same_words_whatever_else_they_hold() -> None:
    for text in ("Tea, at 5pm -- for TWO!", "under_score and dash-ed", "a.b,c;d\te\nf"):
        assert terms(f"{text} é", "none")[:-1] == terms(text, "none")
    assert terms("don't stop Ana's cat", "none") == ["don", "stop", "ana", "cat"]


def test_threads_that_stem_at_once_do_not_mix_their_words() -> None:
    words = [f"{a}{b}" for a in ("nation", "light", "form", "happi", "organiz") for b in ENDINGS]
    alone = Stems("english")
    expected = [alone[word] for word in words]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            shared = Stems("english")
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(shared.__getitem__, [*words, *reversed(words)]))
            assert [shared[word] for word in words] == expected
    finally:
        sys.setswitchinterval(interval)

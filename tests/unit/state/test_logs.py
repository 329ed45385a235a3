"""Which elements become chunks, and which keep the row they have; no database."""

from __future__ import annotations

import pytest

from plumbgraph.state.logs import HUGE, LARGE, LogBook, Staged

KEY = (("default", "t", ""), "messages")


def _append(book: LogBook, *items: bytes) -> Staged:
    staged = Staged()
    book.append(staged, KEY, items, seal=True)
    staged.commit()
    return staged


@pytest.mark.parametrize(("size", "dropped"), [(LARGE, 31), (LARGE + 1, 0)])
def test_a_full_block_takes_in_what_is_small_and_leaves_what_is_large(
    size: int, dropped: int
) -> None:
    book = LogBook()
    steps = [_append(book, bytes([at]) * size) for at in range(33)]
    assert sum(len(each.drops) for each in steps) == dropped
    chunks = [row for each in steps for row in each.rows if row[1] % 2 == 1]
    assert len(chunks) == (1 if dropped else 0)


def test_what_comes_at_once_is_a_chunk_unless_it_is_huge() -> None:
    found = _append(LogBook(), *(bytes([at]) * (LARGE + 1) for at in range(31)), bytes(HUGE + 1))
    assert found.drops == []
    (chunk,) = [items for _, slot, items in found.rows if slot % 2 == 1]
    assert [item is None for item in chunk] == [False] * 31 + [True]
    assert [len(items[0] or b"") for _, slot, items in found.rows if slot % 2 == 0] == [HUGE + 1]

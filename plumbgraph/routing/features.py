"""A request's text as features: hashed words, near pairs of words, and figures of its shape.

The hash is CRC-32, the same in every process and on every machine.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]

BITS = 18
_MASK = np.uint32((1 << BITS) - 1)
_PAIR = np.uint32(0x9E3779B1)
_APART = np.uint32(0x85EBCA6B)
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_ASCII_TOKEN = re.compile(rb"[a-z]+|\d+|[^\w\s\x1c-\x1f]|_")
_NUMBER = re.compile(rb"\d+")
_HEAD_CHARS = 3_000
_TAIL_CHARS = 1_500
SHAPE_NAMES = (
    *("1", "log words", "log characters", "log digits", "log lines"),
    *("log sentences", "log numbers", "digit share"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the learner sees of a text.

    Attributes:
        indices: Places of its words, pairs of words at most one apart, and length buckets in
            the hashed space, each once.
        shape: Figures of the text's shape, in the order of `SHAPE_NAMES`.
    """

    indices: Indices
    shape: Floats


def featurize(text: str) -> Features:
    """The features of a text; of a very long one only its beginning and its end are read."""
    length = len(text)
    if length > _HEAD_CHARS + _TAIL_CHARS:
        text = f"{text[:_HEAD_CHARS]}\n{text[-_TAIL_CHARS:]}"
    words, digits, numbers = _words(text.lower())
    sentences = text.count(".") + text.count("?") + text.count("!")
    counts = (len(words), length, digits, text.count("\n"), sentences, numbers)
    logs = [math.log2(1 + count) for count in counts]
    shape = np.array([1.0, *logs, digits / (length + 1)])
    buckets = [b"\0%c%d" % (name, 3 * log) for name, log in zip(b"wcdlsn", logs, strict=True)]
    return Features(_places(words, buckets), shape)


def _words(text: str) -> tuple[list[bytes], int, int]:
    """The words, and how many digits and numbers are among them."""
    encoded = text.encode()
    if len(encoded) == len(text):
        digits = len(encoded) - len(encoded.translate(None, b"0123456789"))
        return _ASCII_TOKEN.findall(encoded), digits, len(_NUMBER.findall(encoded)) if digits else 0
    words = _TOKEN.findall(text)
    numbers = [word for word in words if "0" <= word[0] <= "9"]
    return list(map(str.encode, words)), len("".join(numbers)), len(numbers)


def _places(words: list[bytes], buckets: list[bytes]) -> Indices:
    """Where words, their pairs and the buckets stand in the hashed space, each place once."""
    count = len(words)
    single = np.array(list(map(crc32, words + buckets)), np.uint32)
    size = len(single)
    found = np.empty(size + max(count - 1, 0) + max(count - 2, 0), np.uint32)
    found[:size] = single
    for gap, factor, at in ((1, _PAIR, size), (2, _APART, size + count - 1)):
        if count > gap:
            part = found[at : at + count - gap]
            np.multiply(single[: count - gap], factor, out=part)
            part ^= single[gap:count]
    found &= _MASK
    found.sort()
    once = np.empty(len(found), np.bool_)
    once[0] = True
    np.not_equal(found[1:], found[:-1], out=once[1:])
    places: Indices = found[once].astype(np.intp)
    return places

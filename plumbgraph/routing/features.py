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
    words = _TOKEN.findall(text.lower())
    numbers = [word for word in words if "0" <= word[0] <= "9"]
    digits = len("".join(numbers))
    sentences = words.count(".") + words.count("?") + words.count("!")
    counts = (len(words), length, digits, text.count("\n"), sentences, len(numbers))
    logs = [math.log2(1 + count) for count in counts]
    shape = np.array([1.0, *logs, digits / (length + 1)])
    buckets = [f"\0{name}{int(3 * log)}" for name, log in zip("wcdlsn", logs, strict=True)]
    single = np.fromiter(map(crc32, map(str.encode, (*words, *buckets))), np.uint32)
    ends = single[: len(words)]
    pairs = (ends[:-1] * _PAIR) ^ ends[1:]
    apart = (ends[:-2] * _APART) ^ ends[2:]
    hashed = np.concatenate((single, pairs, apart)) & _MASK
    return Features(np.array(list(set(hashed.tolist())), dtype=np.intp), shape)

"""Checkpoint and task ids as bytes: 16 for a UUID, the text itself for anything else."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import ormsgpack

from plumbgraph.errors import SettingsError

_UUID_TEXT = 36
_UUID_BYTES = 16


@lru_cache(maxsize=1024)
def pack_id(text: str | None) -> bytes | None:
    """The stored form of an id; bytes sort as the texts do among UUIDs and among other texts."""
    if not text:
        return None
    if len(text) == _UUID_TEXT and text[8] == text[13] == text[18] == text[23] == "-":
        try:
            raw = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            raw = b""
        if len(raw) == _UUID_BYTES and _spell(raw) == text:
            return raw
    # The mark keeps a text of any length apart from the 16 bytes of a UUID.
    other = text.encode("utf-8", "surrogatepass") + b"\0"
    return other if len(other) != _UUID_BYTES else other + b"\x01"


def unpack_id(raw: bytes) -> str:
    """The id as LangGraph knows it."""
    if len(raw) == _UUID_BYTES:
        return _spell(raw)
    end = -2 if raw[-1:] == b"\x01" else -1
    return raw[:end].decode("utf-8", "surrogatepass")


def _spell(raw: bytes) -> str:
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def tag(key: str, value: Any, secret: bytes = b"") -> int | None:
    """A 64-bit hash of one metadata item, or None where the value has no stable form.

    Numbers that are equal in Python hash alike, so that `1`, `1.0` and `True` match as they do
    in memory. With a secret the hash is keyed (a blind index).
    """
    if isinstance(value, (bool, float)) and value == value // 1 and abs(value) < 2**53:
        value = int(value)
    try:
        form = ormsgpack.packb([key, value], option=ormsgpack.OPT_SORT_KEYS)
    except TypeError:
        return None
    return number(blake2b(form, digest_size=8, key=secret).digest())


def number(raw: bytes) -> int:
    """Eight bytes as PostgreSQL's bigint."""
    return int.from_bytes(raw, "big", signed=True)


def checked_text(name: str, value: Any) -> str:
    """The value, if PostgreSQL can hold it as a text.

    Raises:
        SettingsError: It is no text, or holds a NUL or a lone surrogate.
    """
    if not isinstance(value, str):
        value = str(value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(
            f"The {name} {value!r} is not valid Unicode.", hint=f"Use another {name}."
        ) from error
    if "\0" in value:
        raise SettingsError(f"The {name} {value!r} holds a NUL.", hint=f"Use another {name}.")
    return str(value)

"""Bytes as they are stored: a flag, then plain, compressed or sealed content."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import local
from typing import Any, Protocol, TypeAlias

import ormsgpack
import zstandard

from plumbgraph.errors import DataCorrupt
from plumbgraph.state.common import dictionary

Item: TypeAlias = bytes | tuple[str, bytes]
"""A serialized value: msgpack bytes, or another type's name with its bytes."""

_PLAIN, _ZSTD, _SEALED, _SMALL = b"\x00", b"\x01", b"\x02", b"\x03"
_WORTH = 24
_SMALL_MOST = 4096
_LEVEL = 3
_MOST = 2**31
_local = local()


class Cipher(Protocol):
    """Seals bytes under one thread's key; `bound` is what they must be read back with."""

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Encrypted and authenticated bytes."""

    def unseal(self, data: bytes, bound: bytes) -> bytes:
        """The bytes that were sealed.

        Raises:
            DataCorrupt: They were changed, moved, or sealed under another key.
        """


def wrap(data: bytes, cipher: Cipher | None = None, bound: bytes = b"") -> bytes:
    """Content as it is stored: compressed where that helps, sealed under a cipher."""
    framed = _PLAIN + data
    if len(data) >= _WORTH:
        flag = _SMALL if len(data) <= _SMALL_MOST else _ZSTD
        small = flag + _compressor(flag).compress(data)
        framed = min(framed, small, key=len)
    return framed if cipher is None else _SEALED + cipher.seal(framed, bound)


def unwrap(body: bytes, cipher: Cipher | None = None, bound: bytes = b"") -> bytes:
    """The content of a stored body.

    Raises:
        DataCorrupt: The body is damaged, or is plain although a cipher is required.
    """
    flag = body[:1]
    if cipher is not None:
        if flag != _SEALED:
            raise DataCorrupt("A stored row is plain text, but this saver encrypts.", bound=bound)
        return unwrap(cipher.unseal(body[1:], bound))
    if flag in (_ZSTD, _SMALL):
        try:
            return _decompressor(flag).decompress(body[1:])
        except zstandard.ZstdError as error:
            raise DataCorrupt(f"A stored row does not decompress: {error}.") from error
    if flag == _PLAIN:
        return body[1:]
    if flag == _SEALED:
        raise DataCorrupt(
            "A stored row is encrypted.", hint="Pass the key as PlumbSaver(encryption=…)."
        )
    raise DataCorrupt(f"A stored row begins with the unknown flag {flag!r}.")


def _compressor(flag: bytes) -> zstandard.ZstdCompressor:
    # Contexts are not safe to share between threads.
    known: dict[bytes, zstandard.ZstdCompressor] = _local.__dict__.setdefault("writing", {})
    found = known.get(flag)
    if found is None:
        options: dict[str, Any] = {"dict_data": _common()} if flag == _SMALL else {}
        found = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, **options)
        known[flag] = found
    return found


def _decompressor(flag: bytes) -> zstandard.ZstdDecompressor:
    known: dict[bytes, zstandard.ZstdDecompressor] = _local.__dict__.setdefault("reading", {})
    found = known.get(flag)
    if found is None:
        options: dict[str, Any] = {"dict_data": _common()} if flag == _SMALL else {}
        found = known[flag] = zstandard.ZstdDecompressor(max_window_size=_MOST, **options)
    return found


@cache
def _common() -> zstandard.ZstdCompressionDict:
    found = dictionary()
    found.precompute_compress(level=_LEVEL)
    return found


def place(kind: str, *parts: str | int | bytes) -> bytes:
    """What a sealed row is bound to: its table and key."""
    return ormsgpack.packb([kind, *parts])


def pack_items(items: Sequence[Item | None]) -> bytes:
    """Several items as one content; None marks a position that is stored elsewhere."""
    return ormsgpack.packb(items)


def unpack_items(data: bytes) -> list[Item | None]:
    """The items of one content.

    Raises:
        DataCorrupt: The content is no list of items.
    """
    found = loads(data)
    if not isinstance(found, list):
        raise DataCorrupt("A stored element row holds no list of elements.")
    return [tuple(item) if isinstance(item, list) else item for item in found]


def loads(data: bytes) -> Any:
    """Plain msgpack content.

    Raises:
        DataCorrupt: It is not msgpack.
    """
    try:
        return ormsgpack.unpackb(data, option=ormsgpack.OPT_NON_STR_KEYS)
    except ormsgpack.MsgpackDecodeError as error:
        raise DataCorrupt(f"A stored row does not decode: {error}.") from error

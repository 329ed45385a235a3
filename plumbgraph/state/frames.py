"""Bytes as they are stored: a flag, then plain, compressed or sealed content."""

from __future__ import annotations

from collections.abc import Sequence
from threading import local
from typing import Any, Protocol, TypeAlias

import ormsgpack
import zstandard

from plumbgraph.errors import DataCorrupt

Item: TypeAlias = bytes | tuple[str, bytes]
"""A serialized value: msgpack bytes, or another type's name with its bytes."""

_PLAIN, _ZSTD, _SEALED = b"\x00", b"\x01", b"\x02"
_WORTH = 120
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
    if len(data) >= _WORTH:
        small = _compressor().compress(data)
        framed = _ZSTD + small if len(small) < len(data) else _PLAIN + data
    else:
        framed = _PLAIN + data
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
    if flag == _ZSTD:
        try:
            return _decompressor().decompress(body[1:])
        except zstandard.ZstdError as error:
            raise DataCorrupt(f"A stored row does not decompress: {error}.") from error
    if flag == _PLAIN:
        return body[1:]
    if flag == _SEALED:
        raise DataCorrupt(
            "A stored row is encrypted.", hint="Pass the key as PlumbSaver(encryption=…)."
        )
    raise DataCorrupt(f"A stored row begins with the unknown flag {flag!r}.")


def _compressor() -> zstandard.ZstdCompressor:
    found: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if found is None:
        # Compression contexts are not safe to share between threads.
        found = _local.compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    return found


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST)
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

"""How bytes lie at rest: plain where small or incompressible, else zstd, and sealed if asked."""

from __future__ import annotations

import threading

import zstandard

from plumbgraph.content.seal import Seal
from plumbgraph.errors import BlobCorrupt

PLAIN, ZSTD, SEALED = 0, 1, 2
THRESHOLD = 128
"""Bytes below which compression is not tried."""

_LEVEL = 3
_WORTH = 0.95
_MOST = 1 << 40
_local = threading.local()


def encode(digest: str, data: bytes, seal: Seal | None = None) -> tuple[int, bytes]:
    """The codec's flags and the body that `decode` turns into `data` again."""
    codec, body = PLAIN, data
    if len(data) >= THRESHOLD:
        packed = _compressor().compress(data)
        if len(packed) < len(data) * _WORTH:
            codec, body = ZSTD, packed
    if seal is not None:
        codec, body = codec | SEALED, seal.seal(body, digest.encode())
    return codec, body


def decode(digest: str, codec: int, size: int, body: bytes, seal: Seal | None = None) -> bytes:
    """The `size` bytes that were encoded; their digest is for the caller to verify.

    Raises:
        BlobCorrupt: The body does not decode to `size` bytes, or its seal is broken.
    """
    if codec & SEALED:
        body = _unsealed(digest, body, seal)
    if codec & ~SEALED == PLAIN:
        data = body
    elif codec & ~SEALED == ZSTD and 0 <= size <= _MOST:
        data = _inflated(digest, size, body)
    else:
        raise BlobCorrupt(f"Blob {digest[:16]!r}… has the unknown codec {codec}.", digest=digest)
    if len(data) != size:
        raise BlobCorrupt(
            f"Blob {digest[:16]!r}… has {len(data)} bytes and says {size}.", digest=digest
        )
    return data


def _unsealed(digest: str, body: bytes, seal: Seal | None) -> bytes:
    if seal is None:
        raise BlobCorrupt(
            f"Blob {digest[:16]!r}… is encrypted, and no key was given.",
            hint="Pass the store the seal it was written with.",
            digest=digest,
        )
    return seal.unseal(body, digest.encode())


def _inflated(digest: str, size: int, body: bytes) -> bytes:
    try:
        # The frame may claim any size: it must not make us reserve more than was recorded.
        if zstandard.frame_content_size(body) != size:
            raise BlobCorrupt(
                f"Blob {digest[:16]!r}… claims another size than was recorded.", digest=digest
            )
        return _decompressor().decompress(body, max_output_size=size)
    except zstandard.ZstdError as error:
        raise BlobCorrupt(
            f"Blob {digest[:16]!r}… does not decompress: {error}", digest=digest
        ) from error


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    return decompressor

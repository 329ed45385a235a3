"""Encryption at rest: AES-256-GCM with named keys, and names that do not tell the content.

A digest of plaintext lets whoever reads the table check a guess. So a sealed store files each
blob under a keyed digest of its digest.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Protocol

from plumbgraph.errors import BlobCorrupt, MissingExtra, SettingsError

_NONCE = 12
_KEY = 32


class Seal(Protocol):
    """Turns bodies into sealed ones and back, and digests into names."""

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Encrypt `data`; it will open only together with `bound`."""

    def unseal(self, sealed: bytes, bound: bytes) -> bytes:
        """The data again; `BlobCorrupt` where key, body or `bound` do not fit."""

    def name(self, digest: str) -> bytes:
        """The name under which the content of this digest is filed."""


class AesSeal:
    """AES-256-GCM with a random nonce, the key's id in front, and keyed names.

    Args:
        keys: Key bytes (32) by id; ids have at most 255 bytes. Old keys stay for reading.
        current: The id of the key that encrypts.
        naming: Key for the names; it cannot be rotated. Derived from the first key by default.

    Raises:
        SettingsError: A key has the wrong length, or `current` names none.
        MissingExtra: `cryptography` is not installed.
    """

    def __init__(
        self, keys: Mapping[str, bytes], *, current: str, naming: bytes | None = None
    ) -> None:
        if current not in keys:
            raise SettingsError(f"No key has the id {current!r}.")
        for key_id, key in keys.items():
            if len(key) != _KEY or not 0 < len(key_id.encode()) < 256:  # noqa: PLR2004 - one byte
                raise SettingsError(f"The key {key_id!r} is not 32 bytes long, or its id too long.")
        self._ciphers = {key_id: _cipher(key) for key_id, key in keys.items()}
        self._current = current
        first = next(iter(keys.values()))
        self._naming = naming or hashlib.blake2b(b"plumbgraph names", key=first).digest()

    def __repr__(self) -> str:
        return f"AesSeal(keys={sorted(self._ciphers)}, current={self._current!r})"

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Encrypt `data` under the current key."""
        nonce, key_id = os.urandom(_NONCE), self._current.encode()
        head = bytes([len(key_id)]) + key_id
        body: bytes = self._ciphers[self._current].encrypt(nonce, data, head + bound)
        return head + nonce + body

    def unseal(self, sealed: bytes, bound: bytes) -> bytes:
        """Decrypt with the key the body names.

        Raises:
            BlobCorrupt: The key is not known, or the body was changed.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

        end = 1 + (sealed[0] if sealed else 0)
        head, nonce, body = sealed[:end], sealed[end : end + _NONCE], sealed[end + _NONCE :]
        key_id = head[1:].decode(errors="replace")
        cipher = self._ciphers.get(key_id)
        if cipher is None or len(nonce) != _NONCE:
            raise BlobCorrupt(
                f"A sealed blob names the unknown key {key_id!r}.",
                hint="Keep the keys that blobs were written with.",
            )
        try:
            data: bytes = cipher.decrypt(nonce, body, head + bound)
        except InvalidTag:
            raise BlobCorrupt("A sealed blob was changed, or belongs elsewhere.") from None
        return data

    def name(self, digest: str) -> bytes:
        """A keyed digest of the digest."""
        return hashlib.blake2b(digest.encode(), digest_size=32, key=self._naming[:64]).digest()


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("Encryption needs cryptography.", extra="encryption") from error
    return AESGCM(key)

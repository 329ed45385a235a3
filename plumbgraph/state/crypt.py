"""Encryption at rest: one data key a thread, wrapped by keys the operator holds.

Everything a user supplied is sealed with AES-256-GCM: values, writes, metadata, accepted inputs.
Each row is bound to its place, so rows cannot be swapped; a thread's own key binds the thread.
Deleting a thread deletes its data key, which shreds what backups still hold of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import import_module
from typing import Any

from plumbgraph.errors import DataCorrupt, MissingExtra, SettingsError, ThreadDeleted
from plumbgraph.postgres.statement import SqlPlan, Statement

_KEY_BYTES = 32
_NONCE_BYTES = 12

_MAKE = """
INSERT INTO {schema}.thread AS t (tenant, thread_id, secret)
VALUES (%(tenant)s, %(thread)s, %(secret)s)
ON CONFLICT (tenant, thread_id) DO UPDATE SET secret = coalesce(t.secret, excluded.secret)
WHERE t.deleted_at IS NULL RETURNING secret"""

_SECRETS = """
SELECT id, secret FROM {schema}.thread WHERE secret IS NOT NULL AND id > %(after)s::bigint
    AND tenant = %(tenant)s ORDER BY id LIMIT 200"""

_REWRAP = """
UPDATE {schema}.thread t SET secret = n.new
FROM unnest(%(ids)s::bigint[], %(old)s::bytea[], %(new)s::bytea[]) AS n(id, old, new)
WHERE t.id = n.id AND t.secret = n.old"""


@dataclass(frozen=True, slots=True)
class Encryption:
    """The keys of a saver.

    Attributes:
        keys: 32 bytes each, by a name that is stored with what they wrap. Keep old ones until
            `rotate_keys` has run.
        current: The key that wraps new threads' keys.
        index_key: Keys the hashes by which metadata are filtered. By default derived from the
            first of `keys`, so leave that one in its place.
    """

    keys: Mapping[str, bytes] = field(repr=False)
    current: str
    index_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.current not in self.keys:
            raise SettingsError(f"No key is named {self.current!r}.", hint="Name one of `keys`.")
        for name, key in self.keys.items():
            if len(key) != _KEY_BYTES:
                raise SettingsError(
                    f"The key {name!r} has {len(key)} bytes instead of {_KEY_BYTES}.",
                    hint="Make one with secrets.token_bytes(32).",
                )

    @property
    def tag_key(self) -> bytes:
        """The key of metadata hashes."""
        first = next(iter(self.keys.values()))
        return self.index_key or blake2b(first, digest_size=32, person=b"plumb-index").digest()


class ThreadCipher:
    """Seals and unseals the rows of one thread."""

    def __init__(self, key: bytes) -> None:
        self._aead = _aead()(key)

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Encrypted and authenticated bytes, to be read back only at `bound`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + bytes(self._aead.encrypt(nonce, data, bound))

    def unseal(self, data: bytes, bound: bytes) -> bytes:
        """The bytes that were sealed.

        Raises:
            DataCorrupt: They were changed or moved, or belong to another thread.
        """
        try:
            sealed = data[_NONCE_BYTES:]
            return bytes(self._aead.decrypt(data[:_NONCE_BYTES], sealed, bound))
        except (_invalid(), ValueError) as error:
            raise DataCorrupt(
                "A stored row fails authentication: it was changed, moved, or sealed elsewhere."
            ) from error


class Vault:
    """Wraps and unwraps threads' data keys."""

    def __init__(self, encryption: Encryption) -> None:
        self.encryption = encryption
        self._keys = {name: _aead()(key) for name, key in encryption.keys.items()}

    def wrap(self, key: bytes) -> bytes:
        """A data key under the current key, with that one's name."""
        name = self.encryption.current.encode()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self.encryption.current].encrypt(nonce, key, name)
        return bytes([len(name)]) + name + nonce + bytes(sealed)

    def unwrap(self, secret: bytes | None) -> bytes:
        """The data key of a stored secret.

        Raises:
            DataCorrupt: The thread was stored in plain text, or its key is wrong or unknown.
        """
        if secret is None:
            raise DataCorrupt(
                "A thread is stored in plain text, but this saver encrypts.",
                hint="Read it with a saver without `encryption`, and export it into this one.",
            )
        name = _name_of(secret)
        known = self._keys.get(name)
        if known is None:
            raise DataCorrupt(
                f"A thread's key is wrapped by {name!r}, which is not given.",
                hint=f"Add the key {name!r} to Encryption(keys=…).",
            )
        rest = secret[1 + secret[0] :]
        try:
            return bytes(known.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], name.encode()))
        except (_invalid(), ValueError) as error:
            raise DataCorrupt(
                f"The key {name!r} does not open a thread's key.", hint="Give the right key."
            ) from error

    def is_current(self, secret: bytes) -> bool:
        """Whether a secret is under the current key."""
        return _name_of(secret) == self.encryption.current

    def cipher(self, secret: bytes | None) -> ThreadCipher:
        """The cipher of a stored secret."""
        return ThreadCipher(self.unwrap(secret))


def _name_of(secret: bytes) -> str:
    """The name of the key that wraps a secret; damaged ones name a key that nobody has."""
    return secret[1 : 1 + secret[0]].decode(errors="replace") if secret else ""


def _aead() -> Any:
    return _part("hazmat.primitives.ciphers.aead").AESGCM


def _invalid() -> type[Exception]:
    found: type[Exception] = _part("exceptions").InvalidTag
    return found


def _part(name: str) -> Any:
    try:
        return import_module(f"cryptography.{name}")
    except ImportError as error:
        raise MissingExtra("Encryption needs `cryptography`.", extra="encryption") from error


def secret_of(vault: Vault, tenant: str, thread: str) -> SqlPlan[bytes]:
    """The wrapped data key of a thread, made where it has none.

    Raises:
        ThreadDeleted: The thread was deleted, and its key with it.
    """
    secret = vault.wrap(os.urandom(_KEY_BYTES))
    params = {"tenant": tenant, "thread": thread, "secret": secret}
    rows = (yield (Statement(_MAKE, params),))[0]
    if not rows:
        raise ThreadDeleted(f"Thread {thread!r} was deleted.", thread_id=thread)
    return bytes(rows[0][0])


def rotate(vault: Vault, tenant: str) -> SqlPlan[int]:
    """Wrap all threads' data keys under the current key; returns how many were not."""
    count, after = 0, 0
    while True:
        rows = (yield (Statement(_SECRETS, {"tenant": tenant, "after": str(after)}),))[0]
        old = [(number, secret) for number, secret in rows if not vault.is_current(secret)]
        if old:
            params = {
                "ids": "{" + ",".join(str(number) for number, _ in old) + "}",
                "old": [secret for _, secret in old],
                "new": [vault.wrap(vault.unwrap(secret)) for _, secret in old],
            }
            yield (Statement(_REWRAP, params),)
        count += len(old)
        if not rows:
            return count
        after = rows[-1][0]

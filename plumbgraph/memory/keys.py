"""Where things lie in Redis: key names, and the hash tag that keeps one call in one slot.

An item's path is its namespace's labels joined by NUL, two NULs, and its key. Labels hold no
NUL and are never empty, so the first pair of NULs ends the namespace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from langgraph.store.base import InvalidNamespaceError

from plumbgraph.errors import SettingsError

Namespace: TypeAlias = tuple[str, ...]
ShardBy: TypeAlias = Literal["tenant", "namespace_root"]

_SEPARATOR = "\0"
_LONGEST_KEY = 4096
_SHORT_KEY = 1024


def joined(namespace: Sequence[str]) -> str:
    """A namespace as one text."""
    return _SEPARATOR.join(namespace)


def split_namespace(text: str) -> Namespace:
    """The namespace written by `joined`."""
    return tuple(text.split(_SEPARATOR)) if text else ()


def split_path(path: str) -> tuple[Namespace, str]:
    """Namespace and key of an item's path."""
    namespace, _, key = path.partition("\0\0")
    return split_namespace(namespace), key


def check_namespace(namespace: Any, *, root: bool = False, empty: bool = False) -> None:
    """Refuse what LangGraph's contract refuses; with `root`, also its reserved root label.

    Raises:
        InvalidNamespaceError: The namespace is empty, or a label is empty, no string, or holds
            a period or NUL.
    """
    try:
        if _sound(namespace, root, empty):
            return
    except TypeError:  # a label that cannot be hashed is no string either
        pass
    _refuse(namespace, root=root, empty=empty)


@lru_cache(maxsize=4096)
def _sound(namespace: Any, root: bool, empty: bool) -> bool:  # noqa: FBT001 - words of a cache's key
    try:
        _refuse(namespace, root=root, empty=empty)
    except InvalidNamespaceError:
        return False
    return True


def _refuse(namespace: Any, *, root: bool, empty: bool) -> None:
    if not isinstance(namespace, tuple):
        raise InvalidNamespaceError(f"A namespace is a tuple of strings, not {namespace!r}.")
    if not namespace and not empty:
        raise InvalidNamespaceError("Namespace cannot be empty.")
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or _SEPARATOR in label:
            raise InvalidNamespaceError(
                f"Invalid label {label!r} in the namespace {namespace!r}: labels are non-empty "
                "strings without periods ('.') and NUL."
            )
        if not _encodes(label):
            raise InvalidNamespaceError(f"The label {label!r} is not valid Unicode text.")
    if root and namespace[0] == "langgraph":
        raise InvalidNamespaceError(f"The root label 'langgraph' is reserved. Got {namespace!r}.")


def check_key(key: Any) -> str:
    """The key, refused when it cannot be stored exactly.

    Raises:
        InvalidNamespaceError: No string, over 4,096 bytes, or not valid Unicode text.
    """
    if isinstance(key, str) and len(key) < _SHORT_KEY and key.isascii():
        return key
    if not isinstance(key, str) or not _encodes(key) or len(key.encode()) > _LONGEST_KEY:
        raise InvalidNamespaceError(
            f"The key {key!r:.80} is not a string of valid Unicode text of at most "
            f"{_LONGEST_KEY} bytes."
        )
    return str(key)


def check_tenant(tenant: Any) -> str:
    """The tenant's name, refused when it would break the hash tag.

    Raises:
        SettingsError: Empty, or with braces or NUL.
    """
    if not isinstance(tenant, str) or not tenant or set(tenant) & set("{}\0"):
        raise SettingsError(f"The tenant {tenant!r} must be a non-empty string without {{ }} NUL.")
    return str(tenant)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Shard:
    """The key names of one hash slot: a tenant, or a tenant's root namespace."""

    tag: str
    prefix: str

    def item(self, namespace: str, key: str) -> str:
        """The current record."""
        return f"{self.prefix}i:{namespace}\0\0{key}"

    @property
    def item_start(self) -> int:
        """Where the path begins in an item's key, in bytes, counted from 1 as Lua counts."""
        return len(self.prefix.encode()) + 3

    def past(self, namespace: str, key: str) -> str:
        """The list of earlier records."""
        return f"{self.prefix}h:{namespace}\0\0{key}"

    def live(self, namespace: str) -> str:
        """Live keys by the moment of their last change."""
        return f"{self.prefix}x:{namespace}"

    def gone(self, namespace: str) -> str:
        """Deleted keys by the moment of deletion."""
        return f"{self.prefix}d:{namespace}"

    def slots(self, namespace: str) -> str:
        """Keys of fact slots, in lexical order."""
        return f"{self.prefix}s:{namespace}"

    def contested(self, namespace: str) -> str:
        """Keys of contested facts by the moment of the dispute."""
        return f"{self.prefix}k:{namespace}"

    def uses(self, namespace: str) -> str:
        """How often a key was recalled."""
        return f"{self.prefix}u:{namespace}"

    def vectors(self, namespace: str) -> str:
        """Embeddings by key."""
        return f"{self.prefix}v:{namespace}"

    def module(self, namespace: str) -> str:
        """What a search module holds of a namespace; the name ends in a digest, not in labels."""
        return f"{self.prefix}m:{_digest(namespace)}"

    def document(self, namespace: str, key: str) -> str:
        """An item as a search module reads it."""
        return f"{self.module(namespace)}:{_digest(key)}"

    @property
    def names(self) -> str:
        """The namespaces that hold items."""
        return f"{self.prefix}n"

    @property
    def due(self) -> str:
        """Paths by the moment they expire or leave the history, in milliseconds."""
        return f"{self.prefix}e"

    @property
    def feed(self) -> str:
        """The stream of changes."""
        return f"{self.prefix}f"

    @property
    def journal(self) -> str:
        """Sleep reports that can be undone, and the audit of erasures."""
        return f"{self.prefix}j"

    def write(self, namespace: str, key: str) -> tuple[str, ...]:
        """Every key a write touches, in the order of `memory.lua`."""
        return (
            self.item(namespace, key),
            self.past(namespace, key),
            self.live(namespace),
            self.gone(namespace),
            self.names,
            self.due,
            self.feed,
            self.slots(namespace),
            self.contested(namespace),
        )

    def remove(self, namespace: str, key: str) -> tuple[str, ...]:
        """Every key a deletion touches, in the order of `memory.lua`."""
        return (
            *self.write(namespace, key),
            self.vectors(namespace),
            self.uses(namespace),
            self.document(namespace, key),
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a store's items are spread over hash slots.

    Attributes:
        tenant: Whose items.
        shard_by: `tenant`, or `namespace_root`: one slot for each first label.
        prefix: First word of every key.
    """

    tenant: str
    shard_by: ShardBy = "tenant"
    prefix: str = "plumb"

    def shard(self, namespace: Namespace) -> Shard:
        """The shard that holds a namespace."""
        return _shard(self.prefix, self.tenant, namespace[0] if self._by_root else None)

    def shard_of_root(self, root: str) -> Shard:
        """The shard of one root label."""
        return _shard(self.prefix, self.tenant, root if self._by_root else None)

    @property
    def _by_root(self) -> bool:
        return self.shard_by == "namespace_root"

    @property
    def roots(self) -> str | None:
        """The set of root labels ever used, where each has a shard of its own."""
        return f"{self.prefix}:{{{self.tenant}}}:roots" if self._by_root else None


@lru_cache(maxsize=4096)
def _shard(prefix: str, tenant: str, root: str | None) -> Shard:
    if root is None:
        tag = tenant
    else:
        safe = root.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
        tag = f"{tenant}{_SEPARATOR}{safe}"
    return Shard(tag=tag, prefix=f"{prefix}:{{{tag}}}:")

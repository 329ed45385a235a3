"""The shared registry as plans: content that never changes, tags that move, a change log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions

from plumbgraph.content.digest import digest_of
from plumbgraph.errors import SettingsError, SkillNotFound, SkillTampered, VersionConflict
from plumbgraph.redis.clients import Command, RedisPlan
from plumbgraph.redis.library import Call, library
from plumbgraph.skills.package import blobs_of, package_digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BATCH = 500
_LIBRARY = library("skills")  # read now: a registry may be asked first inside an event loop
START = "0-0"


@dataclass(frozen=True, slots=True)
class Keys:
    """The registry's keys; all of one hash slot, so that a cluster keeps them together."""

    registry: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.registry):
            raise SettingsError(f"{self.registry!r} is no name for a registry.")

    @property
    def base(self) -> str:
        """What every key begins with."""
        return f"{{plumb:skills:{self.registry}}}"

    @property
    def meta(self) -> str:
        """Digest to facts, never changed once set."""
        return f"{self.base}:meta"

    @property
    def log(self) -> str:
        """The stream of changes."""
        return f"{self.base}:log"

    def tag(self, tag: str) -> str:
        """Name to digest, for one tag."""
        if not _NAME.fullmatch(tag):
            raise SettingsError(f"{tag!r} is no name for a tag.")
        return f"{self.base}:tag:{tag}"

    def versions(self, name: str) -> str:
        """Digests of one skill, the oldest first."""
        return f"{self.base}:versions:{name}"

    def blob(self, digest: str) -> str:
        """Content by digest."""
        return f"{self.base}:blob:{digest}"

    def of(self, name: str, tag: str, digest: str) -> tuple[str, ...]:
        """What every Lua part touches."""
        return self.tag(tag), self.meta, self.versions(name), self.log, self.blob(digest)


def publish(
    keys: Keys,
    name: str,
    contents: Mapping[str, bytes],
    facts: Mapping[str, Any],
    *,
    tag: str,
    expected: str | None,
) -> RedisPlan[str]:
    """Store a skill's content, then point the tag at it; the digest.

    Raises:
        VersionConflict: The tag does not point to `expected`.
    """
    digest = package_digest(contents)
    blobs = list(blobs_of(contents).items())
    for start in range(0, len(blobs), _BATCH):
        part = blobs[start : start + _BATCH]
        yield tuple(Command("SET", keys.blob(own), data, "NX") for own, data in part)
    meta = json.dumps({**facts, "name": name}, sort_keys=True)
    call = Call("publish", keys.of(name, tag, digest), (name, tag, digest, meta, expected or ""))
    (reply,) = yield from _LIBRARY.calls([call])
    _raise(reply, name, expected)
    return digest


def move(keys: Keys, name: str, tag: str, digest: str) -> RedisPlan[bool]:
    """Point a tag at a published version; whether that changed anything.

    Raises:
        SkillNotFound: No such version of this skill was published.
    """
    call = Call("move", keys.of(name, tag, digest), (name, tag, digest))
    (reply,) = yield from _LIBRARY.calls([call])
    _raise(reply, name, None)
    return bool(reply)


def withdraw(keys: Keys, name: str, tag: str) -> RedisPlan[bool]:
    """Take a skill out of a tag; its versions stay for threads that loaded them."""
    call = Call("withdraw", keys.of(name, tag, ""), (name, tag))
    (reply,) = yield from _LIBRARY.calls([call])
    _raise(reply, name, None)
    return bool(reply)


def current(keys: Keys, name: str, tag: str) -> RedisPlan[str | None]:
    """The digest a tag points at, or None."""
    (digest,) = yield (Command("HGET", keys.tag(tag), name),)
    _raise(digest, name, None)
    return digest.decode() if digest else None


def versions(keys: Keys, name: str) -> RedisPlan[list[tuple[str, dict[str, Any]]]]:
    """Every published version of a skill with its facts, the oldest first."""
    (digests,) = yield (Command("LRANGE", keys.versions(name), 0, -1),)
    if not digests:
        return []
    (facts,) = yield (Command("HMGET", keys.meta, *digests),)
    return [(d.decode(), json.loads(f)) for d, f in zip(digests, facts, strict=True) if f]


def head(keys: Keys) -> RedisPlan[str]:
    """The id of the last change: one round trip tells whether anything happened."""
    (entries,) = yield (Command("XREVRANGE", keys.log, "+", "-", "COUNT", 1),)
    _raise(entries, "", None)
    return entries[0][0].decode() if entries else START


def listing(keys: Keys, tag: str) -> RedisPlan[tuple[str, dict[str, str]]]:
    """The last change's id and the digest of each skill under a tag.

    The id is read first, so that a change in between is seen again next time, never missed.
    """
    last, tagged = yield (
        Command("XREVRANGE", keys.log, "+", "-", "COUNT", 1),
        Command("HGETALL", keys.tag(tag)),
    )
    for reply in (last, tagged):
        _raise(reply, "", None)
    flat = (
        tagged.items() if isinstance(tagged, dict) else zip(tagged[::2], tagged[1::2], strict=True)
    )
    names = {name.decode(): digest.decode() for name, digest in flat}
    return (last[0][0].decode() if last else START), names


def blobs(
    keys: Keys, digests: Iterable[str], *, lenient: bool = False
) -> RedisPlan[dict[str, bytes]]:
    """Content by digest, each verified; `lenient` leaves out what is missing or wrong.

    Raises:
        SkillNotFound: One is not in the registry.
        SkillTampered: One is not what its digest says.
    """
    wanted = list(dict.fromkeys(digests))
    found: dict[str, bytes] = {}
    for start in range(0, len(wanted), _BATCH):
        part = wanted[start : start + _BATCH]
        (values,) = yield (Command("MGET", *map(keys.blob, part)),)
        _raise(values, "", None)
        sound = [(own, data) for own, data in zip(part, values, strict=True) if _sound(own, data)]
        found |= dict(sound) if lenient else _verified(part, values)
    return found


def _sound(digest: str, data: bytes | None) -> bool:
    return data is not None and digest_of(data) == digest


def _verified(digests: Sequence[str], values: Sequence[bytes | None]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for digest, data in zip(digests, values, strict=True):
        if data is None:
            raise SkillNotFound(f"The registry has no content {digest[:16]!r}….", digest=digest)
        if digest_of(data) != digest:
            raise SkillTampered(
                f"The registry's content {digest[:16]!r}… has another digest.", digest=digest
            )
        found[digest] = data
    return found


def _raise(reply: Any, name: str, expected: str | None) -> None:
    if not isinstance(reply, exceptions.ResponseError):
        return
    code, _, rest = str(reply).partition(" ")
    if code == "SKILLMOVED":
        raise VersionConflict(
            f"The skill {name!r} was published by someone else meanwhile.",
            expected=expected,
            found=rest,
        )
    if code == "SKILLUNKNOWN":
        raise SkillNotFound(f"The registry has no such version of {name!r}.", skill=name)
    raise reply

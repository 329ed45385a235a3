"""Lua that runs inside the server: one library a domain, loaded when missing, never replaced.

A domain writes `plumbgraph/redis/lua/DOMAIN.lua`, whose parts are declared with
`define("name", function(keys, args) … end, {"no-writes"})`. The library's name ends in the digest
of its text, so two releases running side by side each call their own. Servers that do not
offer `FUNCTION` are served by `EVALSHA` with the same text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis import exceptions

from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.redis.clients import Batch, Command, RedisPlan, Replies

_FUNCTION_HEAD = """#!lua name={name}
local function define(part, callback, flags)
  redis.register_function{{
    function_name = "{name}_" .. part, callback = callback, flags = flags or {{}},
  }}
end
"""
_SCRIPT_HEAD = """local PARTS = {}
local function define(part, callback) PARTS[part] = callback end
"""
_SCRIPT_TAIL = """
local words = {}
for i = 2, #ARGV do words[i - 1] = ARGV[i] end
return PARTS[ARGV[1]](KEYS, words)
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a library's part.

    Attributes:
        part: The name given to `define`.
        keys: Every key the part touches: all of one hash slot in a cluster.
        args: Its other words.
        reads: The part was declared with `no-writes`.
    """

    part: str
    keys: tuple[str | bytes, ...]
    args: tuple[Any, ...] = ()
    reads: bool = False


class Library:
    """A named Lua text and the plans that call it.

    Args:
        domain: First part of the library's name, letters only.
        source: The Lua text.
    """

    def __init__(self, domain: str, source: str) -> None:
        self.source = source
        digest = hashlib.sha256(source.encode()).hexdigest()[:12]
        self.name = f"plumb_{domain}_{digest}"
        self.script = f"{_SCRIPT_HEAD}{source}{_SCRIPT_TAIL}"
        self.sha = hashlib.sha1(self.script.encode()).hexdigest()  # noqa: S324 - EVALSHA's own
        self._scripts = False

    def command(self, call: Call) -> Command:
        """The wire command of one call, as a function or, where those are barred, a script."""
        if self._scripts:
            words = ("EVALSHA", self.sha, len(call.keys), *call.keys, call.part, *call.args)
            return Command(*words)
        verb = "FCALL_RO" if call.reads else "FCALL"
        return Command(verb, f"{self.name}_{call.part}", len(call.keys), *call.keys, *call.args)

    def calls(self, calls: Sequence[Call | Command]) -> RedisPlan[Replies]:
        """Send calls and plain commands in one round trip; load the library where it is missing.

        A call that met a server without the library did not run, so it is safe to repeat; the
        others are not sent again.

        Raises:
            StoreUnavailable: The library cannot be loaded.
        """
        replies = yield self._batch(calls)
        missing = [i for i, reply in enumerate(replies) if _is_missing(reply)]
        if not missing:
            return replies
        yield from self.load()
        again = yield self._batch([calls[i] for i in missing])
        for i, reply in zip(missing, again, strict=True):
            replies[i] = reply
        return replies

    def load(self) -> RedisPlan[None]:
        """Load the library on every primary; harmless where it is loaded already."""
        if not self._scripts:
            text = _FUNCTION_HEAD.format(name=self.name) + self.source
            load = Command("FUNCTION", "LOAD", "REPLACE", text, everywhere=True)
            (reply,) = yield (load,)
            if not isinstance(reply, Exception):
                return
            if not _functions_barred(reply):
                raise StoreUnavailable(f"The Lua library {self.name!r} was refused: {reply}.")
            self._scripts = True
        (reply,) = yield (Command("SCRIPT", "LOAD", self.script, everywhere=True),)
        if isinstance(reply, Exception):
            raise StoreUnavailable(f"Lua is refused on this server: {reply}.") from reply

    def _batch(self, calls: Sequence[Call | Command]) -> Batch:
        return tuple(c if isinstance(c, Command) else self.command(c) for c in calls)


@cache
def library(domain: str) -> Library:
    """The shipped library of a domain: `plumbgraph/redis/lua/DOMAIN.lua`, read once."""
    folder = resources.files("plumbgraph.redis") / "lua"
    return Library(domain, (folder / f"{domain}.lua").read_text(encoding="utf-8"))


def tag_of(tenant: str) -> str:
    """A tenant's name as the hash tag of its keys.

    Raises:
        SettingsError: The name would break the tag, and so could reach another tenant's keys.
    """
    if not tenant or any(mark in tenant for mark in "{}\0"):
        raise SettingsError(
            f"The tenant {tenant!r} cannot be part of a key.",
            hint="Use a name that is not empty, without braces and NUL.",
        )
    return tenant


def _is_missing(reply: Any) -> bool:
    if isinstance(reply, exceptions.NoScriptError):
        return True
    if not isinstance(reply, exceptions.ResponseError):
        return False
    text = str(reply).lower()
    return "function not found" in text or text.startswith("noscript") or _functions_barred(reply)


def _functions_barred(reply: Exception) -> bool:
    text = str(reply).lower()
    barred = "unknown command" in text or isinstance(reply, exceptions.NoPermissionError)
    return barred and ("fcall" in text or "function" in text)

"""Web addresses against filters in the form of Chromium's URLBlocklist and URLAllowlist.

Source: https://www.chromium.org/administrators/url-blocklist-filter-format/. Addresses are
brought to one form first (case, ports, dot segments, needless escapes, number forms of IPv4), so
that two spellings of one address meet the same filter.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from plumbgraph.errors import SettingsError

_STANDARD = frozenset(
    {"about", "blob", "content", "chrome", "cid", "data", "file", "filesystem", "ftp", "gopher"}
    | {"http", "https", "javascript", "mailto", "ws", "wss"}
)
_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443, "gopher": 70}
_HOSTED = frozenset({*_PORTS, "chrome"})
_ONLY_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*):(?://)?\*", re.IGNORECASE)
_UNRESERVED = re.compile(r"%(2D|2E|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A web address in its one form, as filters see it and as it must be fetched."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    def __str__(self) -> str:
        if not self.host:
            return f"{self.scheme}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS.get(self.scheme) else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{host}{port}{self.path or '/'}{query}"


@dataclass(frozen=True, slots=True)
class Filter:
    """One entry of a blocklist or an allowlist.

    Attributes:
        text: As the operator wrote it.
        allow: Whether it stands on the allowlist.
        scheme: `""` for any.
        host: `""` for any.
        subdomains: Whether hosts below `host` match too.
        port: 0 for any.
        path: A prefix.
        query: Pairs of key, value and whether a prefix suffices; value `None` for a bare key.
    """

    text: str
    allow: bool
    scheme: str = ""
    host: str = ""
    subdomains: bool = True
    port: int = 0
    path: str = ""
    query: tuple[tuple[str, str | None, bool], ...] = ()

    def matches(self, address: Address) -> bool:
        """Whether the filter speaks about this address."""
        return (
            self.scheme in ("", address.scheme)
            and self.port in (0, address.port)
            and self._matches_host(address.host)
            and address.path.startswith(self.path)
            and all(self._matches_token(token, address.query) for token in self.query)
        )

    def _matches_host(self, host: str) -> bool:
        if not self.host or host == self.host:
            return True
        return self.subdomains and host.endswith("." + self.host)

    def _matches_token(self, token: tuple[str, str | None, bool], query: str) -> bool:
        key, value, prefix = token
        pairs = [_pair(part) for part in query.split("&") if part]
        if value is None:
            return any(k.startswith(key) if prefix else k == key for k, _ in pairs)
        found = [
            (v or "").startswith(value) if prefix else v == value for k, v in pairs if k == key
        ]
        return bool(found) and (all(found) if self.allow else any(found))

    @property
    def rank(self) -> tuple[bool, bool, int, int, int, bool]:
        """Greater is more specific; of two equals the allowing one is greater."""
        blocks_all = not self.allow and self == Filter(self.text, allow=False)
        return (
            not blocks_all,
            not self.subdomains,
            len(self.host),
            len(self.path),
            len(self.query),
            self.allow,
        )


def parse_address(url: str) -> Address:
    """The address in its one form.

    Raises:
        ValueError: Two readers could understand the text differently (control characters,
            blanks, backslashes), or it is not an address.
    """
    if _FORBIDDEN.search(url):
        raise ValueError(f"{url!r} holds a blank, a backslash or a control character")
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if not scheme:
        raise ValueError(f"{url!r} has no scheme")
    if scheme not in _HOSTED:
        return Address(scheme, "", 0, url.split(":", 1)[1], "")
    host = canonical_host(parts.hostname or "")
    if not host:
        raise ValueError(f"{url!r} has no host")
    port = parts.port if parts.port is not None else _PORTS.get(scheme, 0)
    path = _without_dots(_unescape(parts.path))
    return Address(scheme, host, port, "" if path == "/" else path, _unescape(parts.query))


def parse_filter(text: str, *, allow: bool) -> Filter:
    """Read one filter.

    Raises:
        SettingsError: The text is not in the format; the message says where.
    """
    whole = text.strip()
    if only := _ONLY_SCHEME.fullmatch(whole):
        return Filter(text, allow, scheme=only["scheme"].lower())
    scheme, rest = _split_scheme(whole, text)
    if scheme and scheme not in _STANDARD:
        raise SettingsError(
            f"The address filter {text!r} has the custom scheme {scheme!r}.",
            hint=f"For a custom scheme only {scheme + ':*'!r} is possible.",
        )
    if scheme and scheme not in _HOSTED:
        return Filter(text, allow, scheme=scheme, path=rest)
    rest, _, _ = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    host, port, subdomains = _parse_authority(authority, text)
    prefix = _unescape(slash + path) if path else ""
    return Filter(text, allow, scheme, host, subdomains, port, prefix, _parse_query(query))


def deciding(filters: Iterable[Filter], address: Address) -> Filter | None:
    """The most specific filter that matches, `None` where none does."""
    return max((f for f in filters if f.matches(address)), key=lambda f: f.rank, default=None)


def _split_scheme(whole: str, text: str) -> tuple[str, str]:
    head, separator, rest = whole.partition("://")
    if separator:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*", head):
            raise SettingsError(f"The address filter {text!r} has no valid scheme before '://'.")
        return head.lower(), rest
    head, colon, rest = whole.partition(":")
    if colon and head.lower() in _STANDARD - _HOSTED:
        return head.lower(), rest
    return "", whole


def _parse_authority(authority: str, text: str) -> tuple[str, int, bool]:
    host = authority.rpartition("@")[2]
    port = 0
    if match := re.fullmatch(r"(?P<host>\[[^\]]*\]|[^:\[]*):(?P<port>.*)", host):
        host = match["host"]
        if not match["port"].isdecimal() or not 1 <= int(match["port"]) <= _MAX_PORT:
            raise SettingsError(f"The address filter {text!r} has the port {match['port']!r}.")
        port = int(match["port"])
    exact = host.startswith(".")
    host = host[1:] if exact else host
    if host == "*":
        return "", port, True
    try:
        host = canonical_host(host.strip("[]"))
    except ValueError as error:
        raise SettingsError(f"The address filter {text!r} has no valid host: {error}.") from error
    if not host or "*" in host:
        raise SettingsError(
            f"The address filter {text!r} needs a host.",
            hint="Write a whole host name (its subdomains match too), or '*' for all.",
        )
    return host, port, not (exact or _is_ip(host))


def _parse_query(query: str) -> tuple[tuple[str, str | None, bool], ...]:
    tokens = []
    for part in filter(None, query.split("&")):
        prefix = part.endswith("*")
        key, value = _pair(_unescape(part[:-1] if prefix else part))
        tokens.append((key, value, prefix))
    return tuple(tokens)


def _pair(part: str) -> tuple[str, str | None]:
    key, equals, value = part.partition("=")
    return key, value if equals else None


def canonical_host(host: str) -> str:
    """A host name in lower-case ASCII without a final dot, or an IP address in its usual form.

    Raises:
        ValueError: It is neither.
    """
    host = host.lower().rstrip(".")
    if ":" in host:
        return ipaddress.IPv6Address(host).compressed
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{host!r} is not a host name") from error
    last = host.rpartition(".")[2]
    if last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last):
        return _number_host(host)
    return host


def _number_host(host: str) -> str:
    """IPv4 as browsers and `inet_aton` read it: 1 to 4 parts, decimal, octal or hexadecimal."""
    values = [_number(part) for part in host.split(".")]
    *leading, last = values
    if len(values) > 4 or any(v > 255 for v in leading) or last >= 256 ** (5 - len(values)):  # noqa: PLR2004 - IPv4 has four bytes of 256
        raise ValueError(f"{host!r} is not an IPv4 address")
    total = last + sum(v << (8 * (3 - i)) for i, v in enumerate(leading))
    return str(ipaddress.IPv4Address(total))


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") and len(part) > 1 else int(part)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _unescape(text: str) -> str:
    """Percent-escapes of unreserved characters undone (RFC 3986 §6.2.2.2)."""
    return _UNRESERVED.sub(lambda m: chr(int(m[1], 16)), text)


def _without_dots(path: str) -> str:
    out: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if len(out) > 1:
                out.pop()
        elif part != ".":
            out.append(part)
    if path.endswith(("/.", "/..")):
        out.append("")
    return "/".join(out)

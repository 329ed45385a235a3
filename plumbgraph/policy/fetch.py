"""A web page for an agent: every address, redirects too, is asked of the policy first."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from langchain_core.tools import BaseTool, StructuredTool

from plumbgraph.errors import PolicyDenied, StoreUnavailable
from plumbgraph.policy.policy import Policy
from plumbgraph.policy.urls import Address, parse_address

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DESCRIPTION = (
    "Fetch a web address with GET and return its text. Addresses that the policy blocks are "
    "refused, also where another page redirects to them."
)


@dataclass(frozen=True, slots=True)
class Page:
    """What an address answered.

    Attributes:
        url: The address that answered, after redirects.
        status: HTTP status.
        content_type: As the server named it.
        text: The body as text, at most `max_bytes` of it.
        truncated: Whether the body was longer.
    """

    url: str
    status: int
    content_type: str
    text: str
    truncated: bool


class Fetcher:
    """Fetches web pages within a policy.

    The policy sees each address in the very form that is then connected to, and the connection
    goes to the very IP address that was looked up and judged, so neither another spelling nor a
    name that changes its address in between leads elsewhere. Environment proxies are not used.

    Args:
        policy: Asked before the first request and before each redirect.
        private: Whether addresses of this machine and of private networks may be fetched.
        max_bytes: Most bytes of a body.
        max_redirects: Most redirects to follow.
        timeout_s: Longest wait for a connection or for more bytes.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        private: bool = False,
        max_bytes: int = 2_000_000,
        max_redirects: int = 5,
        timeout_s: float = 20.0,
    ) -> None:
        self._policy = policy
        self._private = private
        self._max_bytes = max_bytes
        self._max_redirects = max_redirects
        self._timeout_s = timeout_s

    def fetch(self, url: str) -> Page:
        """The page at `url`.

        Raises:
            PolicyDenied: The policy blocks the address or one that it redirects to.
            StoreUnavailable: The server cannot be reached or redirects without end.
        """
        for _ in range(self._max_redirects + 1):
            self._policy.require(self._policy.url(url))
            page, location = self._get(parse_address(url))
            if location is None:
                return page
            url = urljoin(page.url, location.strip())
        raise StoreUnavailable(f"{url!r} redirects more than {self._max_redirects} times.")

    async def afetch(self, url: str) -> Page:
        """The page at `url`, fetched in a thread; see `fetch`."""
        return await asyncio.to_thread(self.fetch, url)

    def _get(self, address: Address) -> tuple[Page, str | None]:
        connection = self._connect(address)
        target = (address.path or "/") + (f"?{address.query}" if address.query else "")
        try:
            connection.request("GET", _ascii(target), headers={"Accept": "*/*"})
            response = connection.getresponse()
            if response.status in _REDIRECTS and response.getheader("Location"):
                return Page(str(address), response.status, "", "", False), response.getheader(
                    "Location"
                )
            body = response.read(self._max_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(f"{str(address)!r} did not answer: {error}.") from error
        finally:
            connection.close()
        kind = response.headers.get_content_type()
        charset = response.headers.get_content_charset() or "utf-8"
        text = _decode(body[: self._max_bytes], charset)
        return Page(str(address), response.status, kind, text, len(body) > self._max_bytes), None

    def _connect(self, address: Address) -> http.client.HTTPConnection:
        if address.scheme not in {"http", "https"}:
            raise PolicyDenied(
                f"{str(address)!r} is neither http nor https.", rule="web.fetch.scheme"
            )
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise StoreUnavailable(f"{address.host!r} has no IP address: {error}.") from error
        where = self._judged(address, [str(entry[4][0]) for entry in found])
        try:
            plain = socket.create_connection((where, address.port), timeout=self._timeout_s)
            plain = self._secured(plain, address)
        except OSError as error:
            raise StoreUnavailable(f"No connection to {str(address)!r}: {error}.") from error
        connection = http.client.HTTPConnection(address.host, address.port)
        connection.sock = plain
        if address.scheme == "https":
            connection.default_port = http.client.HTTPS_PORT
        return connection

    def _secured(self, plain: socket.socket, address: Address) -> socket.socket:
        if address.scheme == "http":
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=address.host)

    def _judged(self, address: Address, found: list[str]) -> str:
        """The first IP address, once all are seen to be public (or private ones are allowed)."""
        for text in found:
            ip = ipaddress.ip_address(text.partition("%")[0])
            mapped = getattr(ip, "ipv4_mapped", None) or ip
            if not self._private and (not mapped.is_global or mapped.is_multicast):
                raise PolicyDenied(
                    f"{str(address)!r} leads to {text}, which is not a public address.",
                    rule="web.fetch.private",
                    hint="Make the fetcher with private=True if that is meant.",
                )
        return found[0]


def fetch_tool(policy: Policy, **options: Any) -> BaseTool:
    """The tool `fetch` for a model: one argument `url`, declared to be a web address.

    Args:
        policy: Asked for every address.
        options: For `Fetcher`.
    """
    fetcher = Fetcher(policy, **options)

    def fetch(url: str) -> str:
        return _told(fetcher.fetch(url))

    async def afetch(url: str) -> str:
        return _told(await fetcher.afetch(url))

    work: Callable[..., str] = fetch
    return StructuredTool.from_function(
        work,
        coroutine=afetch,
        name="fetch",
        description=_DESCRIPTION,
        metadata={"url_arguments": ["url"]},
    )


def _told(page: Page) -> str:
    cut = "\n[cut here]" if page.truncated else ""
    return f"{page.status} {page.content_type} {page.url}\n\n{page.text}{cut}"


def _ascii(target: str) -> str:
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode()) for c in target)


def _decode(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset, "replace")
    except LookupError:
        return body.decode("utf-8", "replace")

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from plumbgraph.errors import PolicyDenied, StoreUnavailable
from plumbgraph.policy import Policy
from plumbgraph.policy.fetch import Fetcher, fetch_tool


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path[3:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = ("größe " * 10).encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=latin-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        pass


class _Server(ThreadingHTTPServer):
    asked: list[str]


@pytest.fixture
def site() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Site)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def _policy(*block: str) -> Policy:
    return Policy({"version": 1, "web": {"URLBlocklist": list(block)}})


def test_a_page_is_fetched_and_a_long_one_cut(site: _Server) -> None:
    root = f"http://127.0.0.1:{site.server_port}"
    page = Fetcher(_policy(), private=True, max_bytes=12).fetch(f"{root}/x?y=1")
    assert (page.status, page.text, page.truncated) == (200, "größe größe ", True)
    assert site.asked == ["/x?y=1"]


@pytest.fixture
def policy() -> Policy:
    return _policy("127.0.0.1/secret")


async def test_a_redirect_is_judged_before_it_is_followed(site: _Server, policy: Policy) -> None:
    root = f"http://127.0.0.1:{site.server_port}"
    fetcher = Fetcher(policy, private=True)
    assert (await fetcher.afetch(f"{root}/to/open")).url == f"{root}/open"
    with pytest.raises(PolicyDenied, match="blocked") as caught:
        await fetcher.afetch(f"{root}/to/secret/x")
    assert caught.value.rule == "recommended.web.URLBlocklist[0] '127.0.0.1/secret'"
    assert "/secret/x" not in site.asked


def test_addresses_of_private_networks_are_refused_unless_meant(site: _Server) -> None:
    with pytest.raises(PolicyDenied, match="not a public address"):
        Fetcher(_policy()).fetch(f"http://localhost:{site.server_port}/")
    assert site.asked == []


def test_redirects_end(site: _Server) -> None:
    url = f"http://127.0.0.1:{site.server_port}" + "/to" * 9 + "/x"
    with pytest.raises(StoreUnavailable, match="redirects more than 3"):
        Fetcher(_policy(), private=True, max_redirects=3).fetch(url)
    assert len(site.asked) == 4


async def test_the_tool_declares_its_argument_and_works_in_both_colors(
    site: _Server, policy: Policy
) -> None:
    tool = fetch_tool(policy, private=True)
    assert tool.metadata == {"url_arguments": ["url"]}
    url = f"http://127.0.0.1:{site.server_port}/x"
    told = await asyncio.to_thread(tool.invoke, {"url": url})
    assert await tool.ainvoke({"url": url}) == told

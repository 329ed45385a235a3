"""Hostile messages to `plumbgraph mcp` over the real wire: it answers or ignores, and lives on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plumbgraph.memory import MemoryStore

PLACE = ("fuzzed", "mcp")
NESTED = b"[" * 20_000
EXAMPLES = int(os.environ.get("PLUMBGRAPH_FUZZ_EXAMPLES", "60"))
NASTY: list[Any] = [
    *(None, True, -1, 2**70, 1.5, "", "\ud800", "\0", "x" * 5_000, [], {}, [[]], {"a": None}),
]
TOOLS = ("remember", "recall", "facts", "forget", "no_such", "", "../x")
METHODS = (
    *("tools/call", "tools/list", "ping", "initialize", "resources/read", "prompts/get"),
    *("notifications/cancelled", "notifications/initialized", "completion/complete", "no/such", ""),
)


class Wire:
    """A client of the server's standard input and output, which checks nothing that it sends."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "plumbgraph.cli", "mcp", "--url", url]
        self.child = subprocess.Popen(
            [*command, "--namespace", "/".join(PLACE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._ids = count(1)
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "fuzz", "version": "1"},
        }
        assert "result" in self.ask("initialize", hello)
        self.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode())

    def send(self, line: bytes) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(line + b"\n")
        self.child.stdin.flush()

    def ask(self, method: str, params: Any) -> Any:
        """The answer to a well-formed request, whatever else is said before it."""
        own = f"ours-{next(self._ids)}"
        asked = {"jsonrpc": "2.0", "id": own, "method": method, "params": params}
        self.send(json.dumps(asked).encode())
        assert self.child.stdout is not None
        for line in self.child.stdout:
            told = json.loads(line)
            assert told["jsonrpc"] == "2.0"
            if told.get("id") == own:
                return told
        raise AssertionError(f"the server ended: {self.child.wait()}")

    def call(self, tool: str, arguments: Any) -> tuple[bool, str]:
        """Whether a tool failed, and what it said."""
        told = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if "error" in told:
            return True, str(told["error"]["message"])
        found = told["result"]
        return bool(found.get("isError")), found["content"][0]["text"]

    def lives(self) -> None:
        told = self.ask("tools/list", {})
        assert {tool["name"] for tool in told["result"]["tools"]} == set(TOOLS[:4])

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        try:
            self.child.wait(30)
        finally:
            self.child.kill()


@pytest.fixture
def wire(redis_url: str) -> Iterator[Wire]:
    pytest.importorskip("mcp")
    made = Wire(redis_url)
    yield made
    made.close()


BROKEN = {
    "no json": b"hello",
    "nothing": b"",
    "cut off": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/',
    "bytes that are no text": b"\xff\xfe\x00\xc3\x28",
    "a null byte": b'{"jsonrpc": "2.0", "id": 1, "method": "pi\x00ng"}',
    "half a surrogate": b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}',
    "no object": b"42",
    "a batch": b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
    "another version": b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
    "no method": b'{"jsonrpc": "2.0", "id": 1}',
    "a method of another type": b'{"jsonrpc": "2.0", "id": 1, "method": {"a": 1}}',
    "an id of another type": b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}',
    "parameters of another type": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": 5}',
    "an answer nobody asked for": b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
    "an error nobody asked for": b'{"jsonrpc": "2.0", "id": 9, "error": {"code": "x"}}',
    "not a number": b'{"jsonrpc": "2.0", "id": NaN, "method": "ping"}',
    "a number too long": b'{"jsonrpc": "2.0", "id": ' + b"9" * 5_000 + b', "method": "ping"}',
    "too deep": NESTED,
    "too deep inside": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + NESTED + b"}",
    "huge": b'{"jsonrpc": "2.0", "id": 1, "method": "' + b"x" * 8_000_000 + b'"}',
}


def test_lines_that_are_no_request_leave_the_server_serving(wire: Wire) -> None:
    for what, line in BROKEN.items():
        wire.send(line)
        assert wire.call("facts", {"subject": "ann"}) == (False, "Nothing is known."), what
    wire.lives()


def test_calls_with_wrong_tools_and_arguments_fail_and_write_nothing(
    wire: Wire, redis_url: str
) -> None:
    fact = {"subject": "ann", "attribute": "city", "value": "Portland"}
    no_arguments: list[Any] = [None, {}, [], "x", 5]
    no_values: list[Any] = [{}, [], {"a": 1}]
    wrong: list[tuple[str, Any]] = [
        *(("no_such", fact), ("", fact), ("__init__", fact)),
        *(("remember", given) for given in no_arguments),
        *(("remember", {**fact, name: None}) for name in fact),
        *(("remember", {**fact, "value": given}) for given in no_values),
        *(("remember", {**fact, name: ""}) for name in ("subject", "attribute")),
        *(("remember", {k: v for k, v in fact.items() if k != gone}) for gone in fact),
        ("recall", {"query": "x", "token_budget": "many"}),
        ("recall", {"query": ["x"]}),
        ("forget", {"subject": {}, "attribute": 1}),
    ]
    for tool, arguments in wrong:
        failed, said = wire.call(tool, arguments)
        assert failed, (tool, arguments, said)
        assert "Traceback" not in said
    with MemoryStore(redis_url) as store:
        assert store.search(PLACE) == []
    assert wire.call("remember", fact)[0] is False
    assert "Portland" in wire.call("facts", {"subject": "ann"})[1]


values = st.recursive(
    st.sampled_from(NASTY) | st.text(max_size=20) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
arguments = st.dictionaries(
    st.sampled_from(["subject", "attribute", "value", "query", "token_budget", "source", "x"]),
    values,
    max_size=5,
)
parameters = values | st.fixed_dictionaries(
    {"name": st.sampled_from(TOOLS) | values, "arguments": arguments | values}
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", 2, None])},
    optional={
        "id": st.integers(-5, 5) | st.text(max_size=5) | values,
        "method": st.sampled_from(METHODS) | values,
        "params": parameters,
    },
)


def test_no_message_at_all_stops_the_server(wire: Wire) -> None:
    @given(st.lists(messages, min_size=1, max_size=6))
    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    def sent(told: list[Any]) -> None:
        for message in told:
            wire.send(json.dumps(message).encode())
        wire.lives()

    sent()

"""A model provider on this machine: OpenAI's chat completions over real HTTP, faults, a bill."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self, TypeAlias

FaultKind: TypeAlias = Literal[
    "rate_limited", "server", "timeout", "cut", "truncated", "malformed", "auth", "context", "dead",
]  # fmt: skip
"""`cut` breaks the connection in the middle; `truncated` ends the stream politely but early."""

_STATUS = {"rate_limited": 429, "server": 503, "auth": 401, "context": 400, "dead": 500}
_CHARS_PER_TOKEN = 4
_WORDS = ("The ", "answer ", "is ", "forty-", "two.")


@dataclass(frozen=True, slots=True)
class Billed:
    """One row of the provider's bill.

    Attributes:
        response_id: The id it gave the response.
        model: The model.
        input_tokens: Prompt tokens.
        output_tokens: Answer tokens.
        key: The last message's text, by which a test knows its own calls.
    """

    response_id: str
    model: str
    input_tokens: int
    output_tokens: int
    key: str


class Provider:
    """An HTTP server that answers like OpenAI and writes down what it bills.

    Every answer it begins to send is billed, whether or not the client lives to read it; errors
    with a status are not. Use it as a context manager.

    Args:
        delay_s: Wait before each answer.
        hang_s: How long the fault `timeout` holds a request.
    """

    def __init__(self, *, delay_s: float = 0.0, hang_s: float = 5.0) -> None:
        self.delay_s = delay_s
        self.hang_s = hang_s
        self.bill: list[Billed] = []
        self.asked: Counter[str] = Counter()
        self.bodies: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, FaultKind] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.daemon = True

    @property
    def url(self) -> str:
        """Base URL for a client of OpenAI's API."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def received(self, model: str, body: dict[str, Any]) -> FaultKind | None:
        """Count a request and keep it as the model's latest; the fault it is to meet."""
        with self._lock:
            self.asked[model] += 1
            self.bodies[model] = body
        return self.faults.get(model)

    def billed(self, model: str, input_tokens: int, output_tokens: int, key: str) -> str:
        """Write a row of the bill; the response's id."""
        with self._lock:
            response_id = f"chatcmpl-{len(self.bill):08d}"
            self.bill.append(Billed(response_id, model, input_tokens, output_tokens, key))
        return response_id


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    provider: Provider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what this server is for; nothing to print."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        provider, model = self.server.provider, str(body["model"])
        fault = provider.received(model, body)
        if fault in _STATUS:
            self._refuse(fault)
            return
        time.sleep(provider.hang_s if fault == "timeout" else provider.delay_s)
        prompt = len(json.dumps(body["messages"])) // _CHARS_PER_TOKEN
        sent = prompt, len(_WORDS), str(body["messages"][-1]["content"])
        response_id = provider.billed(model, *sent)
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": len(_WORDS),
            "total_tokens": prompt + len(_WORDS),
        }
        head = {"id": response_id, "model": model, "created": 1}
        if body.get("stream"):
            self._stream(head, usage, fault)
        else:
            self._answer(head, usage, fault)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Tests print what they need."""

    def _refuse(self, fault: str) -> None:
        words = {"context": "This model's maximum context length is 8 tokens."}
        told = {"error": {"message": words.get(fault, fault), "type": fault, "code": fault}}
        headers = {"Retry-After": "2"} if fault == "rate_limited" else {}
        self._send(_STATUS[fault], json.dumps(told).encode(), headers)

    def _answer(self, head: dict[str, Any], usage: dict[str, int], fault: str | None) -> None:
        choice = {
            "index": 0,
            "finish_reason": None if fault == "truncated" else "stop",
            "message": {"role": "assistant", "content": "".join(_WORDS)},
        }
        told = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        text = json.dumps(told).encode()
        if fault == "malformed":
            text = text[: len(text) // 2]
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text[: len(text) // 2])
            self.close_connection = True
            return
        self._send(200, text)

    def _stream(self, head: dict[str, Any], usage: dict[str, int], fault: str | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(_events(head, usage)):
            if fault == "cut" and number == 3:  # noqa: PLR2004 - in the middle
                self.close_connection = True
                return
            if fault == "truncated" and number == 3:  # noqa: PLR2004 - in the middle
                break
            text = "{broken" if fault == "malformed" and number == 1 else json.dumps(event)
            self._chunk(f"data: {text}\n\n")
        self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _events(head: dict[str, Any], usage: dict[str, int]) -> Iterator[dict[str, Any]]:
    chunk = {**head, "object": "chat.completion.chunk"}
    for word in _WORDS:
        delta = {"role": "assistant", "content": word}
        yield {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**chunk, "choices": [], "usage": usage}

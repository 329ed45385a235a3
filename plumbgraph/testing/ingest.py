"""A local server that speaks LangSmith's ingest protocol, with faults on request.

The real SDK sends to it what it would send to LangSmith; the runs can then be looked at::

    with IngestServer() as server:
        client = langsmith.Client(api_url=server.url, api_key="none")
        …
        client.flush()
        assert server.open_roots() == []

Covers `GET /info`, `POST /runs/multipart` (plain or zstd), `POST /runs/batch`, `POST /runs`,
`PATCH /runs/ID` and `POST /feedback`. It listens on the loopback interface only.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import zstandard

_TAKEN = 202
_RUN = re.compile(r"/runs/(?P<id>[0-9a-f-]{36})")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived.

    Attributes:
        path: Path of the request.
        encoding: Its Content-Encoding, or `""`.
        size_bytes: Bytes on the wire.
        status: What the server answered.
        parts: Names of the multipart parts, in order.
        raw: The body after decompression.
    """

    path: str
    encoding: str
    size_bytes: int
    status: int
    parts: tuple[str, ...] = ()
    raw: bytes = b""


@dataclass(slots=True)
class Fault:
    """How the next requests fail: a status, a delay in seconds, a dropped connection."""

    status: int | None = None
    delay_s: float = 0.0
    drop: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class IngestServer:
    """Keeps every run, feedback and request it was sent, in memory.

    Args:
        zstd: Whether `/info` offers compression.
        multipart: Whether `/info` offers the multipart endpoint.
        size_limit_bytes: Larger bodies are answered with 413.
        port: 0 takes a free one.

    Attributes:
        runs: Run by id, its post and patch merged.
        feedback: Feedback entries in the order of arrival.
        requests: Every ingest request, refused ones too.
        errors: Parts that could not be parsed.
    """

    def __init__(
        self,
        *,
        zstd: bool = True,
        multipart: bool = True,
        size_limit_bytes: int = 20 * 1024 * 1024,
        port: int = 0,
    ) -> None:
        self.zstd = zstd
        self.multipart = multipart
        self.size_limit_bytes = size_limit_bytes
        self.runs: dict[str, dict[str, Any]] = {}
        self.feedback: list[dict[str, Any]] = []
        self.requests: list[Received] = []
        self.errors: list[str] = []
        self._faults: deque[Fault] = deque()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"ingest": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What to give the SDK as `api_url` or `LANGSMITH_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(
        self,
        status: int | None = None,
        *,
        times: int = 1,
        delay_s: float = 0.0,
        drop: bool = False,
        retry_after_s: int | None = None,
    ) -> None:
        """Let the next `times` ingest requests fail, wait or drop the connection."""
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self._faults.extend(Fault(status, delay_s, drop, headers) for _ in range(times))

    def heal(self) -> None:
        """Forget the faults that have not happened yet."""
        self._faults.clear()

    def roots(self) -> list[dict[str, Any]]:
        """Runs without a parent."""
        return [run for run in self.runs.values() if not run.get("parent_run_id")]

    def open_roots(self) -> list[dict[str, Any]]:
        """Roots that were never ended."""
        return [run for run in self.roots() if not run.get("end_time")]

    def orphans(self) -> list[dict[str, Any]]:
        """Runs whose parent never arrived."""
        return [
            run
            for run in self.runs.values()
            if run.get("parent_run_id") and run["parent_run_id"] not in self.runs
        ]

    def contains(self, text: str) -> bool:
        """Whether any request held this text, anywhere."""
        needle = text.encode()
        return any(needle in request.raw for request in self.requests)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._thread:
            self._thread.join(timeout=5)

    # Called by the request handler

    def info(self) -> dict[str, Any]:
        """The body of `GET /info`."""
        return {
            "version": "0.15.0",
            "instance_flags": {"zstd_compression_enabled": self.zstd},
            "batch_ingest_config": {
                "use_multipart_endpoint": self.multipart,
                "size_limit": 100,
                "size_limit_bytes": self.size_limit_bytes,
                "scale_up_nthreads_limit": 16,
                "scale_up_qsize_trigger": 1000,
                "scale_down_nempty_trigger": 4,
            },
        }

    def next_fault(self) -> Fault:
        """The fault of this request; an empty one for none."""
        with self._lock:
            return self._faults.popleft() if self._faults else Fault()

    def keep(self, request: Received) -> None:
        """Note a request."""
        with self._lock:
            self.requests.append(request)

    def merge(self, run: dict[str, Any]) -> None:
        """Add a post or patch to the run it belongs to."""
        with self._lock:
            known = self.runs.setdefault(str(run["id"]), {})
            known.update({key: value for key, value in run.items() if value is not None})

    def take_parts(self, parts: list[tuple[str, bytes]]) -> None:
        """Merge the parts of one multipart body."""
        for name, content in parts:
            event, _, rest = name.partition(".")
            run_id, _, key = rest.partition(".")
            try:
                if event == "attachment":
                    continue
                value = json.loads(content)
                if event == "feedback":
                    self.feedback.append(value)
                elif key:
                    self.merge({"id": run_id, key: value})
                else:
                    self.merge(value)
            except (ValueError, KeyError) as error:
                self.errors.append(f"{name}: {error}")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in the middle are what this server is for."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    ingest: IngestServer

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/info":
            self._answer(200, self.ingest.info())
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        self._ingest()

    def do_PATCH(self) -> None:
        self._ingest()

    def _ingest(self) -> None:
        path = urlsplit(self.path).path
        wire = self._body()
        fault = self.ingest.next_fault()
        if fault.delay_s:
            time.sleep(fault.delay_s)
        encoding = self.headers.get("Content-Encoding", "")
        status = fault.status or (413 if len(wire) > self.ingest.size_limit_bytes else _TAKEN)
        raw = _decompressed(wire, encoding)
        if status == _TAKEN and not fault.drop:
            status = self._take(path, raw)
        names = tuple(name for name, _ in self._parts(raw)) if "multipart" in path else ()
        self.ingest.keep(Received(path, encoding, len(wire), status, names, raw))
        if fault.drop:
            self.close_connection = True
            return
        self._answer(status, {"status": status}, fault.headers)

    def _take(self, path: str, raw: bytes) -> int:
        if path == "/runs/multipart":
            self.ingest.take_parts(self._parts(raw))
        elif path == "/runs/batch":
            batch = json.loads(raw)
            for run in [*(batch.get("post") or []), *(batch.get("patch") or [])]:
                self.ingest.merge(run)
        elif path == "/runs":
            self.ingest.merge(json.loads(raw))
        elif match := _RUN.fullmatch(path):
            self.ingest.merge({**json.loads(raw), "id": match["id"]})
        elif path == "/feedback":
            self.ingest.feedback.append(json.loads(raw))
        else:
            return 404
        return _TAKEN

    def _parts(self, raw: bytes) -> list[tuple[str, bytes]]:
        boundary = _parameter("Content-Type", self.headers.get("Content-Type", ""), "boundary")
        found = []
        for piece in raw.split(b"--" + boundary.encode())[1:-1]:
            head, _, content = piece.strip(b"\r\n").partition(b"\r\n\r\n")
            name = _parameter("Content-Disposition", _header(head, "Content-Disposition"), "name")
            found.append((name, content))
        return found

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(
        self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        with contextlib.suppress(ConnectionError):  # a client may have died meanwhile
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Stay quiet; what arrived is in `requests`."""


def _decompressed(wire: bytes, encoding: str) -> bytes:
    if encoding != "zstd":
        return wire
    with zstandard.ZstdDecompressor().stream_reader(wire, read_across_frames=True) as reader:
        return reader.read()


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == name.lower():
            return value.strip()
    return ""


def _parameter(header: str, value: str, name: str) -> str:
    message = Message()
    message[header] = value
    found = message.get_param(name, header=header)
    return found if isinstance(found, str) else ""

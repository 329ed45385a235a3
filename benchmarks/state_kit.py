"""What `check_saver` says of each saver, and whether an encrypting one stores anything in clear."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from psycopg_pool import ConnectionPool

from benchmarks.state_peers import PG, US, Peer, Rows, peers
from plumbgraph.errors import DataCorrupt
from plumbgraph.state import Encryption, PlumbSaver
from plumbgraph.state.frames import unwrap
from plumbgraph.testing import check_saver

_MARK, _END = "<!-- what the kit found -->", "<!-- end of what the kit found -->"
_CLEAR = "nothing is stored in clear"


def kit(url: str, redis_url: str | None) -> Rows:
    """A row a probe, a column a saver."""
    with peers(url, redis_url, wide=True) as found, ExitStack() as stack:
        reports = {name: check_saver(_opened(peer, stack)) for name, peer in found.items()}
    rows: Rows = []
    for at, finding in enumerate(reports[US].findings):
        outcomes = {name: report.findings[at].outcome for name, report in reports.items()}
        rows.append({"probe": finding.probe, **outcomes})
    for name, report in reports.items():
        for each in report.failures:
            print(f"{name}: {each.probe}: {each.reason}")
    sealed = {PG: _postgres, US: _plumb, "SqliteSaver": _sqlite}
    clear = {name: sealed[name](url) if name in sealed else "n/a" for name in reports}
    clear["AsyncPostgresSaver"] = "not asked"  # it fills the same tables as its blocking twin
    return [*rows, {"probe": f"{_CLEAR}, encrypting", **clear}]


def into_docs(rows: Rows, path: Path) -> None:
    """Put what the kit found into a page, between its two marks."""
    names = list(rows[0])
    lines = ["| " + " | ".join(name.removesuffix("Saver") for name in names) + " |"]
    lines.append("|" + "---|" * len(names))
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(_MARK)
    _, _, after = rest.partition(_END)
    whole = f"{before}{_MARK}\n" + "\n".join(lines) + f"\n{_END}{after}"
    path.write_text(whole, encoding="utf-8")


def _opened(peer: Peer, stack: ExitStack) -> Callable[[], Any]:
    saver, loop = peer.saver, peer.loop
    if loop is not None:
        # Its blocking methods hand their work to a loop that runs in another thread.
        turning = threading.Thread(target=loop.run_forever, daemon=True)
        turning.start()
        stack.callback(turning.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
    return lambda: nullcontext(saver)


class _Aes:
    """A cipher for LangGraph's EncryptedSerializer."""

    def __init__(self) -> None:
        self._key = AESGCM(AESGCM.generate_key(256))

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """The cipher's name, and the sealed bytes."""
        nonce = os.urandom(12)
        return "aes", nonce + self._key.encrypt(nonce, plaintext, None)

    def decrypt(self, _: str, ciphertext: bytes) -> bytes:
        """The bytes that were sealed."""
        return self._key.decrypt(ciphertext[:12], ciphertext[12:], None)


def _asked(open_: Callable[[], AbstractContextManager[Any]], holds: Callable[[bytes], bool]) -> str:
    findings = check_saver(open_, holds=holds).findings
    return next(each.outcome for each in findings if each.probe == _CLEAR)


def _plumb(url: str) -> str:
    with _schema(url) as schema:
        keys = Encryption(keys={"k": os.urandom(32)}, current="k")
        options: Any = {"schema": schema, "encryption": keys, "adopt": "off"}
        return _asked(lambda: PlumbSaver(url, **options), lambda words: _holds(url, schema, words))


def _postgres(url: str) -> str:
    kwargs: Any = {"autocommit": True, "prepare_threshold": 0}
    with _schema(url) as schema:
        kwargs["options"] = f"-csearch_path={schema}"
        with ConnectionPool(url, min_size=1, kwargs=kwargs) as pool:
            saver = PostgresSaver(pool, serde=EncryptedSerializer(_Aes()))  # type: ignore[arg-type]
            saver.setup()
            return _asked(lambda: nullcontext(saver), lambda words: _holds(url, schema, words))


def _sqlite(_: str) -> str:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with (
        tempfile.TemporaryDirectory() as folder,
        SqliteSaver.from_conn_string(f"{folder}/state.db") as saver,
    ):
        saver.serde = EncryptedSerializer(_Aes())

        def holds(words: bytes) -> bool:
            return any(words in path.read_bytes() for path in Path(folder).iterdir())

        return _asked(lambda: nullcontext(saver), holds)


@contextmanager
def _schema(url: str) -> Iterator[str]:
    name = f"sealed_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'CREATE SCHEMA "{name}"')
        yield name
        admin.execute(f'DROP SCHEMA "{name}" CASCADE')


def _holds(url: str, schema: str, words: bytes) -> bool:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
    with psycopg.connect(url) as link:
        for (table,) in link.execute(tables, (schema,)).fetchall():
            for row in link.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall():
                if any(words in _readable(value) for value in row):
                    return True
    return False


def _readable(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return repr(value).encode()
    try:
        return value + unwrap(value)
    except DataCorrupt:
        return value

"""Servers that are full or refuse a login, and schemas with odd names: typed errors, no loss."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from psycopg.conninfo import make_conninfo

from plumbgraph import servers
from plumbgraph.errors import AccessDenied, StoreUnavailable
from plumbgraph.state import PlumbSaver

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


def _put(saver: PlumbSaver, parent: Any, step: int) -> Any:
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"value": random.Random(step).randbytes(60_000)}
    checkpoint["channel_versions"] = {"value": step}
    stored = saver.put(parent, checkpoint, {"source": "loop", "step": step}, {"value": step})
    return {"configurable": {"checkpoint_ns": "", **stored["configurable"]}}


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="plumb-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        folder.rmdir()
        pytest.skip("a disk of its own cannot be mounted here")
    (folder / "ballast").write_bytes(bytes(400_000))
    (folder / "space").mkdir(mode=0o777)
    (folder / "space").chmod(0o777)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk(postgres_url: str, schema: str, small_disk: Path) -> None:
    space = f"space_{schema}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        try:
            admin.execute(f"CREATE TABLESPACE {space} LOCATION '{small_disk}/space'")
        except psycopg.Error as error:
            pytest.skip(f"this server cannot use the small disk: {error}")
        url = make_conninfo(postgres_url, options=f"-cdefault_tablespace={space}")
        try:
            with PlumbSaver(url, schema=schema, adopt="off") as saver:
                _filled(saver, small_disk / "ballast")
        finally:
            admin.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
            admin.execute(f"DROP TABLESPACE {space}")


def _filled(saver: PlumbSaver, ballast: Path) -> None:
    head, stored = CONFIG, 0
    told: StoreUnavailable | None = None
    while told is None and stored < 100:
        try:
            head = _put(saver, head, stored + 1)
            stored += 1
        except StoreUnavailable as error:
            told = error
    assert told is not None
    assert "No space left" in str(told)
    assert "Free disk space" in told.hint
    assert stored > 3
    # What was acknowledged is there, and nothing of the step that was not.
    saver.forget()
    assert [each.metadata["step"] for each in saver.list(CONFIG)] == list(range(stored, 0, -1))
    # Once there is room again the same run goes on.
    ballast.unlink()
    _put(saver, head, stored + 1)
    found = saver.get_tuple(CONFIG)
    assert found is not None
    assert found.metadata["step"] == stored + 1


def test_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="plumb-pw-"))
    try:
        with servers.up(folder / "h", tcp=True, tune="test") as up:
            url = make_conninfo(up.tcp_urls["postgres"], password="guessed-by-nobody")
            with (
                PlumbSaver(url) as saver,
                pytest.raises(AccessDenied, match="refused the login") as told,
            ):
                saver.get_tuple(CONFIG)
            assert "guessed-by-nobody" not in f"{told.value} {told.value.facts}"
            assert "password" in told.value.hint
    finally:
        servers.down(folder / "h")
        shutil.rmtree(folder)


def test_a_schema_named_like_a_word_of_sql(postgres_url: str) -> None:
    with PlumbSaver(postgres_url, schema="select", adopt="off") as saver:
        _put(saver, CONFIG, 1)
        assert saver.get_tuple(CONFIG) is not None
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute('DROP SCHEMA "select" CASCADE')

from __future__ import annotations

from pathlib import Path

import pytest

from plumbgraph.errors import SettingsError
from plumbgraph.settings import Settings, default_home, redacted


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME", "SCHEMA", "TENANT", "LOG", "POLICY"):
        monkeypatch.delenv(f"PLUMBGRAPH_{name}", raising=False)


def test_defaults_need_no_environment() -> None:
    told = Settings.load()
    assert told.postgres_url is None
    assert told.redis_url is None
    assert told.home == default_home()
    assert (told.schema_name, told.tenant) == ("plumbgraph", "default")


def test_reads_the_environment_and_arguments_win(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", "postgresql://me@db/x")
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", "agents")
    monkeypatch.setenv("PLUMBGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("PLUMBGRAPH_LOG", "events.jsonl")
    told = Settings.load(redis_url="unix:///run/valkey.sock", tenant="t")
    assert told.postgres_url == "postgresql://me@db/x"
    assert told.redis_url == "unix:///run/valkey.sock"
    assert (told.schema_name, told.tenant, told.home) == ("agents", "t", tmp_path)
    assert told.log == Path.cwd() / "events.jsonl"
    assert Settings.load(postgres_url=None).postgres_url is None


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", "")
    assert Settings.load().redis_url is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("POSTGRES_URL", "mysql://u:hush@h/d", "must begin with postgresql://"),
        ("POSTGRES_URL", "postgresql://u:hush@h:port/d", "is not a URL"),
        ("REDIS_URL", "http://u:hush@h", "must begin with redis://"),
        ("REDIS_URL", "unix://", "names no socket"),
        ("SCHEMA", "Robert'; DROP", "PLUMBGRAPH_SCHEMA"),
        ("TENANT", "t" * 200, "PLUMBGRAPH_TENANT"),
    ],
)
def test_bad_values_are_named_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"PLUMBGRAPH_{name}", value)
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.load()
    assert f"PLUMBGRAPH_{name}" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(SettingsError):
        Settings.load(postgres="postgresql://h/d")


def test_repr_hides_passwords() -> None:
    told = Settings.load(
        postgres_url="postgresql://me:hush@db/x", redis_url="unix:///s.sock?password=hush&db=1"
    )
    assert "hush" not in repr(told)
    assert "hush" not in str(told)
    assert "me:***@db" in repr(told)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hush@h:1/0", "redis://:***@h:1/0"),
        ("postgresql://u@/d?host=/x&password=hush", "postgresql://u@/d?host=/x&password=***"),
        ("unix:///s.sock", "unix:///s.sock"),
        ("postgresql://[broken", "***"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_the_home_follows_the_desktop_standard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_home() == tmp_path / "plumbgraph"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert default_home() == Path.home() / ".local" / "share" / "plumbgraph"

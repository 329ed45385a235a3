"""The rights the page for operators asks for are enough, and no more than that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from plumbgraph import SkillLibrary
from plumbgraph.cli import doctor_postgres, doctor_redis
from plumbgraph.errors import AccessDenied, PlumbError
from plumbgraph.postgres.migrate import known, script
from plumbgraph.settings import Settings
from plumbgraph.state.retention import Retention


@pytest.fixture
def limited(
    postgres_url: str, schema: str, page: Callable[[str], list[str]], old_tables: None
) -> Iterator[str]:
    """URL of a role with the page's rights, made after the printed SQL was applied."""
    (sql,) = [each for each in page("sql") if "CREATE ROLE" in each]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        database = admin.info.dbname
        admin.execute(script(schema))
        sql = sql.replace("plumbgraph_worker", f"{schema}_w").replace("plumbgraph", schema)
        admin.execute(re.sub(r"DATABASE \w+", f'DATABASE "{database}"', sql))
        yield re.sub(r"://([^@/]*@)?", f"://{schema}_w:word@", postgres_url, count=1)
        admin.execute(f"DROP SCHEMA {schema} CASCADE")
        admin.execute(f"DROP OWNED BY {schema}_w; DROP ROLE {schema}_w")


@pytest.fixture
def redis_worker(redis_url: str, schema: str, page: Callable[[str], list[str]]) -> Iterator[str]:
    """URL of a Redis user with the page's rights."""
    (line,) = [each for each in page("text") if "ACL SETUSER" in each]
    words = [schema if word == "plumbgraph" else word for word in line.split()]
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command(*words)
        yield re.sub(r"^(\w+)://", rf"\1://{words[2]}:word@", redis_url)
        admin.execute_command("ACL", "DELUSER", words[2])


def test_an_agent_with_every_part_runs_with_these_rights(
    limited: str, redis_worker: str, schema: str, tmp_path: Path, office: Callable[..., Any]
) -> None:
    at_work = office(limited, redis_worker, tmp_path, schema=schema)
    at_work.publish(tmp_path)
    assert at_work.begin("t")["__interrupt__"]
    assert at_work.answer("t")["messages"][-1].text == "all done"
    assert at_work.outside == ["hello", "goodbye"]
    at_work.move("Seattle")
    at_work.move("Portland")
    upkeep(at_work)
    assert SkillLibrary([tmp_path / "source"]).open("pdf").name == "pdf"


def upkeep(at_work: Any) -> None:
    """What `recover`, `maintain`, `state` and `memory` do."""
    saver, store = at_work.saver, at_work.store
    with saver.claim("t"):
        pass
    saver.accept("later", {"messages": []})
    saver.recover(lambda: at_work.agent)
    saver.retain("t", Retention(keep_last=1))
    saver.sweep()
    saver.copy_thread("t", "copy")
    saver.delete_thread("copy")
    assert saver.size().table_bytes
    store.sleep(("users", "ann"))
    store.sweep()
    assert store.erase("Ann").items
    assert store.import_lines(store.export()) >= 0
    assert store.list_namespaces() is not None


def test_the_doctor_finds_nothing_wrong_with_them(
    limited: str, redis_worker: str, schema: str
) -> None:
    told = Settings.load(postgres_url=limited, redis_url=redis_worker, schema_name=schema)
    found = [*doctor_postgres.postgres(told), *doctor_redis.redis(told)]
    faults = {each.code for each in found if each.verdict == "fault"}
    assert faults <= {"postgres.not_durable"}, "the tests' own server does not wait for the disk"
    assert not {"postgres.superuser", "postgres.may_change"} & {each.code for each in found}


def test_the_role_can_neither_change_tables_nor_look_elsewhere(limited: str, schema: str) -> None:
    for forbidden in (
        f"DROP TABLE {schema}.thread",
        f"ALTER TABLE {schema}.thread ADD x int",
        f"CREATE TABLE {schema}.other (x int)",
        f"TRUNCATE {schema}.thread",
        "CREATE SCHEMA elsewhere",
        "CREATE ROLE another",
    ):
        with psycopg.connect(limited) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(forbidden)


def test_the_redis_user_can_neither_empty_nor_configure_nor_look_elsewhere(
    redis_url: str, redis_worker: str
) -> None:
    with redis.Redis.from_url(redis_url) as admin, redis.Redis.from_url(redis_worker) as user:
        admin.set("other", "secret")
        for forbidden in ("FLUSHALL", "CONFIG GET dir", "KEYS *", "GET other", "FUNCTION FLUSH"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                user.execute_command(*forbidden.split())
        assert admin.get("other") == b"secret"


def test_a_role_that_lacks_new_tables_is_told_what_to_do(
    limited: str, schema: str, postgres_url: str, tmp_path: Path, redis_url: str, office: Any
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"DELETE FROM {schema}.migrations WHERE number = {known()[-1].number}")
    at_work = office(limited, redis_url, tmp_path, schema=schema)
    with pytest.raises(PlumbError) as told:
        at_work.saver.threads()
    assert isinstance(told.value, AccessDenied)
    assert "setup --print-sql" in told.value.hint

"""What listing and recovery read of many threads: as much as they return, not as many as there are.

The server says so itself: each statement is explained as it ran, over twenty thousand threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from plumbgraph.postgres.migrate import known, script
from plumbgraph.postgres.statement import Statement
from plumbgraph.state import PlumbSaver, RecoveryRules

MANY = 20_000

FILL = """
INSERT INTO {schema}.thread (tenant, thread_id)
SELECT CASE WHEN n %% 10 = 0 THEN 'other' ELSE 'default' END, 'old' || n
FROM generate_series(1, %(many)s) AS n;
"""
STREAMS = """
INSERT INTO {schema}.stream (thread, ns, touched_at, head)
SELECT id, '', now() - interval '1 day' - id * interval '1 s', '\\x01'::bytea FROM {schema}.thread;
"""


@pytest.fixture
def saver(postgres_url: str, schema: str) -> Iterator[PlumbSaver]:
    with PlumbSaver(postgres_url, schema=schema, adopt="off") as made:
        made.setup()
        yield made


@pytest.fixture
def crowded(saver: PlumbSaver) -> PlumbSaver:
    """A saver with very many old threads, two of them touched just now."""
    saver.database.send((Statement(FILL, {"many": MANY}),))
    saver.database.send((Statement(STREAMS),))
    saver.database.send((Statement("ANALYZE {schema}.thread, {schema}.stream", binary=False),))
    for name in ("one", "two"):
        config: Any = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        saver.put(config, empty_checkpoint(), {"source": "loop", "step": 3}, {})
    return saver


class Explained:
    """Stands before a database's `send`, and counts the rows its scans read of some tables."""

    def __init__(self, saver: PlumbSaver, *tables: str) -> None:
        self.saver, self.tables, self.rows = saver, tables, 0
        self.inner = saver.database.send
        saver.database.send = self  # type: ignore[method-assign]

    def __call__(self, batch: Any) -> Any:
        for each in batch:
            if "INSERT" in each.sql or "UPDATE" in each.sql:
                continue
            text = "EXPLAIN (ANALYZE, FORMAT JSON) " + each.sql
            (told,) = self.inner((Statement(text, each.params),))[0]
            self._count(told[0][0]["Plan"] if isinstance(told[0], list) else told[0]["Plan"])
        return self.inner(batch)

    def _count(self, node: dict[str, Any]) -> None:
        if node.get("Relation Name") in self.tables:
            kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
            read = sum(node.get(kind, 0) for kind in kinds)
            self.rows += int(read * node["Actual Loops"])
        for child in node.get("Plans", ()):
            self._count(child)


def test_listing_reads_about_what_it_returns(crowded: PlumbSaver) -> None:
    told = Explained(crowded, "thread", "stream")
    found = crowded.threads(limit=10)
    assert [each.thread_id for each in found[:2]] == ["two", "one"]
    assert [each.steps for each in found[:2]] == [3, 3]
    newest = [f"old{n}" for n in range(1, 10) if n % 10][: 10 - 2]
    assert [each.thread_id for each in found[2:]] == newest
    # A minute holds sixty of the old threads; each row of theirs is met a few times.
    assert 0 < told.rows < 1000


def test_listing_them_all_lists_them_all(crowded: PlumbSaver) -> None:
    assert len(crowded.threads(limit=MANY * 2)) == MANY * 9 // 10 + 2
    assert len(crowded.for_tenant("other").threads(limit=MANY)) == MANY // 10


def test_naming_the_tenants_jumps_over_their_threads(crowded: PlumbSaver) -> None:
    told = Explained(crowded, "thread")
    assert crowded.tenants() == ["default", "other"]
    assert told.rows < 100


def test_a_thread_of_many_subgraphs_hides_no_other(saver: PlumbSaver) -> None:
    for thread, count in (("plain", 1), ("busy", 40)):
        for at in range(count):
            ns = "" if at == 0 else f"sub:{at}"
            config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
            saver.put(config, empty_checkpoint(), {"source": "loop", "step": at}, {})
    old = "UPDATE {schema}.stream SET touched_at = now() - interval '1 h' WHERE ns = ''"
    saver.database.send((Statement(old),))
    assert [each.thread_id for each in saver.threads(limit=2)] == ["busy", "plain"]


def test_recovery_reads_what_is_unsettled_alone(crowded: PlumbSaver) -> None:
    crash = "UPDATE {schema}.thread SET owner = 'dead', lease_until = now() WHERE thread_id = 'one'"
    crowded.database.send((Statement(crash),))
    crowded.accept("begun", {"n": 1})
    told, taken = Explained(crowded, "thread", "stream"), []

    class Nothing:
        def invoke(self, value: Any, config: Any, **_: Any) -> None:
            taken.append((config["configurable"]["thread_id"], value))

    crowded.recover(Nothing, RecoveryRules(grace_s=0))
    assert taken == [("begun", {"n": 1})]
    assert told.rows < 100


def test_recovery_goes_on_where_it_stopped_looking_for_idle_threads(crowded: PlumbSaver) -> None:
    rules, before = RecoveryRules(grace_s=0, idle_s=3600, most=20), 0
    for _ in range(4):
        told = Explained(crowded, "thread", "stream")
        assert crowded.recover(object, rules) == []
        crowded.database.send = told.inner  # type: ignore[method-assign]
        claimed = "SELECT count(*), max(epoch) FROM {schema}.thread WHERE epoch > 0"
        ((count, most),) = crowded.database.send((Statement(claimed),))[0]
        assert before < count <= before + 20
        assert most == 1
        before = count
        # Those of a minute, and what the status of each takes.
        assert 0 < told.rows < 1000


def test_an_older_schema_is_listed_and_recovered(postgres_url: str, schema: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as link:
        link.execute(script(schema, known()[:4]))
    with PlumbSaver(postgres_url, schema=schema, auto_setup=False, adopt="off") as saver:
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        saver.put(config, empty_checkpoint(), {"source": "loop", "step": 0}, {})
        saver.accept("begun", {"n": 1})
        assert [each.thread_id for each in saver.threads()] == ["begun", "t"]
        ended: list[Any] = []

        class Ending:
            def invoke(self, value: Any, config: Any, **_: Any) -> None:
                ended.append(config["configurable"]["thread_id"])

        found = saver.recover(Ending, RecoveryRules(grace_s=0, idle_s=0))
        assert ended == ["begun"]
        assert [each.outcome for each in found] == ["stopped"]
        saver.setup()
        assert [each.thread_id for each in saver.threads()] == ["begun", "t"]


def test_one_migrated_beside_old_workers_keeps_the_order(postgres_url: str, schema: str) -> None:
    """Workers of the older version insert and touch streams without knowing the new columns."""
    with psycopg.connect(postgres_url, autocommit=True) as link:
        link.execute(script(schema, known()[:4]))
        link.execute(f"INSERT INTO {schema}.thread (tenant, thread_id) VALUES ('default', 'a')")
        stream = f"INSERT INTO {schema}.stream (thread, ns) SELECT id, '' FROM {schema}.thread"
        link.execute(f"{stream} WHERE thread_id = 'a'")
        link.execute(script(schema))
        link.execute(f"INSERT INTO {schema}.thread (tenant, thread_id) VALUES ('default', 'b')")
        link.execute(f"{stream} WHERE thread_id = 'b'")
        with PlumbSaver(postgres_url, schema=schema, adopt="off") as saver:
            assert [each.thread_id for each in saver.threads()] == ["b", "a"]
            later = "SET touched_at = now() + interval '2 minutes'"
            link.execute(
                f"UPDATE {schema}.stream s {later} FROM {schema}.thread t "
                "WHERE t.id = s.thread AND t.thread_id = 'a'"
            )
            assert [each.thread_id for each in saver.threads()] == ["a", "b"]

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plumbgraph.agents.effects import journal_for
from plumbgraph.effects import Journal
from plumbgraph.postgres.pool import Database
from plumbgraph.state import PlumbSaver


@pytest.fixture
def database(postgres_url: str, schema: str) -> Iterator[Database]:
    with Database(postgres_url, schema=schema) as database:
        yield database


@pytest.fixture
def saver(database: Database) -> PlumbSaver:
    return PlumbSaver(database)


@pytest.fixture
def journal(saver: PlumbSaver) -> Iterator[Journal]:
    with journal_for(saver, wait_s=5, busy_wait_s=0.3) as journal:
        yield journal

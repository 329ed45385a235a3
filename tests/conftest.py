"""Real servers for every test: the given ones, else our own pair, shared by all workers."""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import redis
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck
from hypothesis import settings as examples
from psycopg.conninfo import conninfo_to_dict

if TYPE_CHECKING:
    from plumbgraph.servers import Endpoints

OPT_IN = ("crash", "soak", "cluster", "browser", "phoenix", "pgbouncer", "search_module")

UNTIMED: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
examples.register_profile("same", derandomize=True, **UNTIMED)
examples.register_profile("new", **UNTIMED)


def pytest_configure(config: pytest.Config) -> None:
    """Examples are the same in every ordinary run; long runs and `make fuzz` look for new ones."""
    if not config.getoption("--hypothesis-profile", None):
        exploring = config.getoption("-m") or "PLUMBGRAPH_FUZZ_EXAMPLES" in os.environ
        examples.load_profile("new" if exploring else "same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long runs out unless `-m` asks for them."""
    asked = config.getoption("-m") or ""
    unasked = [marker for marker in OPT_IN if marker not in asked]
    kept = [item for item in items if not any(item.get_closest_marker(m) for m in unasked)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """In async tests, our own code must never block the loop (mark `blocking_ok` to allow it)."""
    function = getattr(request.node, "function", None)
    if not inspect.iscoroutinefunction(function) or request.node.get_closest_marker("blocking_ok"):
        yield
        return
    with blockbuster_ctx(scanned_modules=["plumbgraph"]):
        yield


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """This worker's name: `gw0`, `gw1`, … or `main`."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def own_servers(tmp_path_factory: pytest.TempPathFactory, worker: str) -> Iterator[Endpoints]:
    """Our own PostgreSQL and Valkey, started once and shared by all workers."""
    from plumbgraph import servers
    from plumbgraph.settings import Settings

    base = tmp_path_factory.getbasetemp()
    home = (base if worker == "main" else base.parent) / "servers"
    settings = Settings.load(postgres_url=None, redis_url=None)
    many = {"max_connections": "300"}
    with servers.up(home, tune="test", settings=settings, postgres_settings=many) as up:
        yield up


@pytest.fixture(scope="session")
def postgres_admin(request: pytest.FixtureRequest) -> str:
    """URL of a PostgreSQL where databases may be made: the given one, else our own."""
    given = os.environ.get("PLUMBGRAPH_TEST_POSTGRES_URL")
    return given or str(request.getfixturevalue("own_servers").postgres_url)


@pytest.fixture(scope="session")
def redis_admin(request: pytest.FixtureRequest) -> str:
    """URL of a Redis or Valkey without modules: the given one, else our own."""
    given = os.environ.get("PLUMBGRAPH_TEST_REDIS_URL")
    return given or str(request.getfixturevalue("own_servers").redis_url)


@pytest.fixture(scope="session")
def postgres_url(postgres_admin: str, worker: str) -> Iterator[str]:
    """URL of a fresh database, this worker's own."""
    name = f"test_{worker}_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield _with_database(postgres_admin, name)
    with psycopg.connect(postgres_admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def old_tables(postgres_url: str) -> Iterator[None]:
    """Room for PostgresSaver's tables, which have one place in a database."""
    _drop_old_tables(postgres_url)
    yield
    _drop_old_tables(postgres_url)


def _drop_old_tables(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("s", "_blobs", "_writes", "_migrations"):
            connection.execute(f"DROP TABLE IF EXISTS public.checkpoint{name}")


@pytest.fixture
def schema() -> str:
    """A schema name no other test uses."""
    return f"t_{secrets.token_hex(6)}"


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, worker: str) -> Iterator[str]:
    """URL of this worker's own, empty database on a server without modules, or of a cluster."""
    cluster = os.environ.get("PLUMBGRAPH_TEST_REDIS_CLUSTER_URL")
    if cluster:
        with redis.RedisCluster.from_url(cluster) as clients:
            clients.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
        yield cluster
        return
    url = _with_number(str(request.getfixturevalue("redis_admin")), worker)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def raw_redis(redis_url: str) -> Iterator[Any]:
    """A plain client of `redis_url`, whichever kind of server it names."""
    kind: Any = redis.Redis
    if os.environ.get("PLUMBGRAPH_TEST_REDIS_CLUSTER_URL"):
        kind = redis.RedisCluster
    with kind.from_url(redis_url) as client:
        yield client


@pytest.fixture
def valkey_url(redis_url: str) -> str:
    """Another name for `redis_url`."""
    return redis_url


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return Path(__file__).parent.parent


def _with_database(url: str, name: str) -> str:
    parts = conninfo_to_dict(url)
    parts["dbname"] = name
    user, password = parts.pop("user", None), parts.pop("password", None)
    login = f"{user}{f':{password}' if password else ''}@" if user else ""
    host, port, _ = parts.pop("host", ""), parts.pop("port", None), parts.pop("dbname")
    if str(host).startswith("/"):
        return f"postgresql://{login}/{name}?host={host}" + (f"&port={port}" if port else "")
    return f"postgresql://{login}{host}{f':{port}' if port else ''}/{name}"


def _with_number(url: str, worker: str) -> str:
    number = int(worker.removeprefix("gw")) + 1 if worker.startswith("gw") else 0
    if url.startswith("unix://"):
        return f"{url.split('?', maxsplit=1)[0]}?db={number}"
    head, _, tail = url.rpartition("/")
    base = head if tail.isdigit() else url.rstrip("/")
    return f"{base}/{number or (tail if tail.isdigit() else 0)}"

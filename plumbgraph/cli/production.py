"""What `plumbgraph doctor --production` asks beside the servers: settings, policy, log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plumbgraph.cli import checks
from plumbgraph.cli.checks import Check
from plumbgraph.cli.doctor_postgres import postgres
from plumbgraph.cli.doctor_redis import redis
from plumbgraph.cli.fleet import Fleet

if TYPE_CHECKING:
    from plumbgraph.settings import Settings


def production(settings: Settings, fleet: Fleet) -> Iterator[Check]:
    """Every question of production; one that fails does not hide the others."""
    yield from given_servers(settings)
    yield from checks.guarded("policy", managed_policy)
    yield from log_place(settings)
    yield from checks.guarded("postgres", lambda: postgres(settings, fleet))
    yield from checks.guarded("redis", lambda: redis(settings, fleet))


def given_servers(settings: Settings) -> Iterator[Check]:
    """Both servers must be named, not embedded."""
    for name, url in (("POSTGRES", settings.postgres_url), ("REDIS", settings.redis_url)):
        if url is None:
            yield Check(
                "warning",
                f"{name.lower()} url",
                f"PLUMBGRAPH_{name}_URL is not set: the embedded server is for one machine",
                "Point it at a server that is backed up.",
                "production.embedded",
            )


def managed_policy() -> Iterator[Check]:
    """Whether the operator's policy file is there, valid, and out of the workers' reach."""
    from plumbgraph.policy.managed import SYSTEM_PATH, read_managed  # noqa: PLC0415 - quick start

    found = read_managed()
    if found.path is None:
        hint = f"Write {SYSTEM_PATH}; see docs/policy.md. Without it every tool and model may run."
        yield Check("warning", "policy", "no managed policy", hint, "policy.none")
    elif found.own:
        hint = "Let root own the file, so that an agent with a shell cannot rewrite its rules."
        said = f"{found.path} belongs to the user the workers run as"
        yield Check("warning", "policy", said, hint, "policy.own")
    else:
        yield Check("ok", "policy", str(found.path))


def log_place(settings: Settings) -> Iterator[Check]:
    """Where events go, and whether a container's end takes them along."""
    if settings.log is None:
        hint = "Set PLUMBGRAPH_LOG to a file on a volume that outlives the worker."
        said = f"not set: events go to {settings.home / 'events.jsonl'}"
        yield Check("note", "event log", said, hint, "log.home")

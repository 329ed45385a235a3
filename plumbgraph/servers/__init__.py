"""Embedded PostgreSQL and Valkey: find their binaries, supervise them, hand out URLs.

    with servers.up() as endpoints:
        print(endpoints.postgres_url, endpoints.redis_url)

Several processes share one pair of servers; they stop when the last user is gone.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, which the supervisor's start would pay for
if TYPE_CHECKING:
    from plumbgraph.servers.client import down as down
    from plumbgraph.servers.client import up as up
    from plumbgraph.servers.inspection import status as status
    from plumbgraph.servers.values import Endpoints as Endpoints
    from plumbgraph.servers.values import ServerStatus as ServerStatus
    from plumbgraph.servers.values import Status as Status

__all__ = ["Endpoints", "ServerStatus", "Status", "down", "status", "up"]
_HOMES = {"down": "client", "up": "client", "status": "inspection"}


def __getattr__(name: str) -> object:
    """Names load on first use: the supervisor is started with every cold start and needs few."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above

    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'values')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

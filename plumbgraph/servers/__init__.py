"""Embedded PostgreSQL and Valkey: find their binaries, supervise them, hand out URLs.

    with servers.up() as endpoints:
        print(endpoints.postgres_url, endpoints.redis_url)

Several processes share one pair of servers; they stop when the last user is gone.
"""

from __future__ import annotations

from plumbgraph.servers.client import down, up
from plumbgraph.servers.inspection import status
from plumbgraph.servers.values import Endpoints, ServerStatus, Status

__all__ = ["Endpoints", "ServerStatus", "Status", "down", "status", "up"]

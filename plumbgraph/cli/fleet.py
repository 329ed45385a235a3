"""What `plumbgraph doctor --production` is told of the workers, and what both servers are asked."""

from __future__ import annotations

from dataclasses import dataclass

from plumbgraph.cli.checks import Check

_NOTED_S = 0.5
_FAULT_S = 5.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers that will use the servers at the same time.

    Attributes:
        workers: Processes.
        pool: `pool_max` of their savers.
        redis_pool: `pool_max` of each Redis client: memory, budget, registry.
        colors: 2 where a process uses `invoke` and `ainvoke`, else 1.
    """

    workers: int = 1
    pool: int = 4
    redis_pool: int = 32
    colors: int = 2

    @property
    def postgres_connections(self) -> int:
        """Most connections to PostgreSQL that all pools may open."""
        return self.workers * self.colors * self.pool

    @property
    def redis_connections(self) -> int:
        """Most connections to one Redis node that the pools of one part may open."""
        return self.workers * self.colors * self.redis_pool


def is_local(host: str) -> bool:
    """Whether a connection to this host never leaves the machine."""
    return host in {"", "localhost", "::1"} or host.startswith(("/", "127."))


def clock_check(server: str, skew_s: float) -> Check:
    """Whether this machine and a server agree on the time of day."""
    said = f"{server} is {abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'}"
    hint = "Let NTP set both clocks; expiry, leases and the order of memories go by them."
    if abs(skew_s) >= _FAULT_S:
        return Check("fault", "clock", said, hint, "clock.skew")
    if abs(skew_s) >= _NOTED_S:
        return Check("warning", "clock", said, hint, "clock.skew")
    return Check("ok", "clock", f"{server} agrees within {_NOTED_S:g} s")

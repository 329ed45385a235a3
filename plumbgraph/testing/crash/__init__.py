"""Crash tests: seeded kills of real processes, and whether files, effects and messages agree.

A graph is killed with SIGKILL at named points and at random moments, resumed, and compared with a
run that nobody killed. The outside world is a ledger file that only the graph's own effects
write. A seed replays a trial.
"""

from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.testing.crash.run import crashtest
from plumbgraph.testing.crash.values import (
    EVERYWHERE,
    KNOWN,
    POINTS,
    Bench,
    Report,
    Setting,
    Verdict,
)

__all__ = [
    "EVERYWHERE",
    "KNOWN",
    "POINTS",
    "Bench",
    "Ledger",
    "Report",
    "Setting",
    "Verdict",
    "crashtest",
]

"""What happened in a thread: checkpoints, claims, journal and event log joined, and judged.

Names load on first use, so importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph.timeline.compare import Difference as Difference
    from plumbgraph.timeline.evidence import Evidence as Evidence
    from plumbgraph.timeline.evidence import Source as Source
    from plumbgraph.timeline.face import Timeline as Timeline
    from plumbgraph.timeline.findings import Finding as Finding
    from plumbgraph.timeline.sources import JournalSource as JournalSource
    from plumbgraph.timeline.sources import LogSource as LogSource
    from plumbgraph.timeline.sources import SaverSource as SaverSource
    from plumbgraph.timeline.steps import StepRow as StepRow
    from plumbgraph.timeline.verdict import CODES as CODES
    from plumbgraph.timeline.verdict import Verdict as Verdict

_HOMES = {
    "CODES": "verdict",
    "Difference": "compare",
    "Evidence": "evidence",
    "Finding": "findings",
    "JournalSource": "sources",
    "LogSource": "sources",
    "SaverSource": "sources",
    "Source": "evidence",
    "StepRow": "steps",
    "Timeline": "face",
    "Verdict": "verdict",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)

"""What a test of an agent needs: a scripted model, conformance kits and a crash harness.

Names load on first use, so importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumbgraph.lazy import lazily

if TYPE_CHECKING:
    from plumbgraph.testing.crash import crashtest as crashtest
    from plumbgraph.testing.ingest import IngestServer as IngestServer
    from plumbgraph.testing.saver_kit import check_saver as check_saver
    from plumbgraph.testing.script import Call as Call
    from plumbgraph.testing.script import Fault as Fault
    from plumbgraph.testing.script import PlannedCall as PlannedCall
    from plumbgraph.testing.script import Reply as Reply
    from plumbgraph.testing.script import ScriptItem as ScriptItem
    from plumbgraph.testing.script import call as call
    from plumbgraph.testing.script import tokens as tokens
    from plumbgraph.testing.scripted import ScriptedChatModel as ScriptedChatModel
    from plumbgraph.testing.store_kit import StoreReport as StoreReport
    from plumbgraph.testing.store_kit import check_store as check_store

_HOMES: dict[str, str] = {
    "Call": "plumbgraph.testing.script",
    "Fault": "plumbgraph.testing.script",
    "PlannedCall": "plumbgraph.testing.script",
    "Reply": "plumbgraph.testing.script",
    "ScriptItem": "plumbgraph.testing.script",
    "ScriptedChatModel": "plumbgraph.testing.scripted",
    "StoreReport": "plumbgraph.testing.store_kit",
    "call": "plumbgraph.testing.script",
    "crashtest": "plumbgraph.testing.crash",
    "IngestServer": "plumbgraph.testing.ingest",
    "check_store": "plumbgraph.testing.store_kit",
    "check_saver": "plumbgraph.testing.saver_kit",
    "tokens": "plumbgraph.testing.script",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - names resolve lazily
__getattr__, __dir__ = lazily(__name__, _HOMES)

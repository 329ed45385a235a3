"""Memories in a notebook: lists of facts, versions and hits that show themselves as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plumbgraph.html import Rows, Safe, facts, joined, minute, short, table, tag


class Facts(Rows):
    """What is true: one row a slot."""

    columns = ("subject", "attribute", "value", "version", "source", "since", "contested by")

    def cells(self, each: Any) -> Sequence[Any]:
        """A fact of a slot, or the whole value of another item."""
        value = each.value
        known = [value.get("subject"), value.get("attribute")]
        told = value.get("value", value) if isinstance(value, dict) else value
        rivals = ", ".join(short(rival.value.get("value"), 40) for rival in each.rivals)
        source = each.provenance.source
        return (*known, short(told), each.version, source, minute(each.updated_at), rivals or None)


class Versions(Rows):
    """A memory's history: one row a version, the newest first."""

    columns = ("version", "kind", "value", "written", "superseded", "true from", "true to")

    def cells(self, each: Any) -> Sequence[Any]:
        """One version."""
        value = each.value
        told = value.get("value", value) if isinstance(value, dict) else value
        moments = (each.at, each.superseded_at, each.valid_from, each.valid_to)
        return (each.version, each.kind, short(told), *map(minute, moments))


def recollection_html(found: Any) -> Safe:
    """What was recalled for a query: one row a memory, and what it cost in tokens."""
    rows = [
        (hit.key, hit.text, f"{hit.score:.3f}", hit.tier, hit.why, minute(hit.item.updated_at))
        for hit in found.hits
    ]
    told = f"{found.query!r}: {len(rows)} memories, {found.tokens} tokens, {found.dropped} left out"
    columns = ("key", "memory", "score", "tier", "why", "written")
    return joined([tag("p", told), table(columns, rows)])


def fact_html(fact: Any) -> Safe:
    """One fact with what is known about it."""
    return facts(
        {
            "subject": fact.subject,
            "attribute": fact.attribute,
            "value": short(fact.value),
            "source": fact.source,
            "confidence": None if fact.confidence == 1 else f"{fact.confidence:.2f}",
            "also known as": ", ".join(fact.aliases) or None,
        }
    )

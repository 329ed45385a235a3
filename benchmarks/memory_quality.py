"""How well recall finds: LoCoMo evidence, PrecisionMemBench (a feature test), paraphrased slots.

Constants of the ranking were chosen on the first three LoCoMo conversations; the table shows them
and the others apart.
"""

from __future__ import annotations

import gzip
import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.memory_names import FIRST, LATER, Names
from benchmarks.memory_wordings import FRESH, WORDINGS
from plumbgraph.memory import Attribute, Attributes, MemoryStore

NS = ("bench", "quality")


def _store(url: str) -> MemoryStore:
    return MemoryStore(url, tenant=f"quality-{secrets.token_hex(4)}", feed=0, history=0)


def locomo(url: str, path: Path) -> dict[str, dict[str, float]]:
    chats = json.loads(gzip.decompress(path.read_bytes()))
    halves = {"chosen on (3)": chats[:3], "held out (2)": chats[3:], "all five": chats}
    scores = [_conversation(url, chat) for chat in chats]
    place = {id(chat): i for i, chat in enumerate(chats)}
    return {name: _mean([scores[place[id(c)]] for c in part]) for name, part in halves.items()}


def _mean(parts: list[list[tuple[float, float, float]]]) -> dict[str, float]:
    told = [score for part in parts for score in part]
    sums = [sum(column) / len(told) for column in zip(*told, strict=True)]
    return {**dict(zip(("R@1", "R@5", "R@10"), sums, strict=True)), "questions": len(told)}


def _conversation(url: str, chat: dict[str, Any]) -> list[tuple[float, float, float]]:
    store, known = _store(url), set()
    for key, value, marks in _turns(chat["conversation"]):
        store.put(NS, key, value, **marks)
        known.add(key)
    scores = []
    for question in chat["qa"]:
        wanted = set(question.get("evidence", [])) & known
        if not wanted:
            continue
        found = store.recall(NS, question["question"], max_items=10, token_budget=100_000)
        keys = [hit.key for hit in found]
        shares = [len(wanted & set(keys[:k])) / len(wanted) for k in (1, 5, 10)]
        scores.append((shares[0], shares[1], shares[2]))
    return scores


def _turns(chat: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    number = 1
    while f"session_{number}" in chat:
        at = _day(chat[f"session_{number}_date_time"])
        before = ""
        for turn in chat[f"session_{number}"]:
            value = {"said_by": turn["speaker"], "text": turn["text"]}
            marks = {"context": before, "group": f"session {number}", "valid_from": at}
            yield turn["dia_id"], value, marks
            before = turn["text"]
        number += 1


def _day(text: str) -> datetime:
    day = datetime.strptime(text.split(" on ")[1], "%d %B, %Y")  # noqa: DTZ007 - zone added
    return day.astimezone()


def precision(url: str, folder: Path) -> dict[str, Any]:
    beliefs = json.loads((folder / "beliefs.seed.json").read_text())
    cases = json.loads((folder / "retrieval.cases.json").read_text())
    sessions = json.loads((folder / "session-retrieval.cases.json").read_text())
    store = _store(url)
    names = {belief["_id"]: belief["canonical_name"] for belief in beliefs}
    for belief in sorted(beliefs, key=lambda b: (b["reinforcement_count"], b["updated_at"])):
        _keep(store, belief, names)
    failed = [case["caseId"] for case in cases if not _passes(store, case, case["query"])]
    turns = [t for session in sessions for t in session["turns"] if t.get("expect")]
    lost = [t for t in turns if not _passes(store, t, t["userMessage"])]
    return {
        "cases passed": f"{len(cases) - len(failed)} of {len(cases)}",
        "session turns passed": f"{len(turns) - len(lost)} of {len(turns)}",
        "failed": ", ".join(failed) or "none",
    }


_KINDS = {"open_question": "question"}


def _keep(store: MemoryStore, belief: dict[str, Any], names: dict[str, str]) -> None:
    status = belief["epistemic_status"]
    gone = status == "superseded" or belief.get("resolved_at")
    store.put(
        ("beliefs", belief["user_id"]),
        belief["_id"],
        {"text": belief["content"]},
        name=belief["canonical_name"],
        aliases=tuple(belief["aliases"]),
        scopes=tuple(belief["scope"]),
        kind=_KINDS.get(belief["type"], belief["type"]),
        status=(status if status == "superseded" else "resolved") if gone else "active",
        pinned=belief["pinned"],
        confidence=belief["confidence"],
        participants=tuple(names[p] for p in belief.get("participants", ())),
    )


def _passes(store: MemoryStore, case: dict[str, Any], query: str) -> bool:
    place = ("beliefs", case.get("userId", "test-user"))
    budget = case.get("budget") or {}
    most = budget.get("maxBeliefs", 20)
    scopes = tuple(case["scope"])
    found = store.recall(place, query, mode="precise", scopes=scopes, max_items=most)
    prelude = store.recall(place, "", mode="precise", scopes=("user:universal",))
    told: dict[str, list[str]] = {
        "pinnedFacts": [h.key for h in found.tier("pinned") if h.item.marks.kind != "question"],
        "relevantBeliefs": [
            h.key for h in found.tier("relevant") if "user:universal" not in h.item.marks.scopes
        ],
        "openQuestions": [h.key for h in found if h.item.marks.kind == "question"],
        "personaPrelude": [h.key for h in prelude],
    }
    return all(_meets(told.get(name, []), wanted) for name, wanted in case["expect"].items())


def _meets(keys: list[str], wanted: dict[str, Any]) -> bool:
    only = wanted.get("shouldOnlyInclude")
    must = wanted.get("mustInclude", [])
    never = wanted.get("mustExclude", [])
    return (
        (only is None or set(keys) == set(only))
        and set(must) <= set(keys)
        and not set(never) & set(keys)
        and (not wanted.get("nonEmpty") or bool(keys))
        and (not wanted.get("isNull") or not keys)
    )


def wordings(table: dict[str, list[str]]) -> dict[str, Any]:
    """Held-out wordings of declared attributes, and all wordings of each while it is undeclared.

    Every second wording of an attribute is its alias; the others are asked.
    """
    aliases = {name: tuple(words[::2]) for name, words in table.items()}
    asked = {name: tuple(words[1::2]) for name, words in table.items()}
    misfiled = [
        match.how != "undeclared"
        for name, words in table.items()
        for match in map(_declared(aliases, without=name).match, (name, *words))
    ]
    return _slots(aliases, asked, misfiled)


def made_up(names: Names) -> dict[str, Any]:
    """Names that a model makes up: those of declared attributes, and those of nothing declared."""
    declared = _declared(names.aliases)
    misfiled = [declared.match(name).how != "undeclared" for name in names.undeclared]
    return _slots(names.aliases, names.asked, misfiled)


Words = dict[str, tuple[str, ...]]


def _declared(aliases: Words, without: str = "") -> Attributes:
    return Attributes(tuple(Attribute(n, a) for n, a in aliases.items() if n != without))


def _slots(aliases: Words, asked: Words, misfiled: list[bool]) -> dict[str, Any]:
    """How many names are in the right slot, a wrong one, quarantined; decoys in any slot."""
    declared, bare = _declared(aliases), Attributes()
    right = wrong = left = split = total = 0
    for name, words in asked.items():
        for wording in words:
            total += 1
            match = declared.match(wording)
            left += match.how == "undeclared"
            right += match.attribute.name == name and match.how != "undeclared"
            wrong += match.attribute.name != name and match.how != "undeclared"
            split += bare.match(wording).attribute.name != name
    return {
        "held-out wordings": total,
        "right slot %": 100 * right / total,
        "wrong slot %": 100 * wrong / total,
        "quarantined %": 100 * left / total,
        "right slot without declaration %": 100 * (total - split) / total,
        "undeclared decoys": len(misfiled),
        "decoys misfiled %": 100 * sum(misfiled) / len(misfiled),
    }


def measure(url: str, data: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "paraphrased attributes, seen while matching was made": wordings(WORDINGS),
        "paraphrased attributes, second set": wordings(FRESH),
        "both declared at once": wordings({**WORDINGS, **FRESH}),
        "names a model makes up, learnt from": made_up(FIRST),
        "names a model makes up, never seen": made_up(LATER),
    }
    folder = (data / "memory" if (data / "memory").is_dir() else data) if data else None
    if folder is not None:
        for half, scores in locomo(url, folder / "locomo_dev5.json.gz").items():
            found[f"LoCoMo evidence, {half}"] = scores
        found["PrecisionMemBench"] = precision(url, folder / "precisionmembench")
    return found


def show(found: dict[str, Any]) -> None:
    from benchmarks.memory_speed import table

    rows = [[f"{k}: {p}", v] for k, part in found.items() for p, v in part.items()]
    table("Recall quality, no embeddings, no model", ["", "MemoryStore"], rows)

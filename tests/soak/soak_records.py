"""What must agree after the soak: messages, files, effects, memory and every book of money."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from plumbgraph import Workspace
from plumbgraph.content import PostgresBlobs
from plumbgraph.memory import MemoryStore
from plumbgraph.postgres.statement import Statement
from plumbgraph.routing import Budget, Limit
from plumbgraph.state import PlumbSaver

LEASE_S = 20


def agreed(module: Any, told: dict[str, Any], size: Any, billed: int) -> dict[str, Any]:
    """Messages, files, effects, memory and bill of every thread, as the script says."""
    turns = module.turns_of(size.steps)
    saver = PlumbSaver(told["postgres"], schema=told["schema"])
    store = MemoryStore(told["redis"])
    tenant = Limit("tenant", 100.0)
    budget = Budget([tenant], redis=told["redis"])
    rush = Budget(module.RUSH_USD, redis=told["redis"], tenant="rush")
    outside = (Path(told["folder"]) / "outside.txt").read_text().splitlines()
    sent = Counter(line.split(" ", 1)[1] for line in outside)
    answered: dict[str, set[str]] = {}
    for name in size.names:
        found = saver.get_tuple({"configurable": {"thread_id": name}})
        assert found is not None
        assert (found.metadata or {})["step"] >= size.steps
        values = found.checkpoint["channel_values"]
        messages_agree(values["messages"], turns)
        files_agree(module, told, saver, name, values, turns)
        wanted = {f"{name} {turn}" for turn in range(turns) if module.sends(turn, turns)}
        assert {text for text in sent if text.split()[0] == name} == wanted, name
        answered[name] = set(values["ledger"])
        assert len(answered[name]) == turns, name
        memory_agrees(module, store, name, turns)
    assert set(sent.values()) <= {1}, sent.most_common(3)
    settled(budget, rush)
    spent = books_agree(saver, budget, answered, billed) | rush_agrees(rush, module)
    for part in (saver, store, budget, rush):
        part.close()
    return spent | {"effects": len(outside), "lost": 0}


def settled(*budgets: Budget) -> None:
    """Wait until nothing is held any more: what a kill left open runs out and becomes a doubt."""
    end = time.monotonic() + LEASE_S + 60
    while time.monotonic() < end:
        for budget in budgets:
            budget.doubts()  # what ran out is moved when somebody looks
        if not any(account.held_nano for budget in budgets for account in budget.balances()):
            return
        time.sleep(0.5)
    raise AssertionError("money is held long after its lease ran out")


def books_agree(
    saver: PlumbSaver, budget: Budget, answered: dict[str, set[str]], billed: int
) -> dict[str, Any]:
    """Every answer a thread holds is charged or, where that was forgotten, in doubt; never both.

    A kill or a lost connection may leave more doubts, of calls whose answer nobody has; an answer
    that is charged and that no thread holds there is none.
    """
    charged = {each.charge_id: each for each in budget.charges(f"{datetime.now(UTC):%Y%m}")}
    doubts = {each.lease: each for each in budget.doubts()}
    leases = leases_of(saver)
    held = set().union(*answered.values())
    assert sum(map(len, answered.values())) == len(held)
    assert charged.keys() <= held
    for name, ids in answered.items():
        assert {each.charge_id for each in charged.values() if each.thread_id == name} <= ids
        for charge_id in ids:
            assert (charge_id in charged) != (leases[charge_id] in doubts), charge_id
    assert billed <= len(charged) + len(doubts), "a call was paid and no book knows of it"
    (account,) = budget.balances()
    spent = sum(each.nano for each in charged.values())
    assert account.spent_nano == spent + sum(each.nano for each in doubts.values())
    return {
        "usd": spent / 1e9,
        "charges": len(charged),
        "charges_forgotten_and_listed": len(held) - len(charged),
        "doubts": len(doubts),
    }


def leases_of(saver: PlumbSaver) -> dict[str, str]:
    """The reservation behind each answer that the journal recorded, by its charge."""
    (rows,) = saver.database.send((Statement("SELECT result FROM {schema}.calls"),))
    told = [json.loads(text) for (text,) in rows if text]
    charges = [each["charge"] for each in told if "charge" in each]
    return {each["charge_id"]: each["lease"] for each in charges}


def messages_agree(messages: Any, turns: int) -> None:
    replies = [message for message in messages if isinstance(message, AIMessage)]
    assert len(replies) == turns
    asked = [str(made["id"]) for reply in replies for made in reply.tool_calls]
    answered = [str(m.tool_call_id) for m in messages if isinstance(m, ToolMessage)]
    assert sorted(asked) == sorted(answered)
    assert not [m for m in messages if isinstance(m, ToolMessage) and m.status == "error"]


def files_agree(
    module: Any, told: Any, saver: PlumbSaver, name: str, values: Any, turns: int
) -> None:
    desk = Path(told["folder"]) / "desks" / name
    last = {f"{t % module.FILES}.txt": f"{name} {t}" for t in range(1, turns - 2)}
    assert {each.name: each.read_text() for each in desk.iterdir()} == last
    workspace = Workspace(desk, blobs=PostgresBlobs(saver.database))
    assert workspace.status().digest == workspace.digest(values["workspace"])


def memory_agrees(module: Any, store: MemoryStore, name: str, turns: int) -> None:
    """The facts in their order, each once, and the two messages that were said."""
    place = ("users", name)
    facts = store.facts(place, name)
    wanted = [str(t) for t in range(turns) if module.remembers(t, turns)]
    if wanted:
        (fact,) = facts
        assert fact.value["value"] == wanted[-1]
        versions = [str((v.value or {}).get("value")) for v in store.history(place, fact.key)]
        assert list(dict.fromkeys(reversed(versions))) == wanted
    kept = [item.value for item in store.search(place, limit=50) if "said_by" in item.value]
    assert sorted(str(each["text"]) for each in kept) == sorted([name, "finished"])


def rush_agrees(rush: Budget, module: Any) -> dict[str, Any]:
    """The tight account was used and never overspent; what a kill left open is counted in it."""
    charged = sum(charge.nano for charge in rush.charges(f"{datetime.now(UTC):%Y%m}"))
    doubted = sum(doubt.nano for doubt in rush.doubts())
    (account,) = rush.balances()
    assert account.spent_nano == charged + doubted
    assert 0 < account.spent_nano <= round(module.RUSH_USD * 1e9)
    return {"rush_limit_usd": module.RUSH_USD, "rush_spent_usd": account.spent_nano / 1e9}

"""The checks of `check_store`, each a function of one empty store."""

# ruff: noqa: D103, PLR2004 - a check's name and its messages say what it is about

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

CHECKS: list[tuple[str, Callable[[BaseStore], None]]] = []
NS = ("tenant", "ana")
_SHORT = 0.5 / 60


class Skipped(Exception):
    """The store says it does not support what the check asks."""


def _in(group: str) -> Callable[[Callable[[BaseStore], None]], Callable[[BaseStore], None]]:
    def add(check: Callable[[BaseStore], None]) -> Callable[[BaseStore], None]:
        CHECKS.append((group, check))
        return check

    return add


def _must(met: object, told: str) -> None:
    if not met:
        raise AssertionError(told)


def _value(store: BaseStore, namespace: tuple[str, ...], key: str) -> Any:
    item = store.get(namespace, key)
    return None if item is None else item.value


@_in("contract")
def check_put_get_overwrite_delete(store: BaseStore) -> None:
    _must(store.get(NS, "k") is None, "an unknown item is None")
    store.put(NS, "k", {"n": 1, "deep": {"list": [1, None, "é"]}})
    _must(_value(store, NS, "k") == {"n": 1, "deep": {"list": [1, None, "é"]}}, "same value back")
    store.put(NS, "k", {"n": 2})
    _must(_value(store, NS, "k") == {"n": 2}, "the last value wins")
    store.delete(NS, "k")
    store.delete(NS, "k")
    _must(store.get(NS, "k") is None, "deleted")


@_in("contract")
def check_created_at_survives_an_overwrite(store: BaseStore) -> None:
    store.put(NS, "k", {"n": 1})
    first = store.get(NS, "k")
    time.sleep(0.02)
    store.put(NS, "k", {"n": 2})
    second = store.get(NS, "k")
    assert first is not None
    assert second is not None
    _must(first.created_at == second.created_at, "created_at is kept")
    _must(second.updated_at > first.updated_at, "updated_at moves on")


@_in("contract")
def check_batch_of_many_gets(store: BaseStore) -> None:
    for n in range(25):
        store.put(NS, f"k{n}", {"n": n})
    found = store.batch([GetOp(NS, f"k{n}") for n in range(25)])
    _must([item.value["n"] for item in found if item] == list(range(25)), "all, in order")  # type: ignore[union-attr]


@_in("contract")
def check_batch_keeps_the_order_of_operations(store: BaseStore) -> None:
    store.put(NS, "a", {"n": 1})
    ops: list[Any] = [SearchOp(NS), PutOp(NS, "b", {}), GetOp(NS, "a"), ListNamespacesOp()]
    found, put, got, listed = store.batch(ops)
    _must(len(found) == 1 and put is None and got.value == {"n": 1}, "results in order")  # type: ignore[union-attr,arg-type]
    _must(NS in listed, "listed")  # type: ignore[operator]


@_in("contract")
def check_keys_with_odd_characters(store: BaseStore) -> None:
    keys = ["a,b", "a|b", "a b", "a:b", "*", "é", "{x}", "a\nb", "x" * 200]
    for n, key in enumerate(keys):
        store.put(NS, key, {"n": n})
    _must([_value(store, NS, k) for k in keys] == [{"n": n} for n in range(len(keys))], "exact")


@_in("contract")
def check_async_methods(store: BaseStore) -> None:
    async def go() -> None:
        await store.aput(NS, "k", {"n": 1})
        item = await store.aget(NS, "k")
        _must(item is not None and item.value == {"n": 1}, "aget")
        _must(len(await store.asearch(NS)) == 1, "asearch")
        _must(await store.alist_namespaces() == [NS], "alist_namespaces")
        await store.adelete(NS, "k")
        _must(await store.aget(NS, "k") is None, "adelete")

    asyncio.run(go())


@_in("contract")
def check_bad_namespaces_are_refused(store: BaseStore) -> None:
    for namespace in ((), ("a", ""), ("a.b",), ("langgraph",)):
        try:
            store.put(namespace, "k", {})
        except ValueError:
            continue
        raise AssertionError(f"{namespace!r} was taken")


@_in("namespaces")
def check_namespaces_are_case_sensitive(store: BaseStore) -> None:
    store.put(("t", "Alice"), "k", {"who": "A"})
    store.put(("t", "alice"), "k", {"who": "a"})
    _must(_value(store, ("t", "Alice"), "k") == {"who": "A"}, "two namespaces")
    store.delete(("t", "ALICE"), "k")
    _must(_value(store, ("t", "alice"), "k") == {"who": "a"}, "deleting another leaves it")


@_in("namespaces")
def check_a_prefix_ends_at_a_label(store: BaseStore) -> None:
    store.put(("user1",), "k", {})
    store.put(("user12",), "k", {})
    _must(len(store.search(("user1",))) == 1, "user12 is not under user1")
    _must(store.list_namespaces(prefix=("user1",)) == [("user1",)], "nor listed")


@_in("namespaces")
def check_any_word_is_a_namespace(store: BaseStore) -> None:
    for label in ("the", "a-b", "a*b", "a%b", "a_b", "[a]", "é", "a b"):
        store.put((label,), "k", {"label": label})
        _must(_value(store, (label,), "k") == {"label": label}, f"{label!r} reads back")
        _must(len(store.search((label,))) == 1, f"{label!r} is searched literally")


@_in("namespaces")
def check_listing_has_no_hidden_limit_and_pages(store: BaseStore) -> None:
    for n in range(40):
        store.put(("n", f"{n:02}"), "k", {})
    _must(len(store.list_namespaces(limit=100)) == 40, "all forty")
    pages = [ns for at in range(0, 40, 7) for ns in store.list_namespaces(limit=7, offset=at)]
    _must(len(set(pages)) == 40, "pages cover all once")
    _must(store.list_namespaces(max_depth=1) == [("n",)], "cut to depth")


@_in("namespaces")
def check_an_emptied_namespace_is_not_listed(store: BaseStore) -> None:
    store.put(NS, "k", {})
    store.delete(NS, "k")
    _must(store.list_namespaces() == [], "nothing is left to list")


@_in("namespaces")
def check_wildcards(store: BaseStore) -> None:
    for namespace in (("a", "x", "v1"), ("a", "y", "v1"), ("b", "x", "v2")):
        store.put(namespace, "k", {})
    _must(len(store.list_namespaces(prefix=("a", "*", "v1"))) == 2, "prefix wildcard")
    _must(len(store.list_namespaces(suffix=("x", "*"))) == 2, "suffix wildcard")
    condition = MatchCondition("prefix", ("*", "x"))
    found: Any = store.batch([ListNamespacesOp(match_conditions=(condition,))])[0]
    _must(len(found) == 2, "wildcard first")


@_in("filters")
def check_operators(store: BaseStore) -> None:
    for n in range(5):
        store.put(NS, f"k{n}", {"n": n, "tag": "odd" if n % 2 else "even"})

    def count(wanted: dict[str, Any]) -> int:
        return len(store.search(NS, filter=wanted))

    _must(count({"n": {"$gt": 2}}) == 2, "$gt")
    _must(count({"n": {"$gte": 2, "$lt": 4}}) == 2, "$gte and $lt")
    _must(count({"n": {"$ne": 2}}) == 4, "$ne")
    _must(count({"n": {"$eq": 2}}) == 1, "$eq")
    _must(count({"tag": "odd"}) == 2, "equality")
    _must(count({"tag": "odd", "n": 3}) == 1, "both")


@_in("filters")
def check_filters_come_before_limits(store: BaseStore) -> None:
    for n in range(30):
        store.put(NS, f"k{n}", {"keep": n < 5})
    _must(len(store.search(NS, filter={"keep": True}, limit=5)) == 5, "five pass the filter")
    paged = store.search(NS, filter={"keep": True}, limit=5, offset=3)
    _must(len(paged) == 2, "offset counts what passed")


@_in("filters")
def check_search_has_no_hidden_limit(store: BaseStore) -> None:
    for n in range(30):
        store.put(NS, f"k{n}", {"n": n})
    _must(len(store.search(NS, limit=100)) == 30, "all thirty")
    pages = [i.key for at in range(0, 30, 7) for i in store.search(NS, limit=7, offset=at)]
    _must(len(set(pages)) == 30, "pages cover all once")


def _with_ttl(store: BaseStore) -> None:
    if not store.supports_ttl:
        raise Skipped("the store has no TTL")


@_in("ttl")
def check_half_a_second(store: BaseStore) -> None:
    _with_ttl(store)
    store.put(NS, "k", {}, ttl=_SHORT)
    _must(store.get(NS, "k", refresh_ttl=False), "there at once")
    time.sleep(0.3)
    _must(store.get(NS, "k", refresh_ttl=False), "there after 0.3 s")
    time.sleep(0.4)
    _must(store.get(NS, "k") is None, "gone after 0.7 s")
    _must(store.search(NS) == [], "not found")
    _must(store.list_namespaces() == [], "not listed")


@_in("ttl")
def check_reading_slides_the_items_own_ttl(store: BaseStore) -> None:
    _with_ttl(store)
    store.put(NS, "k", {}, ttl=_SHORT)
    for _ in range(3):
        time.sleep(0.3)
        _must(store.get(NS, "k", refresh_ttl=True), "a read keeps it")
    time.sleep(0.7)
    _must(store.get(NS, "k") is None, "gone when unread")


@_in("ttl")
def check_polling_across_the_expiry(store: BaseStore) -> None:
    _with_ttl(store)
    store.put(NS, "k", {"n": 1}, ttl=_SHORT)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        item = store.get(NS, "k", refresh_ttl=False)
        _must(item is None or item.value == {"n": 1}, "whole or gone")
    _must(store.get(NS, "k") is None, "gone")


def _together(work: Callable[[int], None], count: int) -> None:
    faults: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told to the caller below
            faults.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


@_in("races")
def check_racing_puts_leave_one_copy(store: BaseStore) -> None:
    def work(number: int) -> None:
        for _ in range(25):
            store.put(NS, "k", {"n": number})

    _together(work, 8)
    _must(len(store.search(NS, limit=100)) == 1, "one copy")


@_in("races")
def check_a_reader_never_misses_an_item_being_overwritten(store: BaseStore) -> None:
    store.put(NS, "k", {"n": 0})
    missing: list[int] = []

    def work(number: int) -> None:
        for n in range(150):
            if number == 0:
                store.put(NS, "k", {"n": n})
            elif store.get(NS, "k") is None:
                missing.append(n)

    _together(work, 3)
    _must(not missing, f"{len(missing)} of 300 reads missed it")


@_in("versions")
def check_a_conditional_counter_is_exact(store: BaseStore) -> None:
    versioned: Any = store
    if not hasattr(store, "history"):
        raise Skipped("the store has no versions")
    store.put(NS, "count", {"n": 0})

    def work(_: int) -> None:
        for _ in range(20):
            while True:
                item: Any = store.get(NS, "count")
                try:
                    value = {"n": item.value["n"] + 1}
                    versioned.put(NS, "count", value, if_version=item.version)
                except RuntimeError:
                    continue
                break

    _together(work, 4)
    _must(_value(store, NS, "count") == {"n": 80}, "no increment is lost")

"""From LangGraph's operations, and ours, to the plans that carry them out in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory import plans
from plumbgraph.memory.events import ItemWritten
from plumbgraph.memory.keys import Namespace, check_key, check_namespace
from plumbgraph.memory.ops import Delete, Get, History, Put
from plumbgraph.memory.records import Marks, Provenance
from plumbgraph.memory.terms import Terms, together
from plumbgraph.redis.clients import RedisPlan
from plumbgraph.tracing import emit

Planner: TypeAlias = Callable[[Any], RedisPlan[Any]]


def native(op: Any, provenance: Callable[[], Provenance]) -> Any:
    """The operation with LangGraph's puts turned into ours; everything is checked."""
    if isinstance(op, GetOp):
        check_namespace(op.namespace)
        check_key(op.key)
        return op
    if isinstance(op, PutOp):
        check_namespace(op.namespace)
        check_key(op.key)
        if op.value is None:
            return Delete(namespace=op.namespace, key=op.key, provenance=provenance())
        return Put(
            namespace=op.namespace,
            key=op.key,
            value=op.value,
            ttl=op.ttl,
            marks=Marks(index=tuple(op.index) if isinstance(op.index, list) else op.index),
            provenance=provenance(),
        )
    if isinstance(op, SearchOp):
        check_namespace(tuple(op.namespace_prefix), empty=True)
        _check_page(op.limit, op.offset)
    elif isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            check_namespace(tuple(condition.path), empty=True)
        _check_page(op.limit, op.offset)
    else:
        check_namespace(op.namespace, root=isinstance(op, Put))
        if hasattr(op, "key"):
            check_key(op.key)
    return op


def _check_page(limit: int, offset: int) -> None:
    if limit < 0 or offset < 0:
        raise MemoryInvalid(f"limit={limit} and offset={offset} must not be negative.")


def silent(op: Any, result: Any) -> Any:
    """The result as LangGraph's contract wants it: nothing for its own puts."""
    return None if isinstance(op, PutOp) else result


def finished(ops: Sequence[Any], results: Sequence[Any]) -> list[Any]:
    """The results as the contract wants them; each write is told to the sinks."""
    for op, result in zip(ops, results, strict=True):
        if isinstance(op, Delete) or (isinstance(op, PutOp) and op.value is None):
            deleted(op.namespace, op.key, there=bool(result))
        elif isinstance(op, Put | PutOp):
            wrote(op.namespace, op.key, result)
    return [silent(op, result) for op, result in zip(ops, results, strict=True)]


def wrote(namespace: Namespace, key: str, version: int) -> int:
    """The version, told to the sinks."""
    emit(ItemWritten(namespace=shown(namespace), key=key, version=version))
    return version


def deleted(namespace: Namespace, key: str, *, there: bool) -> None:
    """Tell the sinks of a deletion, if there was anything."""
    if there:
        emit(ItemWritten(namespace=shown(namespace), key=key))


def _reads(op: Any) -> bool:
    return isinstance(op, Get | History | SearchOp | ListNamespacesOp)


def shown(namespace: Namespace) -> str:
    """A namespace as one readable text."""
    return "/".join(namespace)


def batched(
    terms: Terms, ops: Sequence[Any], planner: Planner, provenance: Callable[[], Provenance]
) -> RedisPlan[list[Any]]:
    """Carry out operations together; the first failure is raised when all are done."""
    checked = [native(op, provenance) for op in ops]
    if len(checked) == 1:
        only = yield from planner(checked[0])
        return [only]
    results = yield from carried(terms, checked, planner)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def carried(terms: Terms, ops: Sequence[Any], planner: Planner) -> RedisPlan[list[Any]]:
    """Carry out operations together: reads see what was there before the writes.

    One round trip for gets and puts; searches and listings take their own before the writes. A
    failed operation leaves its error in its place and does not stop the others.
    """
    results: list[Any] = [None] * len(ops)
    jobs: list[tuple[list[int], RedisPlan[Any]]] = []
    for group in _groups_of_gets(terms, ops):
        first = ops[group[0]]
        wanted = [(ops[i].namespace, ops[i].key) for i in group]
        jobs.append((group, plans.gets(terms, wanted, refresh=first.refresh_ttl)))
    others = [i for i, op in enumerate(ops) if not isinstance(op, GetOp)]
    jobs += [([i], planner(ops[i])) for i in others if _reads(ops[i])]
    writes = [([i], planner(ops[i])) for i in others if not _reads(ops[i])]
    if writes and any(isinstance(op, SearchOp | ListNamespacesOp) for op in ops):
        outcomes = yield from together([plan for _, plan in jobs])
        outcomes += yield from together([plan for _, plan in writes])
    else:
        outcomes = yield from together([plan for _, plan in (*jobs, *writes)])
    jobs += writes
    for (places, _), outcome in zip(jobs, outcomes, strict=True):
        many = isinstance(ops[places[0]], GetOp) and isinstance(outcome, list)
        for place, result in zip(places, outcome if many else [outcome] * len(places), strict=True):
            results[place] = result
    return results


def _groups_of_gets(terms: Terms, ops: Iterable[Any]) -> list[list[int]]:
    groups: dict[tuple[str, bool], list[int]] = {}
    for i, op in enumerate(ops):
        if isinstance(op, GetOp):
            groups.setdefault((terms.shard(op.namespace).tag, op.refresh_ttl), []).append(i)
    return list(groups.values())


def plan_of(terms: Terms, op: Any) -> RedisPlan[Any]:
    """The plan of one operation of the core.

    Raises:
        MemoryInvalid: No operation this store knows.
    """
    planner = _PLANNERS.get(type(op))
    if planner is None:
        raise MemoryInvalid(f"{type(op).__name__} is no operation of this store.")
    return planner(terms, op)


def one_get(terms: Terms, op: GetOp) -> RedisPlan[Any]:
    """The plan of a single plain get."""
    wanted: list[tuple[Namespace, str]] = [(op.namespace, op.key)]
    found = yield from plans.gets(terms, wanted, refresh=op.refresh_ttl)
    return found[0]


_PLANNERS: dict[type, Callable[[Terms, Any], RedisPlan[Any]]] = {
    Put: plans.put,
    Delete: plans.delete,
    Get: plans.get,
    History: plans.history,
    SearchOp: plans.search,
    ListNamespacesOp: plans.list_namespaces,
    GetOp: one_get,
}

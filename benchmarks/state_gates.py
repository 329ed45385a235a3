"""What the saver's checks cost: claims, generations and tombstones inside each write."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

from benchmarks.state_peers import US, Rows, peers, run
from benchmarks.tables import median
from plumbgraph.state import PlumbSaver, statements, task_writes, writing

_HEAD = "here.head IS NULL OR here.head = %(parent)s::bytea OR here.head = %(id)s"
_SWITCHES: dict[str, tuple[tuple[str, str], ...]] = {
    "all": (),
    "no lock on the thread (fencing)": ((" FOR SHARE", ""),),
    "no check of claims": (("deleted_at IS NULL AND owned AND fresh", "deleted_at IS NULL"),),
    "no tombstones": (("deleted_at IS NULL AND owned AND fresh", "owned AND fresh"),),
    "no check of the head": ((_HEAD, f"true OR {_HEAD}"),),
}


def gates(url: str, rounds: int) -> Rows:
    """Milliseconds a step with each check left out of the statements, in turn, and with a claim."""
    with peers(url, None) as found:
        peer = found[US]
        names = [*_SWITCHES, "all, under a claim"]
        times: dict[str, list[float]] = {name: [] for name in names}
        for at in range(rounds + 1):
            for number, name in enumerate(names):
                thread = f"g{at}-{number}"
                claim: Any = nullcontext()
                if name not in _SWITCHES:
                    claim = peer.saver.claim(thread)
                with _without(_SWITCHES.get(name, ())), claim:
                    taken = run(peer, thread)
                times[name] += [taken] if at else []
        assert isinstance(peer.saver, PlumbSaver)
    whole = median(times["all"])
    return [
        {"checks": name, "ms/step": median(each), "x all": median(each) / whole}
        for name, each in times.items()
    ]


class _without:  # noqa: N801 - reads like a word of the `with` statement
    """The statements with texts replaced, for as long as the block lasts."""

    def __init__(self, changes: tuple[tuple[str, str], ...]) -> None:
        self.changes = changes

    def __enter__(self) -> None:
        put_of = cache(lambda **parts: self._changed(statements.put_of(**parts), must=True))
        _use(put_of, self._changed(statements.PUT_WRITES))

    def __exit__(self, *_: object) -> None:
        _use(statements.put_of, statements.PUT_WRITES)

    def _changed(self, sql: str, *, must: bool = False) -> str:
        for old, new in self.changes:
            if must and old not in sql:
                raise RuntimeError(f"the statement does not hold {old!r}")
            sql = sql.replace(old, new)
        return sql


def _use(put_of: Any, put_writes: str) -> None:
    setattr(writing, "put_of", put_of)  # noqa: B010 - changed for this measurement alone
    setattr(task_writes, "PUT_WRITES", put_writes)  # noqa: B010 - likewise

"""A conformance kit for any LangGraph `BaseStore`: what the contract promises, as checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from langgraph.store.base import BaseStore

from plumbgraph.testing.store_kit_checks import CHECKS, Skipped

Make: TypeAlias = Callable[[], BaseStore]
"""Gives an empty store, a new one at each call."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result.

    Attributes:
        outcome: `skipped` where the store says it does not support the feature.
    """

    group: str
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The results of a kit run."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks the store does not pass."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def count(self, group: str | None = None) -> tuple[int, int, int]:
        """Passed, failed and skipped, of one group or of all."""
        told = [c.outcome for c in self.checks if group is None or c.group == group]
        return told.count("passed"), told.count("failed"), told.count("skipped")

    def table(self) -> str:
        """The results as lines: one a group, then what failed and why."""
        groups = dict.fromkeys(check.group for check in self.checks)
        lines = []
        for group in groups:
            passed, failed, skipped = self.count(group)
            lines.append(f"{group:12} {passed:3} passed {failed:3} failed {skipped:3} skipped")
        lines += [f"  {check.group}: {check.name}: {check.reason}" for check in self.failed]
        return "\n".join(lines)


def check_store(make: Make, *, only: Iterable[str] = ()) -> StoreReport:
    """Hold a store against LangGraph's contract; see `StoreReport.table`.

    Groups: contract, namespaces, filters, ttl, races, and versions where supported. Each check
    gets a store of its own from `make`, closed after it where it has a `close`; none raises.

    Args:
        make: Gives an empty store.
        only: Groups to run; all by default.
    """
    wanted = frozenset(only)
    return StoreReport(
        tuple(
            _checked(group, check, make) for group, check in CHECKS if not wanted or group in wanted
        )
    )


def _checked(group: str, check: Callable[[BaseStore], None], make: Make) -> Check:
    name = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        _held_against(check, make())
    except Skipped as reason:
        return Check(group, name, "skipped", str(reason))
    except Exception as error:  # noqa: BLE001 - a failing store is what the kit is there to find
        return Check(group, name, "failed", f"{type(error).__name__}: {error}"[:200])
    return Check(group, name, "passed")


def _held_against(check: Callable[[BaseStore], None], store: BaseStore) -> None:
    try:
        check(store)
    finally:
        close = getattr(store, "close", None)
        if callable(close):
            close()


__all__ = ["Check", "Make", "StoreReport", "check_store"]

"""How the demo looks: each step as it happens, then the timeline and the proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from plumbgraph.cli.console import Out
from plumbgraph.cli.demo_proof import Claim, Row
from plumbgraph.cli.steps import short

_BAR_MS = 12
_BAR = 16


class Show:
    """Prints the demo's scenes; prints nothing with `--json`."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def title(self) -> None:
        """The first line."""
        self._out.text(
            "An agent is killed with kill -9 and finishes in a new process.", style="bold"
        )
        self._out.text()

    def servers(self, versions: Mapping[str, str], seconds: float, home: Path) -> None:
        """Which servers run."""
        names = {"postgres": "PostgreSQL", "valkey": "Valkey"}
        said = " and ".join(f"{names[key]} {versions[key]}" for key in names if key in versions)
        self._out.text(f"  {said} ready in {seconds:.1f} s")
        self._out.text(f"  in {home}", style="dim")

    def task(self, documents: int) -> None:
        """What the agent is asked for."""
        self._out.text(f"  Task: read {documents} incident reports, take a note of each, sum up.")
        self._out.text("  The model is a script; servers, files, processes and the kill are real.")

    def process(self, pid: int, command: Sequence[str]) -> None:
        """A process begins."""
        self._out.text()
        self._out.text(f"process {pid}", style="bold cyan", end="")
        self._out.text(f"  $ plumbgraph {' '.join(command)}", style="dim")

    def step(self, record: Mapping[str, Any]) -> None:
        """A step finished."""
        says = [short(each, 70) for each in record["says"]]
        if record["node"] == "model":
            text, calls = says[0], [each.partition("(")[0] for each in says[1:]]
            self._out.text(f"  {record['step']:>3}  model  ", end="")
            self._out.text(text, end="" if calls else "\n", style="bold")
            if calls:
                self._out.text(f"  → {', '.join(calls)}", style="dim")
            return
        self._out.text(
            f"  {record['step']:>3}  {record['node']:<5}  {'; '.join(says)}", style="dim"
        )

    def killed(self, pid: int, step: int, code: int) -> None:
        """The kill."""
        self._out.text(f"  {step:>3}  …", style="dim")
        self._out.text(f"  ✗ kill -9 {pid}", style="bold red", end="")
        self._out.text(f"  in the middle of step {step}: exit status {code}, no goodbye")

    def between(self, thread: str, checkpoints: Mapping[str, int]) -> None:
        """What is left after the kill."""
        last = max(checkpoints.values(), default=-1)
        self._out.text()
        self._out.text(
            f"  PostgreSQL holds thread {thread!r} up to step {last}; a new process goes on."
        )

    def timeline(self, rows: Sequence[Row], first: int, second: int) -> None:
        """Which process did which step, and how long it took."""
        self._out.text()
        self._out.text("timeline, from the event log", style="bold")
        heads = (f"process {first}", f"process {second}")
        self._out.text(f"  step  node   {heads[0]:<{_BAR + 10}}{heads[1]}", style="dim")
        for row in rows:
            self._out.text(f"  {row.step:>4}  {row.node:<5}  ", end="")
            cells = (_cell(row.first_ms), _cell(row.second_ms))
            if row.cut:
                self._out.text(f"{'✗ killed here':<{_BAR + 10}}", style="bold red", end="")
            else:
                self._out.text(f"{cells[0]:<{_BAR + 10}}", style="cyan", end="")
            self._out.text(cells[1], style="green")

    def proof(self, claims: Sequence[Claim]) -> None:
        """What is proven."""
        self._out.text()
        self._out.text("proof", style="bold")
        for claim in claims:
            style, mark = ("green", "✓") if claim.holds else ("bold red", "✗")
            self._out.text(f"  {mark} ", style=style, end="")
            self._out.text(f"{claim.source + ':':<11} {claim.text}")

    def end(self, told: Mapping[str, Any]) -> None:
        """The last lines."""
        self._out.text()
        verdict = "Nothing was lost, nothing ran twice." if told["proven"] else "NOT PROVEN."
        self._out.text(f"{verdict}  {told['seconds']:.1f} s", style="bold")
        if told["folder"]:
            self._out.text(f"Kept in {told['folder']}: workspace/report.md, events.jsonl")
        self._out.text("Next: plumbgraph run assistant 'What is in this folder?' --workspace .")

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """A sign of life while nothing else is to be seen."""
        return self._out.working(text)


def _cell(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    bar = "▪" * max(1, min(_BAR, round(milliseconds / _BAR_MS)))
    return f"{bar} {milliseconds:.0f} ms"

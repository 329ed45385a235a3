"""How the demo looks: each step as it happens, then the other acts, the timeline and the proof."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plumbgraph.cli.console import Out, clean
from plumbgraph.cli.demo_proof import Claim, Row
from plumbgraph.cli.steps import short

if TYPE_CHECKING:
    from rich.console import Console

    from plumbgraph.cli.demo_acts import Moved, Routed, Stopped
    from plumbgraph.timeline.verdict import Verdict

_BAR_MS = 8
_BAR = 20
_WIDTH = 100
_SHOWN = ("model", "tools")
_CALL = re.compile(r"([\w.-]+)\(")  # a call as a step tells it; a route is told in a sentence
_NAMES = {"postgres": "PostgreSQL", "valkey": "Valkey"}


class Show:
    """Prints the demo's scenes; prints nothing with `--json`."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._acts = 0

    @cached_property
    def _console(self) -> Console:
        self._out.console.width = min(self._out.console.width, _WIDTH)
        return self._out.console

    def title(self) -> None:
        """The first lines."""
        self._line(("An agent is killed with kill -9 and finishes its work.", "bold"))
        self._line(("The models are scripts; everything else is real.", "dim"))
        self._line()

    def servers(self, versions: Mapping[str, str], seconds: float, home: Path) -> None:
        """Which servers run."""
        said = " and ".join(f"{_NAMES[key]} {versions[key]}" for key in _NAMES if key in versions)
        self._line(f"{said} ready in {seconds:.1f} s", (f"  {home}", "dim"))

    def task(self, documents: int) -> None:
        """What the agent is asked for."""
        self._act("kill -9", "between writing a file and its checkpoint")
        self._line(
            f"Task: read {documents} incident reports, note each, alert people, sum up.",
        )

    def process(self, pid: int, command: Sequence[str]) -> None:
        """A process begins."""
        self._line()
        self._line((f"process {pid}", "bold cyan"), (f"  $ plumbgraph {' '.join(command)}", "dim"))

    def step(self, record: Mapping[str, Any]) -> None:
        """A step of the model or its tools finished; the parts around them stay quiet."""
        if record["node"] not in _SHOWN:
            return
        says = [short(each, 60) for each in record["says"]]
        number = (f"{record['step']:>5}  ", "dim")
        if record["node"] == "model":
            text, calls = says[0], [found[1] for each in says[1:] if (found := _CALL.match(each))]
            told = [("  → ", "dim"), (", ".join(calls), "yellow")] if calls else []
            self._line(number, ("model  ", "dim"), (text, "bold"), *told)
            return
        done = [_result(each) for each in says if " returned: " in each or " refused: " in each]
        self._line(number, ("tools  ", "dim"), (short("; ".join(done), 80), "dim"))

    def killed(self, pid: int, step: int, code: int, note: str) -> None:
        """The kill."""
        self._line((f"{step:>5}  ", "dim"), (f"{note} is written, people are alerted …", "dim"))
        self._line(
            ("       ✗ ", "bold red"),
            (f"kill -9 {pid}", "bold red"),
            f"  in the middle of step {step}; exit status {code}, no checkpoint knows",
        )

    def between(self, thread: str, checkpoints: Mapping[str, int]) -> None:
        """What is left after the kill."""
        last = max(checkpoints.values(), default=-1)
        self._line()
        self._line(f"PostgreSQL holds thread {thread!r} up to step {last}; a new process goes on.")

    def plain(self, alerts: int, notes: int) -> None:
        """The same with the plain saver."""
        self._act("the same kill, without plumbgraph", "PostgresSaver and ToolNode")
        self._line(
            (f"people were alerted {alerts} times, the note stands there {notes} times", "red"),
            " for one call of each tool",
        )

    def memory(self, moved: Moved) -> None:
        """Seattle, then Portland."""
        self._act("memory", "Ada moves")
        told = "  ".join(f"v{number} {city}" for number, city in moved.versions)
        self._line("I live in Seattle. … I have moved to Portland.", (f"   {told}", "dim"))
        self._line("  now                ", (moved.after, "bold green"))
        self._line("  as of before       ", (moved.as_of, "bold green"))
        self._line("  Where to? it says  ", (moved.answer, "bold"))

    def skill(self, events: Iterable[Mapping[str, Any]]) -> None:
        """In and out of the prompt."""
        self._act("a skill", "in the prompt only while it is needed")
        for each in events:
            loaded = each["event"] == "skill.loaded"
            how, sign = ("loaded", "+") if loaded else ("unloaded", "-")
            self._line(
                (f"{each['step'] or 0:>5}  ", "dim"),
                f"{how:<9}",
                (str(each["skill"]), "bold"),
                (f"  {sign}{each['tokens']} tokens", "green" if loaded else "dim"),
            )

    def route(self, routed: Routed) -> None:
        """Which model, why, and what that saved."""
        self._act("a route", "learnt from what earlier answers were worth")
        for task, decision in routed.decisions:
            self._line(
                (f"  {task:<7}", "dim"),
                (decision.model.partition(":")[2], "bold"),
                f"  {decision.reason}",
            )
            for each in decision.candidates:
                name = each.model.partition(":")[2]
                price = f"${each.expected_nano / 1e9:.6f}"
                text = f"           {name:<6} P(ok) {each.p_ok:.2f}  {price}  {each.p_source}"
                self._line((text, "dim"))
        calls = ", ".join(f"{count} by {name}" for name, count in routed.calls)
        share = 1 - routed.spent_usd / routed.best_usd if routed.best_usd else 0.0
        self._line(
            f"  {calls}: ${routed.spent_usd:.4f} instead of ${routed.best_usd:.4f}, ",
            (f"{share:.0%} saved", "bold green"),
        )

    def loop(self, stopped: Stopped, verdict: Verdict) -> None:
        """Stopped, and why."""
        self._act("a loop", "the same question to the same empty page")
        self._line(f"stopped after {stopped.calls} calls and ${stopped.usd:.3f}: ", stopped.text)
        self._line((f"verdict: {verdict.text}", "bold"))

    def timeline(self, rows: Sequence[Row], first: int, second: int) -> None:
        """Which process did which step, and how long it took."""
        self._act("the timeline", "of the killed thread, from its event log")
        self._line(
            (f" step  node   process {first:<{_BAR + 4}}process {second}", "dim"),
        )
        for row in rows:
            if row.node not in _SHOWN:
                continue
            width = _BAR + 12
            if row.cut:
                left = (f"{'✗ killed here':<{width}}", "bold red")
            else:
                left = (f"{_cell(row.first_ms):<{width}}", "cyan")
            self._line(f"{row.step:>5}  {row.node:<5}  ", left, (_cell(row.second_ms), "green"))

    def proof(self, claims: Sequence[Claim]) -> None:
        """What is proven."""
        self._act("the proof", "")
        for claim in claims:
            style, mark = ("green", "✓") if claim.holds else ("bold red", "✗")
            self._line((f"  {mark} ", style), (f"{claim.source:<10} ", "bold"), claim.text)

    def end(self, told: Mapping[str, Any]) -> None:
        """The last lines."""
        self._line()
        verdict = "Nothing was lost, nothing ran twice." if told["proven"] else "NOT PROVEN."
        style = "bold green" if told["proven"] else "bold red"
        self._line((verdict, style), (f"  {told['seconds']:.1f} s", "bold"))
        self._line("report: ", (str(told["html"]), "underline"))
        if told["folder"]:
            self._line(f"kept:   {told['folder']}")
        self._line(("next:   plumbgraph run assistant 'What is in this folder?' --workspace .", ""))

    def waiting(self, text: str) -> AbstractContextManager[Any]:
        """A sign of life while nothing else is to be seen."""
        return self._out.working(text)

    def _act(self, name: str, about: str) -> None:
        self._acts += 1
        self._line()
        lead = f"── {self._acts} · "
        rest = "─" * max(2, 76 - len(name) - len(about) - len(lead))
        self._line(
            (lead, "blue"), (name, "bold blue"), (f"  {about} " if about else " ", "dim"),
            (rest, "blue"),
        )  # fmt: skip

    def _line(self, *parts: str | tuple[str, str]) -> None:
        if self._out.json:
            return
        from rich.text import Text  # noqa: PLC0415 - only for people

        told = [
            (clean(part), "") if isinstance(part, str) else (clean(part[0]), part[1])
            for part in parts
        ]
        self._console.print(Text.assemble(*told), soft_wrap=True)


def _result(told: str) -> str:
    """A tool's result, its name left out where the result speaks for itself."""
    name, _, text = told.partition(" returned: ")
    return text if text.startswith(("Wrote", "notified")) else f"{name} {text}"


def _cell(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    bar = "▪" * max(1, min(_BAR, round(milliseconds / _BAR_MS)))
    return f"{bar} {milliseconds:.0f} ms"

"""What every command prints with: one answer as JSON or for people, and errors as one message.

A command takes `json: Json = False` as a parameter, makes `out = Out(json=json)`, and ends with
`out.show(value, human)` (JSON prints `value`; for people `human()` is called), or streams with
`out.line(record)`. Errors are raised as `PlumbError`; the exit code follows from their class.
"""

from __future__ import annotations

import contextlib
import json as json_module
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph import errors
from plumbgraph.tracing.encode import plain

if TYPE_CHECKING:
    from rich.console import Console

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
INTERRUPTED = 4
NOT_FOUND = 5
REFUSED = 6
STOPPED = 130

EXIT_CODES = {
    OK: "done",
    FAILED: "failed",
    USAGE: "wrong arguments, settings or files",
    UNAVAILABLE: "a server, model or optional package is not available; trying later may help",
    INTERRUPTED: "interrupted; the thread is safe and can be resumed",
    NOT_FOUND: "no such thread, graph or thing",
    REFUSED: "refused by rights, policy or budget",
    STOPPED: "stopped by Ctrl-C",
}
"""Exit codes of every command."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.", show_default=False)]
"""The `--json` flag, the same on every command."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WIDE = 400


def exit_code(error: BaseException) -> int:
    """The exit code that goes with an error."""
    later = errors.MissingExtra | errors.ServerStartFailed | errors.ThreadBusy | ConnectionError
    if isinstance(error, later):
        return UNAVAILABLE
    if isinstance(error, PermissionError | errors.BudgetSpent):
        return REFUSED
    if isinstance(error, errors.PlumbError) and isinstance(error, LookupError):
        return NOT_FOUND
    if isinstance(error, errors.SettingsError):
        return USAGE
    return FAILED


def clean(text: str) -> str:
    """Text that cannot steer a terminal: control characters shown as spaces."""
    return _CONTROL.sub(" ", text)


class Out:
    """Where one command prints: an answer to stdout, progress and remarks to stderr.

    Args:
        json: Print values as JSON and nothing for people.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json

    @cached_property
    def console(self) -> Console:
        """For people; without colour off a terminal, and never cutting lines there."""
        return _console(sys.stdout)

    @cached_property
    def remarks(self) -> Console:
        """For progress, warnings and errors."""
        return _console(sys.stderr)

    def show(self, value: Any, human: Callable[[], None]) -> None:
        """Print the answer: `value` as one JSON document, or what `human` prints."""
        if self.json:
            print(dumps(value, indent=2), flush=True)  # noqa: T201 - the command's answer
        else:
            human()

    def line(self, record: Mapping[str, Any]) -> None:
        """Print one line of a JSON stream; nothing for people."""
        if self.json:
            print(dumps(record), flush=True)  # noqa: T201 - the command's answer

    def text(self, text: str = "", *, style: str = "", end: str = "\n") -> None:
        """Print text for people, as it is: no markup, no control characters."""
        if not self.json:
            self.console.print(clean(text), style=style or None, end=end, soft_wrap=True)

    def remark(self, text: str, *, style: str = "") -> None:
        """Say something beside the answer, to stderr, also with `--json`."""
        self.remarks.print(clean(text), style=style or None, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows in columns; off a terminal they are not cut."""
        if self.json:
            return
        from rich.table import Table  # noqa: PLC0415 - only for people
        from rich.text import Text  # noqa: PLC0415 - only for people

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(
                *(cell if isinstance(cell, Text) else Text(clean(_shown(cell))) for cell in row)
            )
        self.console.print(table)

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show that something is going on, on a terminal only; the given call changes the text."""
        if self.json or not self.remarks.is_terminal:
            yield lambda _: None
            return
        with self.remarks.status(clean(text)) as status:
            yield lambda changed: status.update(clean(changed))


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON of anything a command answers with."""
    return json_module.dumps(value, indent=indent, ensure_ascii=False, default=plain)


def _console(stream: Any) -> Console:
    from rich.console import Console  # noqa: PLC0415 - costs 50 ms, not needed for --json

    terminal = stream.isatty()
    return Console(
        file=stream, markup=False, highlight=False, emoji=False, width=None if terminal else _WIDE
    )


def _shown(cell: Any) -> str:
    if cell is None:
        return "-"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def report(error: BaseException, *, json: bool) -> int:
    """Print an error as one message with its next step; its exit code.

    `PLUMBGRAPH_DEBUG=1` shows the traceback too.
    """
    if os.environ.get("PLUMBGRAPH_DEBUG"):
        traceback.print_exception(error)
    code = exit_code(error)
    message, hint = _message_and_hint(error)
    if json:
        facts = {key: plain(value) for key, value in getattr(error, "facts", {}).items()}
        name = getattr(error, "code", type(error).__name__)
        document = {"code": name, "message": message, "hint": hint, **facts}
        print(dumps({"error": document, "exit_code": code}, indent=2))  # noqa: T201 - the answer
        return code
    out = Out(json=False)
    out.remark(f"error: {message}", style="bold red")
    if hint:
        out.remark(f"  next: {hint}")
    return code


def _message_and_hint(error: BaseException) -> tuple[str, str]:
    if isinstance(error, errors.PlumbError):
        return error.message, error.hint
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return said, "Set PLUMBGRAPH_DEBUG=1 to see the traceback."

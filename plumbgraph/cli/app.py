"""The entry of the command line: a table of nouns, each imported when it is called.

To add a noun: put a `typer.Typer` named `app` into `plumbgraph/cli/NOUN.py` and a line into
`NOUNS`. Nothing else is needed. A file that offers several top-level commands (`servers`: up,
status, down) gets a line for each. Print with `plumbgraph.cli.console`; raise `PlumbError` for
anything that goes wrong: it becomes one message, one next step and an exit code. Import what is
heavy inside the commands, so that `--help` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from plumbgraph.cli import console
from plumbgraph.errors import PlumbError


class Noun(NamedTuple):
    """One top-level command: the module that holds it, its group in the help, and one line."""

    module: str
    panel: str
    help: str


NOUNS: dict[str, Noun] = {
    "demo": Noun("demo", "Start here", "Watch an agent survive kill -9 on real servers."),
    "doctor": Noun("doctor", "Start here", "Look for what is wrong with the set-up."),
    "run": Noun("run", "Agents", "Run a graph on a thread that survives crashes."),
    "resume": Noun("run", "Agents", "Go on with a thread where it stopped."),
    "threads": Noun("threads", "Agents", "List the threads."),
    "trace": Noun("trace", "Agents", "Tell what happened in a thread."),
    "recover": Noun("recover", "Agents", "Find and resume what a crash left behind."),
    "crashtest": Noun("crashtest", "Agents", "Kill a graph at every bad moment and judge it."),
    "skills": Noun("skills", "Parts", "Check, search, install and lock skills."),
    "memory": Noun("memory", "Parts", "Look into the long-term memory."),
    "mcp": Noun("mcp", "Parts", "Share the memory over MCP."),
    "router": Noun("router", "Parts", "Models, prices, budgets and what routing saved."),
    "policy": Noun("policy", "Parts", "What an agent may use, and which rule says so."),
    "workspace": Noun("workspace", "Parts", "Snapshots of an agent's files."),
    "state": Noun("state", "Parts", "Checkpoints: sizes, pruning, import and export."),
    "up": Noun("servers", "Servers", "Start the embedded PostgreSQL and Valkey."),
    "status": Noun("servers", "Servers", "Show what runs."),
    "down": Noun("servers", "Servers", "Stop the embedded servers."),
    "setup": Noun("setup", "Servers", "Make or check the database schema."),
    "maintain": Noun("maintain", "Servers", "Remove what retention rules no longer keep."),
}

_EPILOG = "Exit codes: " + " · ".join(
    f"{code} {meaning.split(';')[0]}" for code, meaning in console.EXIT_CODES.items()
)


class Nouns(TyperGroup):
    """A group that imports a command only when it is called, and says errors in one message."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The nouns in the order of the table."""
        return [name for name, noun in NOUNS.items() if _is_there(noun.module)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """A stand-in that knows its help line: enough for `--help` and completion."""
        noun = NOUNS.get(cmd_name)
        if noun is None or not _is_there(noun.module):
            return None
        stand_in = typer.Typer(add_completion=False)
        stand_in.command(cmd_name, help=noun.help, rich_help_panel=noun.panel)(_nothing)
        return _named(typer.main.get_command(stand_in), cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now."""
        noun = NOUNS.get(args[0]) if args else None
        if noun is None or not _is_there(noun.module):
            self.commands = dict.fromkeys(self.list_commands(ctx), self)  # what to suggest from
            return super().resolve_command(ctx, args)
        loaded: Any = typer.main.get_command(import_module(f"plumbgraph.cli.{noun.module}").app)
        command = getattr(loaded, "commands", {}).get(args[0], loaded)
        return args[0], _named(command, args[0]), args[1:]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; every error ends as one message and an exit code."""
        words = sys.argv[1:] if args is None else list(args)
        code = console.FAILED
        try:
            done = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            code = done if isinstance(done, int) else console.OK
        except BrokenPipeError:
            # The reader of our output went away, as `| head` does: nothing to say to anyone.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = console.OK
        except (KeyboardInterrupt, typer.Abort):
            code = console.STOPPED
        except Exception as error:  # noqa: BLE001 - the outermost frame
            code = _reported(error, json="--json" in words)
        if standalone_mode:
            sys.exit(code)
        return code


def _reported(error: Exception, *, json: bool) -> int:
    usage = getattr(error, "format_message", None)
    if usage is not None:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "plumbgraph"
        error = _Usage(str(usage()), hint=f"See `{command} --help`.")
        console.report(error, json=json)
        return console.USAGE
    return console.report(error, json=json)


class _Usage(PlumbError):
    code = "cli.usage"


def _is_there(module: str) -> bool:
    return Path(__file__).with_name(f"{module}.py").exists()


def _named(command: Any, name: str) -> Any:
    command.name = name
    return command


def _nothing() -> None:
    """Stand in for a command that is not imported."""


app = typer.Typer(
    name="plumbgraph",
    cls=Nouns,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        from plumbgraph import __version__  # noqa: PLC0415 - only when asked

        print(f"plumbgraph {__version__}")  # noqa: T201 - the command's answer
        raise typer.Exit


@app.callback()
def plumbgraph(
    version: bool = typer.Option(
        False, "--version", help="Show the version.", callback=_version, is_eager=True
    ),
) -> None:
    """The plumbing that lets LangGraph agents actually run.

    `plumbgraph demo` shows it in ten seconds, offline and without a key.
    """


def main() -> None:
    """Run the command line."""
    app()

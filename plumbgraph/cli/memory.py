"""`plumbgraph memory`: look into the long-term memory, settle, tidy, erase and move it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import Json, Out
from plumbgraph.errors import MemoryExpired, MemoryInvalid, SettingsError

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore, Outcome

app = typer.Typer(no_args_is_help=True)

Place = Annotated[str, typer.Argument(help="A namespace, labels joined by slashes: users/ana.")]
Prefix = Annotated[str, typer.Argument(help="A namespace or the beginning of one.")]
Key = Annotated[str, typer.Argument(help="The item's key.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="A version number, or a time such as 2026-05-01T12:00+00:00."),
]


@contextmanager
def _store() -> Iterator[MemoryStore]:
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    with open_servers() as plumbing:
        yield plumbing.store


def _namespace(text: str) -> tuple[str, ...]:
    return tuple(label for label in text.split("/") if label)


def _moment(text: str) -> Any:
    if text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is neither a version nor a time.") from error
    return moment.astimezone() if moment.tzinfo is None else moment


@app.command("ls")
def list_(prefix: Prefix = "", limit: int = 50, json: Json = False) -> None:
    """List the items under a namespace, the last changed first."""
    out = Out(json=json)
    with _store() as store:
        found = store.search(_namespace(prefix), limit=limit, refresh_ttl=False)
    rows = [("/".join(i.namespace), i.key, i.value, i.updated_at) for i in found]
    value = [item.dict() for item in found]
    columns = ("namespace", "key", "value", "changed")
    nothing = "nothing is remembered here"
    out.show(value, lambda: out.table(columns, rows) if rows else out.text(nothing))


@app.command()
def get(namespace: Place, key: Key, as_of: AsOf = None, json: Json = False) -> None:
    """Show one item with its version and where it came from."""
    out = Out(json=json)
    with _store() as store:
        moment = None if as_of is None else _moment(as_of)
        item = store.get(_namespace(namespace), key, as_of=moment, refresh_ttl=False)
    if item is None:
        raise MemoryExpired(f"There is no item {key!r} in {namespace!r}.", hint="See `ls`.")
    value = {**item.dict(), "version": item.version, "contested": item.contested}
    out.show(value, lambda: out.table(("", ""), list(value.items())))


@app.command()
def history(namespace: Place, key: Key, json: Json = False) -> None:
    """List the versions of an item, newest first."""
    out = Out(json=json)
    with _store() as store:
        found = store.history(_namespace(namespace), key)
    rows = [(v.version, v.kind, v.at, v.value, v.provenance.source) for v in found]
    columns = ("version", "kind", "at", "value", "source")
    value = [dict(zip(columns, row, strict=True)) for row in rows]
    out.show(value, lambda: out.table(columns, rows))


@app.command()
def diff(namespace: Place, key: Key, before: str, after: str, json: Json = False) -> None:
    """Show what changed in an item between two versions or times."""
    out = Out(json=json)
    with _store() as store:
        found = store.diff(_namespace(namespace), key, _moment(before), _moment(after))
    rows = [(c.op, c.path, c.before, c.after) for c in found]
    columns = ("op", "path", "before", "after")
    value = [dict(zip(columns, row, strict=True)) for row in rows]
    out.show(value, lambda: out.table(columns, rows))


@app.command()
def revert(namespace: Place, key: Key, to: str, json: Json = False) -> None:
    """Give an item the value of an earlier version or time again."""
    out = Out(json=json)
    with _store() as store:
        version = store.revert(_namespace(namespace), key, _moment(to))
    out.show({"version": version}, lambda: out.text(f"version {version}"))


@app.command()
def conflicts(namespace: Place, json: Json = False) -> None:
    """List the facts that contradict each other and wait for someone to settle them."""
    out = Out(json=json)
    with _store() as store:
        found = store.conflicts(_namespace(namespace))
    rows = [
        (i.value["subject"], i.value["attribute"], i.value["value"], r.value["value"], r.source)
        for i in found
        for r in i.rivals
    ]
    columns = ("subject", "attribute", "held", "rival", "source")
    value = [dict(zip(columns, row, strict=True)) for row in rows]
    out.show(value, lambda: out.table(columns, rows) if rows else out.text("nothing is contested"))


@app.command()
def resolve(namespace: Place, subject: str, attribute: str, value: str, json: Json = False) -> None:
    """Settle a contested fact on one value."""
    out = Out(json=json)
    with _store() as store:
        outcome: Outcome = store.resolve(_namespace(namespace), subject, attribute, value)
    told = {"said": outcome.said, "version": outcome.version, "reason": outcome.reason}
    out.show(told, lambda: out.text(f"{outcome.said}, version {outcome.version}"))


@app.command()
def sleep(
    namespace: Place,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    json: Json = False,
) -> None:
    """Merge copies, date relative dates and archive what is weak; `undo` takes it back."""
    out = Out(json=json)
    with _store() as store:
        report = store.sleep(_namespace(namespace), dry_run=dry_run)
    rows = [(a.deed, a.key, a.reason) for a in report.actions]
    columns = ("deed", "key", "reason")
    value = {
        "id": report.id,
        "dry_run": dry_run,
        "actions": [dict(zip(columns, row, strict=True)) for row in rows],
        "skipped": report.skipped,
        "contested": report.contested,
        "alike_attributes": report.alike_attributes,
    }
    out.show(value, lambda: out.table(columns, rows) if rows else out.text("nothing to tidy"))
    if rows and not dry_run:
        out.remark(f"undo it with: plumbgraph memory undo {namespace} {report.id}")


@app.command()
def undo(namespace: Place, report: str, json: Json = False) -> None:
    """Take back what a sleep did, by the id it printed."""
    from plumbgraph.memory import SleepReport  # noqa: PLC0415 - quick start

    out = Out(json=json)
    with _store() as store:
        done, kept = store.undo(SleepReport(report, _namespace(namespace), dry_run=False))
    out.show({"restored": done, "kept": kept}, lambda: out.text(f"{done} items put back"))


@app.command()
def erase(
    subject: str,
    prefix: Prefix = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else only say what it takes.")] = False,
    json: Json = False,
) -> None:
    """Remove every trace of a subject, history and feed included; this cannot be undone."""
    out = Out(json=json)
    with _store() as store:
        report = store.erase(subject, namespace=_namespace(prefix), dry_run=not yes)
    verb = "removed" if yes else "would be removed (add --yes)"
    told = f"{report.items} items and {report.versions} earlier versions {verb}"
    value = {"items": report.items, "versions": report.versions, "dry_run": not yes}
    out.show(value, lambda: out.text(told))


@app.command()
def export(
    prefix: Prefix = "",
    to: Annotated[Path | None, typer.Option("--to", help="A file; by default the output.")] = None,
    json: Json = False,
) -> None:
    """Write items as JSON lines without loss, or as CLAUDE.md, AGENTS.md or .cursorrules."""
    from plumbgraph.memory.formats import FILES, write  # noqa: PLC0415 - quick start

    namespace = _namespace(prefix)
    with _store() as store:
        if to is not None and to.name in FILES:
            items: Any = store.search(namespace, limit=100_000, refresh_ttl=False)
            text, count = write(items, FILES[to.name]), len(items)
        else:
            lines = store.export(namespace)
            text, count = "".join(f"{line}\n" for line in lines), len(lines)
    if to is None:
        sys.stdout.write(text)
        return
    to.write_text(text, encoding="utf-8")
    told = {"exported": count, "to": str(to)}
    Out(json=json).show(told, lambda: Out(json=json).text(f"{count} exported to {to}"))


@app.command("import")
def import_(file: Path, namespace: Prefix = "", json: Json = False) -> None:
    """Read JSON lines of `export`, or CLAUDE.md, AGENTS.md, .cursorrules, a ChatGPT export."""
    from plumbgraph.memory.formats import FILES, read  # noqa: PLC0415 - quick start

    out, place = Out(json=json), _namespace(namespace)
    if not file.is_file():
        raise SettingsError(f"There is no file {str(file)!r}.")
    text = file.read_text(encoding="utf-8")
    with _store() as store:
        if file.name not in FILES:
            count = store.import_lines(text.splitlines())
        elif not place:
            raise MemoryInvalid(f"Say into which namespace {file.name} goes.")
        else:
            notes = read(text, FILES[file.name])
            for note in notes:
                store.put(
                    place,
                    note.key,
                    note.value,
                    kind=note.section,
                    group=note.group,
                    valid_from=note.at,
                    source=file.name,
                    idempotency_key=note.key,
                )
            count = len(notes)
    out.show({"imported": count}, lambda: out.text(f"{count} imported"))

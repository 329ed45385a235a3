"""`plumbgraph router`: learn from outcomes, judge, explain, and read the books of a budget."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import FAILED, Json, Out
from plumbgraph.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from plumbgraph.routing.feedback import OutcomeRow
    from plumbgraph.routing.outcomes import Tallies
    from plumbgraph.routing.training import Comparison

app = typer.Typer(no_args_is_help=True)

_LISTED = 8

Source = Annotated[
    str, typer.Argument(help="A file of outcomes as JSON lines, or langsmith:DATASET.")
]
ModelFile = Annotated[Path, typer.Option("--out", help="Where the text model is written.")]
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis", help="The budget's Redis; PLUMBGRAPH_REDIS_URL when not given."),
]
Tenant = Annotated[str, typer.Option(help="Whose budget.")]


@app.command()
def fit(
    outcomes: Source,
    out_file: ModelFile = Path("router.npz"),
    force: Annotated[
        bool, typer.Option("--force", help="Write it even where it proves no better.")
    ] = False,
    json: Json = False,
) -> None:
    """Learn a text model, and write it where cross-validation shows no regression."""
    from plumbgraph.routing.predict import save_text_model  # noqa: PLC0415 - quick start
    from plumbgraph.routing.training import compare, fit_table, table_of  # noqa: PLC0415 - as above

    out = Out(json=json)
    table = table_of(_rows(outcomes))
    with out.working("cross-validating"):
        found = compare(table)
    written = found.promote or force
    if written:
        save_text_model(fit_table(table), out_file)
    value = {**asdict(found), "models": table.heads, "written": str(out_file) if written else None}
    out.show(value, lambda: _show_comparison(out, found, value))
    if not written:
        raise typer.Exit(FAILED)


@app.command()
def eval(outcomes: Source, json: Json = False) -> None:  # noqa: A001 - the command's name
    """Judge a text model against the task cells alone; write nothing."""
    from plumbgraph.routing.training import compare, table_of  # noqa: PLC0415 - quick start

    out = Out(json=json)
    table = table_of(_rows(outcomes))
    with out.working("cross-validating"):
        found = compare(table)
    value = {**asdict(found), "models": table.heads}
    out.show(value, lambda: _show_comparison(out, found, value))


@app.command()
def report(
    outcomes: Annotated[
        str | None, typer.Argument(help="Outcomes; leave out for the budget alone.")
    ] = None,
    redis: RedisUrl = None,
    tenant: Tenant = "default",
    month: Annotated[str, typer.Option(help="YYYYMM; this month when not given.")] = "",
    json: Json = False,
) -> None:
    """Lived experience beside benchmarks, shadow calls, and what the ledger holds."""
    from plumbgraph.routing.report import pairs, tasks  # noqa: PLC0415 - quick start

    rows = _rows(outcomes) if outcomes else []
    value: dict[str, Any] = {
        "tasks": [asdict(row) for row in tasks(rows)],
        "shadow": [asdict(row) for row in pairs(rows)],
        "ledger": _ledger(redis, tenant, month),
    }
    out = Out(json=json)
    out.show(value, lambda: _show_report(out, value))


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="A request.")],
    model: Annotated[list[str], typer.Option("--model", help="provider:name; repeat it.")],
    text_model: Annotated[
        Path | None, typer.Option("--with", help="A text model written by `fit`.")
    ] = None,
    outcomes: Annotated[Path | None, typer.Option(help="Outcomes as JSON lines.")] = None,
    quality: Annotated[float, typer.Option(help="P(ok) that is wanted.")] = 0.8,
    node: Annotated[str, typer.Option(help="The graph's node.")] = "",
    task: Annotated[str, typer.Option(help="The task's label.")] = "",
    json: Json = False,
) -> None:
    """Say which model would answer a request, why, and what was refused by which rule."""
    from plumbgraph.routing import Aim, CostRouter, Request, TextPredictor  # noqa: PLC0415 - quick start
    from plumbgraph.routing.predict import load_text_model  # noqa: PLC0415 - as above
    from plumbgraph.routing.tokens import text_bounds  # noqa: PLC0415 - as above

    predict = TextPredictor(load_text_model(text_model)) if text_model else None
    router = CostRouter(model, aim=Aim.quality(quality), predict=predict)
    known = _rows(str(outcomes)) if outcomes else []
    router.tallies.add_all(row.outcome() for row in known)
    bounds = text_bounds(text)
    request = Request(
        text=text,
        node=node,
        task=task,
        input_tokens=bounds.expected,
        worst_input_tokens=bounds.worst,
    )
    decision = router.decide(request)
    note = _other_cells(request.cell, router.tallies) if known else ""
    out = Out(json=json)
    value = {**decision.to_dict(), "cell": request.cell, "note": note}
    out.show(value, lambda: _show_decision(out, decision, note))


def _other_cells(cell: str, tallies: Tallies) -> str:
    """What there is instead, where no outcome speaks for the cell."""
    found = [key for key, _ in tallies.items()]
    if any(tallies.speaking(cell, model).count for _, model in found):
        return ""
    cells = sorted({name for name, _ in found if name})
    listed = ", ".join(map(repr, cells[:_LISTED])) + (", …" if len(cells) > _LISTED else "")
    return f"No outcome stands under {cell!r} (node/skill/task); there are: {listed or 'no tasks'}."


def _rows(source: str) -> list[OutcomeRow]:
    from plumbgraph.routing.feedback import JsonlOutcomes  # noqa: PLC0415 - quick start

    kind, colon, name = source.partition(":")
    if colon and kind == "langsmith":
        return _from_langsmith(name)
    if not Path(source).is_file():
        raise SettingsError(f"There is no file {source!r} of outcomes.")
    return JsonlOutcomes(source).read()


def _from_langsmith(dataset: str) -> list[OutcomeRow]:
    from plumbgraph.routing.langsmith import outcomes_of_dataset  # noqa: PLC0415 - quick start

    try:
        from langsmith import Client  # noqa: PLC0415 - quick start
    except ImportError as error:
        raise MissingExtra("Reading a dataset needs langsmith.", extra="all") from error
    return outcomes_of_dataset(Client(), dataset)


def _ledger(url: str | None, tenant: str, month: str) -> dict[str, Any] | None:
    from plumbgraph.clock import SYSTEM  # noqa: PLC0415 - quick start
    from plumbgraph.redis.clients import Redis  # noqa: PLC0415 - as above
    from plumbgraph.routing.budget import periods  # noqa: PLC0415 - as above
    from plumbgraph.routing.health import RedisHealth  # noqa: PLC0415 - as above
    from plumbgraph.routing.spending import Budget  # noqa: PLC0415 - as above
    from plumbgraph.settings import Settings  # noqa: PLC0415 - as above

    url = url or Settings.load().redis_url
    if url is None:
        return None
    with Redis(url) as server:
        budget = Budget(redis=server, tenant=tenant)
        charges = budget.charges(month or periods(SYSTEM.now())[0])
        doubts = budget.doubts()
        breakers = RedisHealth(server, tenant=tenant).records()
    by_model: dict[str, dict[str, float]] = {}
    for charge in charges:
        told = by_model.setdefault(charge.model, {"calls": 0, "usd": 0.0})
        told["calls"] += 1
        told["usd"] += charge.nano / 1e9
    return {
        "usd": sum(charge.nano for charge in charges) / 1e9,
        "models": by_model,
        "in_doubt_usd": sum(doubt.nano for doubt in doubts) / 1e9,
        "in_doubt": [asdict(doubt) for doubt in doubts],
        "breakers": breakers,
    }


def _show_comparison(out: Out, found: Comparison, value: dict[str, Any]) -> None:
    out.text(f"models             {', '.join(value['models'])}")
    out.text(f"labels             {found.labels}")
    out.text(f"log loss, cells    {found.log_loss_cells:.4f}")
    out.text(f"log loss, text     {found.log_loss_text:.4f}")
    out.text(f"gain               {found.gain:+.4f} nats, at least {found.gain_low:+.4f}")
    out.text(f"calibration error  {found.calibration_error:.3f}")
    verdict = "no worse than the task cells" if found.promote else "not shown to be no worse"
    out.text(f"verdict            {verdict}")
    if "written" in value:
        out.text(f"written            {value['written'] or 'nothing'}")


def _show_report(out: Out, value: dict[str, Any]) -> None:
    if value["tasks"]:
        out.text("lived experience beside benchmarks", style="bold")
        columns = ("task", "model", "n", "lived", "95 %", "benchmark", "gap", "$ a call")
        out.table(columns, [_task_cells(row) for row in value["tasks"]])
    if value["shadow"]:
        out.text("shadow calls", style="bold")
        columns = ("task", "model", "shadow", "n", "difference", "95 %", "saved $", "verdict")
        out.table(columns, [_pair_cells(row) for row in value["shadow"]])
    ledger = value["ledger"]
    if ledger is None:
        out.text("no Redis is named, so there is no ledger to read")
        return
    out.text(f"spent ${ledger['usd']:.6f}, in doubt ${ledger['in_doubt_usd']:.6f}", style="bold")
    models = ledger["models"].items()
    out.table(("model", "calls", "$"), [(n, m["calls"], f"{m['usd']:.6f}") for n, m in models])
    for model, record in ledger["breakers"].items():
        until = datetime.fromtimestamp(record["rests_until_at"], UTC)
        rests = f", rests until {until:%H:%M:%S} UTC" if record["rests_until_at"] else ""
        out.text(f"breaker: {model} failed {record['failures']} times in a row{rests}")
    for doubt in ledger["in_doubt"]:
        told = doubt["facts"]
        out.text(f"in doubt: ${doubt['nano'] / 1e9:.6f} {told.get('model')} {doubt['why']}")


def _task_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    benchmark = "-" if row["benchmark"] is None else f"{row['benchmark']:.2f}"
    gap = "-" if row["gap"] is None else f"{row['gap']:+.2f}{' !' if row['flagged'] else ''}"
    interval = f"{row['low']:.2f} to {row['high']:.2f}"
    lived = f"{row['lived']:.2f}"
    usd = f"{row['usd']:.6f}"
    return row["task"], row["model"], row["count"], lived, interval, benchmark, gap, usd


def _pair_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    interval = f"{row['low']:+.2f} to {row['high']:+.2f}"
    difference, saved = f"{row['difference']:+.2f}", f"{row['saved_usd']:.6f}"
    names = row["task"], row["model"], row["shadow"], row["count"]
    return (*names, difference, interval, saved, row["verdict"])


def _show_decision(out: Out, decision: Any, note: str) -> None:
    out.text(f"{decision.model}  ({decision.code})", style="bold")
    out.text(decision.reason)
    rows = [
        (e.model, f"{e.p_ok:.2f}", e.p_source, f"{e.expected_nano / 1e9:.6f}")
        for e in decision.candidates
    ]
    out.table(("candidate", "P(ok)", "from", "expected $"), rows)
    for refused in decision.refusals:
        out.text(f"refused: {refused.model} by {refused.rule}: {refused.reason}")
    if note:
        out.text(note)

"""`plumbgraph policy`: show the rules in force, and ask what they say."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli.console import REFUSED, Json, Out
from plumbgraph.errors import SettingsError

if TYPE_CHECKING:
    from plumbgraph.policy import Decision

app = typer.Typer(no_args_is_help=True)

Recommended = Annotated[
    Path | None,
    typer.Option("--with", help="A file of recommended rules to add.", show_default=False),
]


@app.command()
def show(recommended: Recommended = None, json: Json = False) -> None:
    """Print the rules in force and the file they come from."""
    policy = _policy(recommended)
    managed = policy.managed
    value = {
        "digest": policy.digest,
        "managed": str(managed.path) if managed.path else None,
        "own": managed.own,
        "rules": {name: asdict(rules) for name, rules in policy.rules.items()},
    }
    out = Out(json=json)
    out.show(value, lambda: _show(out, value))


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="provider:name")],
    region: Annotated[str, typer.Option(help="Where it computes.")] = "",
    data: Annotated[
        list[str] | None, typer.Option(help="A class of the data; repeat it.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A tag of the model; repeat it.", show_default=False)
    ] = None,
    recommended: Recommended = None,
    json: Json = False,
) -> None:
    """Ask whether a model may be used; its price is looked up."""
    from plumbgraph.clock import SYSTEM  # noqa: PLC0415 - quick start
    from plumbgraph.errors import UnknownPrice  # noqa: PLC0415 - as above
    from plumbgraph.routing.catalog import ModelCard  # noqa: PLC0415 - as above
    from plumbgraph.routing.prices import price_book  # noqa: PLC0415 - as above

    card = ModelCard(model=name, region=region, tags=frozenset(tag or ()))
    try:
        price = price_book().price(name, at=SYSTEM.now())
    except UnknownPrice:
        price = None
    decision = _policy(recommended).model(card.facts(price), data_classes=data or ())
    _tell(decision, Out(json=json))


@app.command()
def tool(
    name: Annotated[str, typer.Argument(help="The tool's name; skill:NAME/PATH for a script.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, as JSON.")] = "{}",
    recommended: Recommended = None,
    json: Json = False,
) -> None:
    """Ask whether a tool may be called with these arguments."""
    try:
        told = json_module.loads(arguments)
    except json_module.JSONDecodeError as error:
        raise SettingsError(f"The arguments {arguments!r} are not JSON: {error}.") from error
    if not isinstance(told, dict):
        raise SettingsError(f"The arguments {arguments!r} are no JSON object.")
    _tell(_policy(recommended).tool(name, told), Out(json=json))


@app.command()
def url(
    address: Annotated[str, typer.Argument(help="A web address.")],
    recommended: Recommended = None,
    json: Json = False,
) -> None:
    """Ask whether an address may be visited."""
    _tell(_policy(recommended).url(address), Out(json=json))


def _policy(recommended: Path | None) -> Any:
    from plumbgraph.policy import Policy  # noqa: PLC0415 - quick start

    if recommended is not None and not recommended.is_file():
        raise SettingsError(f"There is no file {str(recommended)!r}.")
    return Policy(recommended)


def _tell(decision: Decision, out: Out) -> None:
    def human() -> None:
        out.text(f"{decision.verdict}  {decision.rule}")
        out.text(decision.reason)

    out.show(asdict(decision), human)
    if not decision.allowed:
        raise typer.Exit(REFUSED)


def _show(out: Out, value: dict[str, Any]) -> None:
    out.text(f"digest   {value['digest']}")
    out.text(f"managed  {value['managed'] or 'no file'}")
    if value["own"]:
        out.text("         this user owns it: an agent that runs as the user could change it")
    for layer, parts in value["rules"].items():
        for part, rules in parts.items():
            for key, rule in rules.items():
                if rule not in (None, (), {}):
                    out.text(f"{layer:<12} {part}.{key} = {json_module.dumps(rule)}")

"""`plumbgraph skills publish`, `versions`, `move`, `withdraw`: a fleet's shared registry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbgraph.cli.console import Json, Out
from plumbgraph.errors import SettingsError, SkillNotFound

if TYPE_CHECKING:
    from plumbgraph.skills.registry import SkillRegistry

Registry = Annotated[
    str, typer.Option("--registry", help="Redis URL, with #REGISTRY at the end if named.")
]
Name = Annotated[str, typer.Argument(help="The skill's name.")]
Tag = Annotated[str, typer.Option("--tag", help="Which tag.")]


def publish(
    folder: Annotated[Path, typer.Argument(help="One skill's folder.")],
    registry: Registry,
    tag: Tag = "latest",
    expected: Annotated[
        str | None, typer.Option(help="Only if the tag points to this digest now; - for nothing.")
    ] = None,
    json: Json = False,
) -> None:
    """Publish a skill to the shared registry and point a tag at it."""
    from plumbgraph.skills.library import SkillLibrary  # noqa: PLC0415 - quick start
    from plumbgraph.skills.sources.directory import DirectorySource  # noqa: PLC0415 - as above

    out = Out(json=json)
    library = SkillLibrary([DirectorySource(folder, cache=None)], cache=None)
    outer = [r for r in library.report().loaded if r.location == "."]
    if not outer:
        raise SettingsError(f"{str(folder)!r} is no skill; run `plumbgraph skills check` on it.")
    name = outer[0].name
    digest = _open(registry).publish(library.open(name), tag=tag, expected=expected)
    value = {"name": name, "digest": digest, "tag": tag}
    out.show(value, lambda: out.text(f"{name} {digest[:12]} is {tag}"))


def versions(name: Name, registry: Registry, tag: Tag = "latest", json: Json = False) -> None:
    """List every published version of a skill, the oldest first, and the one a tag points at."""
    out = Out(json=json)
    place = _open(registry)
    current = place.current(name, tag=tag)
    found = place.versions(name)
    if not found:
        raise SkillNotFound(f"The registry has no skill {name!r}.", skill=name)
    value = [{"digest": digest, **facts, tag: digest == current} for digest, facts in found]
    rows = [
        (digest[:12], facts.get("version") or "-", _day(facts), tag if digest == current else "")
        for digest, facts in found
    ]
    out.show(value, lambda: out.table(("digest", "version", "published", "tag"), rows))


def move(
    name: Name,
    digest: Annotated[str, typer.Argument(help="A published version, or how it begins.")],
    registry: Registry,
    tag: Tag = "latest",
    json: Json = False,
) -> None:
    """Point a tag at another published version, for example back; no running thread changes."""
    out = Out(json=json)
    place = _open(registry)
    whole = _whole(place, name, digest)
    changed = place.move(name, whole, tag=tag)
    value = {"name": name, "digest": whole, "tag": tag, "changed": changed}
    said = "is now" if changed else "was already"
    out.show(value, lambda: out.text(f"{name} {whole[:12]} {said} {tag}"))


def withdraw(name: Name, registry: Registry, tag: Tag = "latest", json: Json = False) -> None:
    """Take a skill out of a tag; its versions stay, and threads that loaded it keep it."""
    out = Out(json=json)
    if not _open(registry).withdraw(name, tag=tag):
        raise SkillNotFound(f"{name!r} is not under the tag {tag!r}.", skill=name)
    value = {"name": name, "tag": tag, "withdrawn": True}
    out.show(value, lambda: out.text(f"{name} is no longer {tag}"))


COMMANDS = (publish, versions, move, withdraw)


def _open(address: str) -> SkillRegistry:
    from plumbgraph.skills.registry import SkillRegistry  # noqa: PLC0415 - quick start

    url, _, named = address.partition("#")
    return SkillRegistry(url, registry=named or "default")


def _whole(place: SkillRegistry, name: str, digest: str) -> str:
    found = [known for known, _ in place.versions(name) if known.startswith(digest)]
    if not digest or not found:
        raise SkillNotFound(
            f"{name!r} has no version {digest!r}.",
            hint="`plumbgraph skills versions NAME` lists them.",
            skill=name,
        )
    if len(found) > 1:
        raise SettingsError(f"{digest!r} begins {len(found)} versions of {name!r}; write more.")
    return found[0]


def _day(facts: dict[str, object]) -> str:
    at = facts.get("published_at")
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" if isinstance(at, float) else "-"

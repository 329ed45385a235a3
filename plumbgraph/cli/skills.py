"""`plumbgraph skills`: check, search, measure, lock, publish and install skills."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli import skills_registry
from plumbgraph.cli.console import FAILED, Json, Out
from plumbgraph.errors import SettingsError

if TYPE_CHECKING:
    from plumbgraph.skills.evaluate import Evaluation
    from plumbgraph.skills.library import SkillLibrary
    from plumbgraph.skills.lock import Difference
    from plumbgraph.skills.values import Diagnostic, Report

app = typer.Typer(no_args_is_help=True)
for registry_command in skills_registry.COMMANDS:
    app.command()(registry_command)

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        help="A folder, git+CLONE@REF#FOLDER, package:NAME or a registry's Redis URL; repeat it, "
        "the first wins. The folder `skills` when not given.",
        show_default=False,
    ),
]
LockFile = Annotated[Path, typer.Option("--lock", help="The lock file.")]
DEFAULT_LOCK = Path("skills.lock")


@app.command()
def check(
    folders: Annotated[list[Path], typer.Argument(help="Skills, or folders of skills.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Agree with the standard's reference validator.")
    ] = False,
    json: Json = False,
) -> None:
    """Say of every SKILL.md whether it loads, and what is odd about it."""
    from plumbgraph.skills.library import SkillLibrary  # noqa: PLC0415 - quick start
    from plumbgraph.skills.sources.directory import DirectorySource  # noqa: PLC0415 - as above

    out = Out(json=json)
    missing = [folder for folder in folders if not folder.is_dir()]
    if missing:
        raise SettingsError(f"There is no folder {str(missing[0])!r}.")
    sources = [DirectorySource(folder, cache=None) for folder in folders]
    report = SkillLibrary(sources, cache=None).report()
    faults = _strict_faults(folders) if strict else []
    value = {
        "on_disk": report.on_disk,
        "loaded": [record.qualified for record in report.loaded],
        "shadowed": [s.record.address for s in report.shadowed],
        "rejected": [r.path for r in report.rejected],
        "diagnostics": [asdict(d) for d in (*faults, *report.diagnostics)],
    }
    out.show(value, lambda: _show_check(out, report, faults))
    if report.rejected or faults:
        raise typer.Exit(FAILED)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The task in a few words.")],
    source: Sources = None,
    k: Annotated[int, typer.Option("-k", min=1, max=100, help="How many to show.")] = 5,
    json: Json = False,
) -> None:
    """Rank the skills for a request, with scores and reasons."""
    out = Out(json=json)
    result = _library(source).search(query, k=k)
    hits = [(hit.name, f"{hit.score:.2f}", hit.reason) for hit in result]
    rows = [{"name": h.name, "score": h.score, "reason": h.reason} for h in result]
    value = {"fits": result.fits, "verdict": result.verdict, "hits": rows}

    def human() -> None:
        out.text(result.verdict)
        out.table(("skill", "score", "reason"), hits)

    out.show(value, human)


@app.command()
def tokens(
    source: Sources = None,
    budget: Annotated[int, typer.Option(min=100, help="Tokens for the catalog.")] = 4_000,
    json: Json = False,
) -> None:
    """Count what skills cost: the catalog, each description and each body."""
    from plumbgraph.skills.catalog import catalog_line  # noqa: PLC0415 - quick start

    out = Out(json=json)
    library = _library(source)
    records = library.report().loaded
    rows = [
        (
            record.name,
            library.counter(catalog_line(record)),
            library.counter(library.open(record.name).body),
        )
        for record in records
    ]
    rows.sort(key=lambda row: -row[2])
    catalog = library.catalog(budget)
    keys = ("name", "catalog_tokens", "body_tokens")
    value = {
        "catalog_tokens": catalog.tokens,
        "described": len(catalog.shown),
        "skills": [dict(zip(keys, row, strict=True)) for row in rows],
    }

    def human() -> None:
        out.table(("skill", "line", "body"), rows)
        whole = sum(row[1] for row in rows)
        out.text(f"catalog {catalog.tokens} tokens (all descriptions would be {whole})")

    out.show(value, human)


@app.command()
def lock(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all when not given.")] = None,
    source: Sources = None,
    file: LockFile = DEFAULT_LOCK,
    json: Json = False,
) -> None:
    """Write down the digest of every skill and of every file in it."""
    from plumbgraph.skills.lock import dump_lock, lock_skills  # noqa: PLC0415 - quick start

    out = Out(json=json)
    locks = lock_skills(_library(source), names or None)
    file.write_text(dump_lock(locks), encoding="utf-8")
    value = {"lock": str(file), "skills": {name: entry.digest for name, entry in locks.items()}}
    out.show(value, lambda: out.text(f"locked {len(locks)} skills in {file}"))


@app.command()
def verify(source: Sources = None, file: LockFile = DEFAULT_LOCK, json: Json = False) -> None:
    """Fail unless every locked skill is there, byte for byte."""
    from plumbgraph.skills.lock import read_lock, require  # noqa: PLC0415 - quick start

    out = Out(json=json)
    locks = read_lock(file)
    require(_library(source), locks)
    out.show({"verified": len(locks)}, lambda: out.text(f"{len(locks)} skills verified"))


@app.command()
def outdated(source: Sources = None, file: LockFile = DEFAULT_LOCK, json: Json = False) -> None:
    """List skills whose source has moved on since they were locked, and unlocked ones."""
    out = Out(json=json)
    found = _differences(source, file)
    rows = [(d.name, d.what, d.locked[:12], d.found[:12]) for d in found]
    nothing = "nothing is outdated"
    out.show(
        [asdict(d) for d in found],
        lambda: out.table(("skill", "is", "locked", "found"), rows) if rows else out.text(nothing),
    )


@app.command()
def diff(
    name: Annotated[str | None, typer.Argument(help="One skill; all when not given.")] = None,
    source: Sources = None,
    file: LockFile = DEFAULT_LOCK,
    json: Json = False,
) -> None:
    """Show which files of changed skills differ from the lock."""
    out = Out(json=json)
    found = [d for d in _differences(source, file) if name in {None, d.name} and d.files]

    def human() -> None:
        for difference in found:
            out.text(difference.name, style="bold")
            for line in difference.files:
                out.text(f"  {line}")
        if not found:
            out.text("no file differs")

    out.show([asdict(d) for d in found], human)


@app.command()
def install(
    names: Annotated[list[str], typer.Argument(help="Which skills.")],
    source: Sources = None,
    into: Annotated[Path, typer.Option(help="Where skills live.")] = Path("skills"),
    frozen: Annotated[bool, typer.Option("--frozen", help="Only exactly what is locked.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also over a different one.")] = False,
    file: LockFile = DEFAULT_LOCK,
    json: Json = False,
) -> None:
    """Copy skills from a source into a folder; with --frozen only what the lock says."""
    from plumbgraph.errors import SkillTampered  # noqa: PLC0415 - quick start
    from plumbgraph.skills.install import install_skill  # noqa: PLC0415 - as above
    from plumbgraph.skills.lock import read_lock  # noqa: PLC0415 - as above

    out = Out(json=json)
    library = _library(source)
    skills = [library.open(name) for name in names]
    if frozen:
        locks = read_lock(file)
        for skill in skills:
            if skill.name not in locks or locks[skill.name].digest != skill.digest:
                raise SkillTampered(f"{skill.name!r} is not what {str(file)!r} says.")
    placed = [str(install_skill(skill, into, replace=replace)) for skill in skills]
    out.show({"installed": placed}, lambda: out.text("\n".join(placed)))


@app.command(name="eval")
def eval_(
    cases: Annotated[Path, typer.Argument(help="TSV: class, accepted names joined by |, request.")],
    source: Sources = None,
    json: Json = False,
) -> None:
    """Measure how well requests find their skill: recall, rank, and "nothing fits"."""
    from plumbgraph.skills.evaluate import evaluate, read_cases  # noqa: PLC0415 - quick start

    out = Out(json=json)
    library = _library(source)
    known = [record.name for record in library.report().loaded]
    found = evaluate(library.search, read_cases(cases), known)
    out.show(asdict(found), lambda: _show_evaluation(out, found))


def _library(sources: list[str] | None) -> SkillLibrary:
    from plumbgraph.skills.library import SkillLibrary  # noqa: PLC0415 - quick start
    from plumbgraph.skills.sources.address import source_of  # noqa: PLC0415 - as above

    return SkillLibrary([source_of(address) for address in sources or ["skills"]])


def _differences(sources: list[str] | None, file: Path) -> list[Difference]:
    from plumbgraph.skills.lock import compare, read_lock  # noqa: PLC0415 - quick start

    return compare(_library(sources), read_lock(file))


def _strict_faults(folders: list[Path]) -> list[Diagnostic]:
    from plumbgraph.skills.strict import check_strict  # noqa: PLC0415 - quick start

    found = {path.parent for folder in folders for path in folder.rglob("SKILL.md")}
    return [fault for folder in sorted(found) for fault in check_strict(folder)]


def _show_check(out: Out, report: Report, faults: list[Any]) -> None:
    for diagnostic in (*faults, *report.diagnostics):
        style = {"error": "red", "warning": "yellow"}.get(diagnostic.level, "")
        out.text(str(diagnostic), style=style)
    counts = f"{len(report.loaded)} loaded, {len(report.shadowed)} shadowed"
    out.text(f"{report.on_disk} on disk = {counts}, {len(report.rejected)} rejected")


def _show_evaluation(out: Out, found: Evaluation) -> None:
    recall = ", ".join(f"@{k} {share:.3f}" for k, share in found.recall.items())
    out.text(
        f"{found.cases} requests ({found.skipped} skipped): recall {recall}, MRR {found.mrr:.3f}"
    )
    if found.auc is not None:
        out.text(
            f"{found.negatives} without a skill: AUC {found.auc:.3f}, "
            f"false fits {found.false_fits:.2f}, missed fits {found.missed_fits:.2f}"
        )
    rows = [(m.rank or "-", "|".join(m.accepted), m.query, ", ".join(m.got)) for m in found.misses]
    out.table(("rank", "accepted", "request", "got"), rows)

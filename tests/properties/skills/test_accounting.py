"""Whatever stands in the folders: on disk = loaded + shadowed + rejected, each with its reason."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from plumbgraph.skills.library import SkillLibrary

NAMES = st.sampled_from(["a", "b", "c", "references", "scripts", "node", "x.y"])
KINDS = st.sampled_from(
    ["good", "good", "good", "same", "bad", "latin", "folder", "link", "loop", "dangling", "lower"]
)
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), KINDS, max_size=7)
TEXT = "---\nname: {name}\ndescription: d\n---\nbody\n"


def lay_out(root: Path, tree: dict[tuple[str, ...], str]) -> None:
    target = root.parent / f"target-{root.name}"
    target.write_text(TEXT.format(name="target"))
    for number, (parts, kind) in enumerate(tree.items()):
        folder = root.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / ("skill.md" if kind == "lower" else "SKILL.md")
        name = "same" if kind == "same" else f"skill-{number}"
        if kind in {"good", "same", "lower"}:
            file.write_text(TEXT.format(name=name))
        elif kind == "bad":
            file.write_text("no frontmatter")
        elif kind == "latin":
            file.write_bytes(b"---\nname: l\ndescription: caf\xe9\n---\n")
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to({"link": str(target), "loop": "SKILL.md", "dangling": "nowhere"}[kind])


def skill_files(root: Path) -> int:
    """Every `SKILL.md`, whatever it is; links to folders are not entered."""
    walked = os.walk(root, followlinks=False)
    return sum(
        name in {"SKILL.md", "skill.md"} for _, below, files in walked for name in (*files, *below)
    )


@given(TREES, TREES)
@settings(max_examples=80, deadline=None)
def test_every_file_is_accounted_for(
    first: dict[tuple[str, ...], str], second: dict[tuple[str, ...], str]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        roots = [Path(place) / "one", Path(place) / "two"]
        for root, tree in zip(roots, (first, second), strict=True):
            root.mkdir()
            lay_out(root, tree)
        library = SkillLibrary(roots, cache=None)
        report = library.report()
        assert report.on_disk == sum(map(skill_files, roots))
        assert len({record.name for record in report.loaded}) == len(report.loaded)
        assert all(rejected.code for rejected in report.rejected)
        assert all(shadowed.diagnostic.code for shadowed in report.shadowed)
        for record in report.loaded:
            assert library.open(record.name).record == record
        for shadowed in report.shadowed:
            assert library.open(shadowed.record.address).body == "body"

"""Frontmatter on arbitrary text: never raises, and the shortcut equals the YAML parser."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from skills_ref.validator import validate

from plumbgraph.skills import yaml_tree
from plumbgraph.skills.frontmatter import read_frontmatter
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.record import make_record
from plumbgraph.skills.strict import check_strict

LINES = st.tuples(
    st.sampled_from(["a", "b-c", "name", "description", "metadata"]),
    st.sampled_from([": ", ":  ", ":", ":\n  "]),
    st.text(alphabet="aZ1:# ,-[]{}'\"&*!|>%@`?~=.\\", max_size=12),
).map("".join)
WORDS = st.text(alphabet="'a \"#:-\u00a0\u2014\u2028\x85\ufeff\U0001f600\\{[&*!|>%@`", max_size=9)
PAIRS = st.tuples(
    st.sampled_from(["a", "b-c", "name"]),
    st.sampled_from([": ", ":  "]),
    st.tuples(
        st.sampled_from(["a", "7", "'", '"', "- "]), WORDS, st.sampled_from(["", "'", '"', '" '])
    ).map("".join),
).map("".join)


@given(st.lists(PAIRS, min_size=1, max_size=3).map("\n".join))
@settings(max_examples=800)
@example("a: b: c")
@example("a: b #c")
@example("a: b:")
@example("a: 'it''s: #1'")
@example('a: "b: c" #d')
def test_the_shortcut_equals_the_parser(text: str) -> None:
    short = yaml_tree._plain_pairs(text)
    if short is None:
        return
    walk = yaml_tree._Walk()
    for event in yaml_tree._events(text):
        walk.take(event)
    assert (walk.done.tree, walk.done.lines) == (short.tree, short.lines)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    parsed = read_frontmatter(data, "x/SKILL.md")
    record = make_record(parsed, source="s", location="x", folder="x")
    assert (record is None) == parsed.refused or parsed.fields is None


@given(st.lists(LINES, max_size=5).map("\n".join), st.text(max_size=30))
@settings(max_examples=300)
def test_any_frontmatter_is_read_or_refused(block: str, body: str) -> None:
    parsed = read_frontmatter(f"---\n{block}\n---\n{body}".encode("utf-8", "replace"), "x")
    record = make_record(parsed, source="s", location="x", folder="x")
    assert record is not None or any(d.level == "error" for d in parsed.diagnostics)


@given(st.lists(LINES, max_size=4).map("\n".join))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_strict_agrees_with_the_reference_on_arbitrary_frontmatter(block: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "x"
        folder.mkdir()
        (folder / "SKILL.md").write_text(f"---\nname: x\n{block}\n---\nbody\n")
        try:
            reference = bool(validate(folder))
        except Exception:  # noqa: BLE001 - where the reference crashes there is nothing to agree on
            assert check_strict(folder) is not None
            return
        assert bool(check_strict(folder)) == reference, check_strict(folder)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_scan_never_raises_and_loses_nothing(files: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        for number, data in enumerate(files):
            folder = Path(place) / f"s{number}"
            folder.mkdir()
            (folder / "SKILL.md").write_bytes(b"---\nname: s\ndescription: d\n" + data + b"\n---\n")
        report = SkillLibrary([place], cache=None).report()
        assert report.on_disk == len(files)

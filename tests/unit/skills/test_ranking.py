"""Search: what is found, why, and when nothing is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from plumbgraph.errors import SettingsError
from plumbgraph.skills.evaluate import Case, evaluate, read_cases
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.ranking.analysis import Vocabulary, analyse
from plumbgraph.skills.ranking.index import Index
from plumbgraph.skills.ranking.search import FITS_FROM
from plumbgraph.skills.ranking.words import affirmative, split_words, term, terms_of
from plumbgraph.skills.values import SkillRecord

Write = Callable[..., Path]

DESCRIPTIONS = {
    "pdf-tools": (
        "Extract text and tables from PDF files.",
        "Use pdfplumber. Scanned pages need OCR.",
    ),
    "spreadsheets": ("Create and edit xlsx workbooks.", "Formulas, pivot tables, charts."),
    "git-worktrees": ("Set up isolated checkouts.", "Use git worktree add for a feature branch."),
    "accessibility": ("Audit a user interface for people with disabilities.", "WCAG contrast."),
    "postgres-tuning": ("Make slow queries fast.", "EXPLAIN ANALYZE, indexes, vacuum."),
    "web-scraper": ("Collect pages. Do not use for PDF files.", "Crawl politely with robots.txt."),
}


@pytest.fixture
def library(root: Path, write_skill: Write) -> SkillLibrary:
    for name, (description, body) in DESCRIPTIONS.items():
        write_skill(name, f"name: {name}\ndescription: {description}", body)
    return SkillLibrary([root], cache=None)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("get the text out of this PDF", "pdf-tools"),
        ("the scanned contract needs OCR", "pdf-tools"),
        ("an Excel file with totals", "spreadsheets"),
        ("isolated branch checkout with git worktree", "git-worktrees"),
        ("check our UI for a11y problems", "accessibility"),
        ("optimise EXPLAIN output", "postgres-tuning"),
    ],
)
def test_the_right_skill_is_first(query: str, name: str, library: SkillLibrary) -> None:
    hits = library.search(query, k=3)
    assert hits[0].name == name
    assert hits[0].reason.startswith("shares ")
    assert len(hits) <= 3
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


@pytest.mark.parametrize(
    "query",
    ["what's the capital of Australia?", "thanks!", "", "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 3],
)
def test_nothing_fits_is_said(query: str, library: SkillLibrary) -> None:
    result = library.search(query)
    assert not result.fits
    assert "Nothing fits" in result.verdict


def test_a_skill_is_not_found_by_what_it_is_not_for(library: SkillLibrary) -> None:
    assert library.search("pdf")[0].name == "pdf-tools"
    assert "web-scraper" not in [hit.name for hit in library.search("pdf files") if hit.score > 0.1]
    assert "PDF" not in affirmative("Collect pages. Do not use for PDF files. Fine.")


def test_a_name_asked_for_comes_first(library: SkillLibrary) -> None:
    assert library.search("web scraper")[0].score == 1.0
    assert library.search("web-scraper").fits


def test_an_empty_library_says_so(tmp_path: Path) -> None:
    assert SkillLibrary([tmp_path], cache=None).search("x").verdict == "There are no skills."


def test_a_dense_scorer_is_a_second_opinion(root: Path, library: SkillLibrary) -> None:
    def near(query: str, texts: Sequence[str]) -> list[float]:
        return [0.9 if text.startswith("accessibility") else 0.0 for text in texts]

    mixed = SkillLibrary([root], cache=None, dense=near)
    assert mixed.search("can blind people read zebra")[0].name == "accessibility"


def test_words() -> None:
    assert split_words("camelCase kebab-case don't") == ["camel", "case", "kebab", "case", "don't"]
    assert term("visualise") == term("visualize")
    assert term("colours") == term("colors")
    assert term("noise") != term("noize")
    assert terms_of("please use the skill") == []
    assert terms_of("caf\u00e9") == terms_of("cafe")
    assert len(split_words("\u4e2d\u6587\u5b57")) == 2


def test_scores_do_not_depend_on_order() -> None:
    vocabulary = Vocabulary()
    records = [SkillRecord(name, "s", name, text) for name, (text, _) in DESCRIPTIONS.items()]
    documents = [analyse(r, DESCRIPTIONS[r.name][1], vocabulary) for r in records]
    query = {vocabulary.number_of(term(word)): 1.0 for word in ("pdf", "pages")}
    forward = Index.of(documents, len(vocabulary.terms)).scores(query)
    backward = Index.of(documents[::-1], len(vocabulary.terms)).scores(query)
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-5)


def test_evaluation(library: SkillLibrary, tmp_path: Path) -> None:
    file = tmp_path / "cases.tsv"
    file.write_text(
        "direct\tpdf-tools\tread a PDF\n# note\nindirect\taccessibility|x\tWCAG contrast\n"
        "direct\tspreadsheets\tgit worktree\nother\tunknown\tq\nnone\t-\tcapital of Australia\n"
    )
    known = [record.name for record in library.report().loaded]
    found = evaluate(library.search, read_cases(file), known)
    assert (found.cases, found.skipped, found.negatives) == (3, 1, 1)
    assert found.recall[1] == pytest.approx(2 / 3)
    assert found.auc is not None
    assert found.false_fits == 0
    assert [miss.query for miss in found.misses] == ["git worktree"]
    assert set(found.by_kind) == {"direct", "indirect"}


def test_bad_cases_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cases.tsv"
    for text in ("", "only one column\n"):
        file.write_text(text)
        with pytest.raises(SettingsError):
            read_cases(file)
    with pytest.raises(SettingsError):
        read_cases(tmp_path / "nowhere.tsv")
    assert Case("none", frozenset(), "q").kind == "none"
    assert 0 < FITS_FROM < 1


def test_what_a_skill_is_for_outweighs_an_occasion(root: Path, write_skill: Write) -> None:
    write_skill("maker", "name: maker\ndescription: Makes charts from tables. Use when asked.")
    write_skill("teller", "name: teller\ndescription: Tells stories. Use when asked for charts.")
    assert [hit.name for hit in SkillLibrary(root, cache=None).search("charts")] == [
        "maker",
        "teller",
    ]


def test_a_name_spelt_out_wins_among_equals(root: Path, write_skill: Write) -> None:
    for name in ("slack-gif-creator", "pixel-gif-maker", "slack-poster"):
        write_skill(name, f"name: {name}\ndescription: Makes an animated gif for slack.")
    hits = SkillLibrary(root, cache=None).search("an animated gif for our slack")
    assert hits[0].name == "slack-gif-creator"


def test_a_deed_finds_its_doer(root: Path, write_skill: Write) -> None:
    for name in ("builder", "explainer", "planner"):
        write_skill(f"mcp-{name}", f"name: mcp-{name}\ndescription: Help with an MCP server.")
    library = SkillLibrary(root, cache=None)
    assert library.search("build an MCP server")[0].name == "mcp-builder"
    assert library.search("explain an MCP server")[0].name == "mcp-explainer"


def test_neighbours_count_in_every_field(root: Path, write_skill: Write) -> None:
    write_skill("apart", "name: apart\ndescription: one two three.", "root of a long cause")
    write_skill("side", "name: side\ndescription: one two three.", "long root cause of a")
    hits = SkillLibrary(root, cache=None).search("root cause")
    assert [hit.name for hit in hits] == ["side", "apart"]
    assert hits[0].score > hits[1].score


def test_words_are_counted_alike_however_written() -> None:
    vocabulary = Vocabulary()
    text = "LangGraph's don\u2019t caf\u00e9 cafe\u0301 snake_case \u4e2d\u6587\u5b57 x-ray 3.5"
    found = [vocabulary.terms[number] for number in vocabulary.ids(text)]
    assert found == terms_of(text)
    assert found[:4] == ["lang", "graph", "cafe", "cafe"]


def test_the_index_of_another_process_finds_the_same(root: Path, tmp_path: Path) -> None:
    for name, (description, body) in DESCRIPTIONS.items():
        (root / name).mkdir()
        text = f"---\nname: {name}\ndescription: {description}\n---\n{body}\n"
        (root / name / "SKILL.md").write_text(text)
    queries = ("text out of this PDF", "a11y", "slow queries", "git worktree branch")
    first, second = (SkillLibrary(root, cache=tmp_path / "c") for _ in range(2))
    for query in queries:
        assert first.search(query) == second.search(query)
    assert len(list((tmp_path / "c").glob("*.index"))) == 1


def test_results_show_themselves(library: SkillLibrary, root: Path, write_skill: Write) -> None:
    page = library.search("get the text out of this PDF")._repr_html_()
    assert "<caption>" in page
    assert "pdf-tools" in page
    write_skill("bad", "name: '<b>'\ndescription: <script>x</script>")
    report = library.refresh()._repr_html_()
    assert "6 loaded" in report or "7 on disk" in report
    assert "<script>" not in report
    assert "<b>" not in report

"""The index on disk: another process maps it, and no damage to it is ever an answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.ranking import live
from plumbgraph.skills.ranking.analysis import Vocabulary, analyse
from plumbgraph.skills.ranking.index import Weights
from plumbgraph.skills.ranking.index_cache import load_index
from plumbgraph.skills.ranking.search import read_query
from plumbgraph.skills.values import SkillRecord

Write = Callable[..., Path]
QUERIES = ("tables of a PDF", "slow queries", "isolated git worktree", "nothing of the kind")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def skills(root: Path, write_skill: Write) -> Path:
    write_skill("pdf", "name: pdf\ndescription: Tables of PDF files.", "pdfplumber, OCR")
    write_skill("sql", "name: sql\ndescription: Slow queries made fast.", "EXPLAIN, vacuum")
    write_skill("git", "name: git\ndescription: Isolated checkouts.", "git worktree add")
    return root


def answers(root: Path, cache: Path | None, weights: Weights | None = None) -> list[object]:
    library = SkillLibrary(root, cache=cache, weights=weights)
    return [library.search(query) for query in QUERIES]


def file_of(cache: Path) -> Path:
    (found,) = cache.glob("*.index")
    return found


def test_an_unchanged_library_is_searched_without_reading_a_body(
    skills: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(skills, None)
    assert answers(skills, cache) == expected

    def refuse(record: SkillRecord, body: str, vocabulary: object) -> None:
        raise AssertionError(record.name)

    monkeypatch.setattr(live, "analyse", refuse)
    assert answers(skills, cache) == expected


def test_only_what_changed_is_read_again(
    skills: Path, write_skill: Write, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(skills, cache)
    write_skill("pdf", "name: pdf\ndescription: Pages of PDF files.", "other words")
    write_skill("new", "name: new\ndescription: Nothing of the kind.", "words of its own")
    (skills / "sql" / "SKILL.md").unlink()
    read: list[str] = []

    def noted(record: SkillRecord, body: str, vocabulary: Vocabulary) -> object:
        read.append(record.name)
        return analyse(record, body, vocabulary)

    monkeypatch.setattr(live, "analyse", noted)
    assert answers(skills, cache) == answers(skills, None)
    assert sorted(read[:2]) == ["new", "pdf"]
    assert len(read) == 2 + 3


def test_other_weights_never_take_the_stored_index(skills: Path, cache: Path) -> None:
    answers(skills, cache)
    heavy = dataclasses.replace(Weights(), name=5.0)
    assert answers(skills, cache, heavy) == answers(skills, None, heavy)
    assert answers(skills, cache) == answers(skills, None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:40],
        lambda data: b"x" + data[1:],
        lambda data: data[:-80] + bytes(80),
        lambda data: data.replace(b'"<i4"', b'"<i8"', 1),
        lambda data: data.replace(b'"keys"', b'"kees"', 1),
        lambda data: data.replace(b'"terms": ["', b'"terms": ["more", "', 1),
    ],
)
def test_a_damaged_index_is_built_anew(
    damage: Callable[[bytes], bytes], skills: Path, cache: Path
) -> None:
    expected = answers(skills, cache)
    file = file_of(cache)
    sound = file.read_bytes()
    broken = damage(sound)
    assert broken != sound
    file.unlink()
    file.write_bytes(broken)
    assert load_index(file) is None
    assert answers(skills, cache) == expected
    assert load_index(file) is not None


def test_an_index_that_cannot_be_kept_is_no_error(skills: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert answers(skills, tmp_path / "file") == answers(skills, None)
    (tmp_path / "full").mkdir()
    library = SkillLibrary(skills, cache=tmp_path / "full")
    name = library._cache_file()
    assert name is not None
    name.mkdir()
    (name / "x").touch()
    assert library.search("pdf").fits
    assert [path for path in name.parent.iterdir() if path.name.startswith("tmp")] == []


def test_words_learnt_after_an_index_was_built_are_unknown_to_it(
    skills: Path, write_skill: Write
) -> None:
    library = SkillLibrary(skills, cache=None)
    library.search("pdf")
    before, _, vocabulary = library._indexed()
    write_skill("new", "name: new\ndescription: Zebra quagga.", "okapi")
    library.refresh()
    library.search("zebra")
    query = read_query("zebra pdf", vocabulary, before)
    assert len(query.terms) == 1
    assert query.exact[0] == -1
    assert np.count_nonzero(before.scores(query.terms, query.exact)) == 1

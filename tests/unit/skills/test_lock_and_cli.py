"""The lock, and every command of `plumbgraph skills`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from plumbgraph.cli.skills import app
from plumbgraph.errors import SettingsError, SkillNotFound, SkillTampered
from plumbgraph.skills.install import install_skill
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.lock import compare, dump_lock, lock_skills, parse_lock, read_lock, require

Write = Callable[..., Path]


@pytest.fixture
def library(root: Path, write_skill: Write) -> SkillLibrary:
    write_skill("pdf", "name: pdf\ndescription: Read PDF files.")
    write_skill("xlsx", "name: xlsx\ndescription: Edit workbooks.")
    return SkillLibrary([root], cache=None)


def test_a_lock_is_the_same_for_the_same_skills(library: SkillLibrary, root: Path) -> None:
    text = dump_lock(lock_skills(library))
    assert text == dump_lock(lock_skills(SkillLibrary([root], cache=None)))
    assert dump_lock(parse_lock(text)) == text
    require(library, parse_lock(text))
    assert compare(library, parse_lock(text)) == []


def test_every_difference_is_named(library: SkillLibrary, root: Path, write_skill: Write) -> None:
    locks = lock_skills(library)
    (root / "pdf" / "extra.md").write_text("x")
    (root / "pdf" / "SKILL.md").write_text("---\nname: pdf\ndescription: changed\n---\n")
    (root / "xlsx" / "SKILL.md").unlink()
    write_skill("new")
    library.refresh()
    found = {d.name: (d.what, d.files) for d in compare(library, locks)}
    assert found == {
        "pdf": ("changed", ("~SKILL.md", "+extra.md")),
        "xlsx": ("missing", ()),
        "new": ("unlocked", ()),
    }
    with pytest.raises(SkillTampered) as caught:
        require(library, locks)
    assert caught.value.differences == ["pdf", "xlsx"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2, "algorithm": "blake2b-256", "skills": {}}',
     '{"version": 1, "algorithm": "md5", "skills": {}}',
     '{"version": 1, "algorithm": "blake2b-256", "skills": {"x": {"digest": "y", "files": {}}}}',
     '{"version": 1, "algorithm": "blake2b-256", "skills": {"x": 1}}'],
)  # fmt: skip
def test_bad_locks_are_refused_and_kept(text: str, tmp_path: Path) -> None:
    file = tmp_path / "skills.lock"
    file.write_text(text)
    with pytest.raises(SettingsError):
        read_lock(file)
    assert file.read_text() == text


def test_install_is_whole_or_not_at_all(library: SkillLibrary, root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    skill = library.open("pdf")
    assert install_skill(skill, target) == target / "pdf"
    assert install_skill(skill, target) == target / "pdf"
    (root / "pdf" / "SKILL.md").write_text("---\nname: pdf\ndescription: changed\n---\n")
    library.refresh()
    with pytest.raises(SettingsError):
        install_skill(library.open("pdf"), target)
    install_skill(library.open("pdf"), target, replace=True)
    assert SkillLibrary([target], cache=None).open("pdf").record.description == "changed"
    assert [p.name for p in target.iterdir()] == ["pdf"]


def run(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if result.stdout.strip() else None


def human(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def home(
    root: Path, library: SkillLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_check(home: Path, root: Path, write_skill: Write) -> None:
    assert run("check", "skills")["on_disk"] == 2
    assert run("check", "skills", "--strict")["diagnostics"] == []
    assert "2 on disk = 2 loaded" in human("check", "skills")
    write_skill("Odd", "name: Odd\ndescription: d")
    assert run("check", "skills")["rejected"] == []
    assert (
        run("check", "skills", "--strict", code=1)["diagnostics"][0]["code"] == "skills.name_format"
    )
    write_skill("bad", "name: bad")
    assert len(run("check", "skills", code=1)["rejected"]) == 1
    with pytest.raises(SettingsError):
        run("check", "nowhere")


def test_search_tokens_and_eval(home: Path) -> None:
    found = run("search", "read a PDF")
    assert found["hits"][0]["name"] == "pdf"
    assert "pdf" in human("search", "read a PDF")
    counted = run("tokens", "--budget", "500")
    assert counted["catalog_tokens"] <= 500
    assert {s["name"] for s in counted["skills"]} == {"pdf", "xlsx"}
    assert "catalog" in human("tokens")
    (home / "cases.tsv").write_text("direct\tpdf\tread a PDF\nnone\t-\tcapital of Australia\n")
    assert run("eval", "cases.tsv")["recall"]["1"] == 1.0
    assert "recall @1 1.000" in human("eval", "cases.tsv")


def test_lock_verify_outdated_diff(home: Path, root: Path) -> None:
    assert set(run("lock")["skills"]) == {"pdf", "xlsx"}
    assert run("verify") == {"verified": 2}
    assert run("outdated") == []
    assert human("outdated") == "nothing is outdated\n"
    (root / "pdf" / "SKILL.md").write_text("---\nname: pdf\ndescription: changed\n---\n")
    with pytest.raises(SkillTampered):
        run("verify")
    assert run("outdated")[0]["what"] == "changed"
    assert run("diff", "pdf")[0]["files"] == ["~SKILL.md"]
    assert "~SKILL.md" in human("diff")
    assert run("diff", "xlsx") == []


def test_publish_and_install_from_the_registry(home: Path, root: Path, redis_url: str) -> None:
    digest = run("publish", "skills/pdf", "--registry", redis_url, "--expected", "-")["digest"]
    source = ("--source", redis_url)
    assert run("lock", *source)["skills"] == {"pdf": digest}
    run("install", "pdf", *source, "--into", "copy", "--frozen")
    assert (home / "copy" / "pdf" / "SKILL.md").read_bytes() == (
        root / "pdf" / "SKILL.md"
    ).read_bytes()
    (root / "pdf" / "SKILL.md").write_text("---\nname: pdf\ndescription: changed\n---\n")
    run("publish", "skills/pdf", "--registry", redis_url)
    with pytest.raises(SkillTampered):
        run("install", "pdf", *source, "--into", "copy", "--frozen")
    with pytest.raises(SettingsError):
        run("publish", "skills", "--registry", redis_url)


def test_versions_move_and_withdraw(home: Path, root: Path, redis_url: str) -> None:
    at = ("--registry", f"{redis_url}#team")
    first = run("publish", "skills/pdf", *at)["digest"]
    (root / "pdf" / "SKILL.md").write_text("---\nname: pdf\ndescription: changed\n---\nNew.\n")
    second = run("publish", "skills/pdf", *at)["digest"]
    listed = run("versions", "pdf", *at)
    assert [(row["digest"], row["latest"]) for row in listed] == [(first, False), (second, True)]
    assert first[:12] in human("versions", "pdf", *at)
    assert run("move", "pdf", first[:10], *at)["changed"]
    assert not run("move", "pdf", first, *at)["changed"]
    assert "is now stable" in human("move", "pdf", second, "--tag", "stable", *at)
    source = ("--source", f"{redis_url}#team")
    assert run("lock", *source)["skills"] == {"pdf": first}
    assert run("withdraw", "pdf", *at)["withdrawn"]
    assert run("lock", *source)["skills"] == {}
    assert run("lock", "--source", f"{redis_url}#team@stable")["skills"] == {"pdf": second}
    for words in (
        ("withdraw", "pdf"),
        ("versions", "nothing"),
        ("move", "pdf", "f" * 64),
        ("move", "pdf", ""),
    ):
        with pytest.raises(SkillNotFound):
            run(*words, *at)

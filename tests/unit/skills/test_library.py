"""Libraries on real folders: everything on disk is accounted for, and nothing escapes."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.errors import SettingsError, SkillInvalid, SkillNotFound
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.package import package_digest, read_manifest
from plumbgraph.skills.sources.directory import DirectorySource
from plumbgraph.skills.values import Limits, Report

Write = Callable[..., Path]


def codes(report: Report) -> set[str]:
    return {d.code.removeprefix("skills.") for d in report.diagnostics}


def accounted(library: SkillLibrary, root: Path) -> Report:
    """The report, after checking that every SKILL.md on disk is in it once."""
    report = library.refresh()
    on_disk = sum(
        1 for _, folders, files in os.walk(root) for n in (*folders, *files) if n == "SKILL.md"
    )
    assert report.on_disk == on_disk
    return report


def test_odd_folders_are_refused_and_hide_no_other(
    root: Path, write_skill: Write, tmp_path: Path
) -> None:
    write_skill("good")
    write_skill("traversal", "name: ../../etc/passwd\ndescription: d")
    write_skill("bomb", "a: &a [x]\nb: *a")
    write_skill("utf16", raw="---\nname: utf16\ndescription: d\n---\n".encode("utf-16"))
    write_skill("latin", raw="---\nname: latin\ndescription: caf\u00e9\n---\n".encode("latin-1"))
    (root / "folder" / "SKILL.md").mkdir(parents=True)
    big = write_skill("big", raw=b"---\nname: big\ndescription: d\n---\n" + b"x" * (11 << 20))
    write_skill("Good", "name: Good\ndescription: differs only in case")
    report = SkillLibrary([root], cache=None).report()
    assert {r.name for r in report.loaded} | {s.record.name for s in report.shadowed} == {
        "good",
        "Good",
    }
    assert report.on_disk == 8
    assert len(report.rejected) == 6
    assert codes(report) >= {"name_unsafe", "not_utf8", "too_large", "case_collision", "not_a_file"}
    assert {"yaml_anchor"} <= codes(report)
    assert big.exists()


def test_symlinks_of_every_kind_are_refused(root: Path, write_skill: Write, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "SKILL.md").write_text("---\nname: outside\ndescription: d\n---\n")
    (outside / "secret.txt").write_text("SECRET")
    good = write_skill("good")
    (root / "linked").symlink_to(outside)
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    (root / "loop").symlink_to(root / "loop")
    (root / "file").mkdir()
    (root / "file" / "SKILL.md").symlink_to(outside / "SKILL.md")
    (good / "secret.txt").symlink_to(outside / "secret.txt")
    (good / "up").symlink_to(root)
    os.mkfifo(good / "pipe")
    library = SkillLibrary([root], cache=None)
    report = library.report()
    assert [r.name for r in report.loaded] == ["good"]
    assert {r.code for r in report.rejected} == {
        "skills.symlink",
        "skills.symlink_dangling",
        "skills.symlink_loop",
    }
    assert len(report.rejected) == 4
    assert codes(report) >= {"symlink", "special_file"}
    skill = library.open("good")
    assert [file.path for file in skill.files] == ["SKILL.md"]


def test_folder_swapped_for_a_symlink_after_the_scan_is_refused(
    root: Path, write_skill: Write, tmp_path: Path
) -> None:
    folder = write_skill("good")
    library = SkillLibrary([root], cache=None)
    library.report()
    shutil.move(str(folder), str(tmp_path / "elsewhere"))
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SkillInvalid) as caught:
        library.open("good")
    assert caught.value.reason in {"skills.symlink", "skills.not_a_file", "skills.unreadable"}


def test_a_pipe_named_skill_md_does_not_hang(root: Path, write_skill: Write) -> None:
    (root / "pipe").mkdir()
    os.mkfifo(root / "pipe" / "SKILL.md")
    write_skill("good")
    report = SkillLibrary([root], cache=None).report()
    assert [r.name for r in report.loaded] == ["good"]
    assert report.rejected[0].code == "skills.not_a_file"


def test_case_collisions_inside_a_skill_are_refused(root: Path, write_skill: Write) -> None:
    folder = write_skill("good")
    (folder / "Notes.md").write_text("a")
    (folder / "notes.md").write_text("b")
    library = SkillLibrary([root], cache=None)
    assert "good" in library
    with pytest.raises(SkillInvalid) as caught:
        library.open("good")
    assert caught.value.reason == "skills.case_collision"


def test_limits_of_a_package(root: Path, write_skill: Write) -> None:
    folder = write_skill("good")
    (folder / "big.bin").write_bytes(b"x" * 100)
    limited = DirectorySource(root, cache=None, limits=Limits(file_bytes=99))
    with pytest.raises(SkillInvalid) as caught:
        SkillLibrary([limited], cache=None).open("good")
    assert caught.value.reason == "skills.too_large"
    few = DirectorySource(root, cache=None, limits=Limits(package_files=1))
    with pytest.raises(SkillInvalid):
        SkillLibrary([few], cache=None).open("good")


def test_nested_folders_load_and_resources_do_not(root: Path, write_skill: Write) -> None:
    write_skill("a/b/c/deep")
    write_skill("outer")
    write_skill("outer/inner")
    write_skill("outer/evals/fixtures/bad")
    write_skill("node_modules/hidden")
    report = SkillLibrary([root], cache=None).report()
    assert {r.name for r in report.loaded} == {"deep", "outer", "inner"}
    assert [r.code for r in report.rejected] == ["skills.nested_resource"]
    skill = SkillLibrary([root], cache=None).open("outer")
    assert {f.path for f in skill.files} == {"SKILL.md", "evals/fixtures/bad/SKILL.md"}


def test_lowercase_file_loads_with_a_warning(root: Path) -> None:
    (root / "low").mkdir()
    (root / "low" / "skill.md").write_text("---\nname: low\ndescription: d\n---\nbody")
    library = SkillLibrary([root], cache=None)
    assert "lowercase_file" in codes(library.report())
    assert library.open("low").body == "body"


def test_precedence_shadowing_and_qualified_names(tmp_path: Path) -> None:
    for source, text in (("team", "Team's"), ("home", "Home's")):
        folder = tmp_path / source / "pdf"
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(f"---\nname: pdf\ndescription: {text}\n---\n{text}\n")
    again = tmp_path / "team" / "other" / "pdf"
    again.mkdir(parents=True)
    (again / "SKILL.md").write_text("---\nname: pdf\ndescription: third\n---\nthird\n")
    library = SkillLibrary([tmp_path / "team", tmp_path / "home"], cache=None)
    report = library.report()
    assert [r.description for r in report.loaded] == ["third"]
    assert len(report.shadowed) == 2
    assert {s.diagnostic.code for s in report.shadowed} == {"skills.shadowed"}
    assert library.open("home/pdf").body == "Home's"
    assert library.open("team/other/pdf").body == "third"
    assert library.open("team/pdf").body == "Team's"
    with pytest.raises(SkillNotFound):
        library.open("pdff")


def test_equal_labels_are_told_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        folder = tmp_path / parent / "skills" / f"{parent}-skill"
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(
            f"---\nname: {parent}-skill\ndescription: d\n---\n{parent}\n"
        )
    library = SkillLibrary([tmp_path / "a" / "skills", tmp_path / "b" / "skills"], cache=None)
    assert [source.label for source in library.sources] == ["skills", "skills-2"]
    assert library.open("b-skill").body == "b"


def test_changes_show_on_refresh_and_through_the_cache(
    root: Path, write_skill: Write, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    write_skill("one", "name: one\ndescription: old words")
    write_skill("two")
    first = SkillLibrary([root], cache=cache)
    assert len(first.report().loaded) == 2
    first.search("anything")
    time.sleep(0.06)
    write_skill("one", "name: one\ndescription: new words")
    write_skill("three")
    shutil.rmtree(root / "two")
    for library in (first, SkillLibrary([root], cache=cache), SkillLibrary([root], cache=cache)):
        library.refresh()
        assert {r.name: r.description for r in library.report().loaded} == {
            "one": "new words",
            "three": "Does three things.",
        }
        assert library.search("new words")[0].name == "one"


def test_an_edit_of_equal_size_and_time_right_after_a_scan_is_seen(
    root: Path, write_skill: Write
) -> None:
    library = SkillLibrary([root], cache=None)
    folder = write_skill("one", "name: one\ndescription: aaa")
    status = (folder / "SKILL.md").stat()
    library.report()
    write_skill("one", "name: one\ndescription: bbb")
    os.utime(folder / "SKILL.md", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert library.refresh().loaded[0].description == "bbb"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 1}'])
def test_a_damaged_cache_is_ignored(
    damage: bytes, root: Path, write_skill: Write, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    write_skill("one")
    SkillLibrary([root], cache=cache).search("one")
    for path in cache.iterdir():
        path.write_bytes(damage)
    library = SkillLibrary([root], cache=cache)
    assert [r.name for r in library.report().loaded] == ["one"]
    assert library.search("one")[0].name == "one"


def test_an_unwritable_cache_is_a_notice(root: Path, write_skill: Write, tmp_path: Path) -> None:
    write_skill("one")
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    report = SkillLibrary([root], cache=blocked).report()
    assert len(report.loaded) == 1
    assert "cache_unwritable" in codes(report)


def test_a_missing_root_is_a_notice(tmp_path: Path) -> None:
    report = SkillLibrary([tmp_path / "nowhere"], cache=None).report()
    assert report.on_disk == 0
    assert codes(report) == {"unreadable"}


def test_a_root_that_is_a_link_to_itself_is_a_notice(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for cache in (None, tmp_path / "cache"):
        report = SkillLibrary([tmp_path / "loop"], cache=cache).report()
        assert report.on_disk == 0
        assert codes(report) == {"unreadable"}
    with pytest.raises(SettingsError):
        SkillLibrary([f"{tmp_path}/a\0b"])


def test_digest_names_the_whole_folder(root: Path, write_skill: Write) -> None:
    folder = write_skill("one")
    library = SkillLibrary([root], cache=None)
    before = library.open("one")
    (folder / "references").mkdir()
    (folder / "references" / "a.md").write_text("text")
    after = library.open("one")
    assert before.digest != after.digest
    assert after.digest == package_digest(after.contents)
    (folder / "references" / "a.md").unlink()
    assert library.open("one").digest == before.digest


def test_a_manifest_that_leaves_the_folder_is_refused() -> None:
    from plumbgraph.errors import SkillTampered

    digest = "a" * 64
    for path in ("../x", "/x", "a/../b", "a//b", ""):
        with pytest.raises(SkillTampered):
            read_manifest(f"plumbgraph skill 1\n{digest} 1 {path}\n".encode())
    with pytest.raises(SkillTampered):
        read_manifest(b"hello")


async def test_both_colours_agree(root: Path, write_skill: Write) -> None:
    write_skill("one")
    library = SkillLibrary([root], cache=None)
    assert (await library.areport()).on_disk == 1
    assert (await library.aopen("one")).digest == (
        await asyncio.to_thread(library.open, "one")
    ).digest
    assert (await library.asearch("one"))[0].name == "one"
    assert "one" in (await library.acatalog(500)).text
    assert (await library.arefresh()).on_disk == 1


def test_parallel_threads_share_a_library(root: Path, write_skill: Write) -> None:
    from concurrent.futures import ThreadPoolExecutor

    for number in range(20):
        write_skill(f"example-{number}")
    library = SkillLibrary([root], cache=None)

    def use(number: int) -> Any:
        if number % 5 == 0:
            library.refresh()
        return library.search("numbered example")[0].name

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(use, range(80)))) == 80

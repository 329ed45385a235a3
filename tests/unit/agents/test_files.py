from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.agents import file_tools

Run = Callable[..., str]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    folder = tmp_path / "desk"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("the secret")
    return folder


@pytest.fixture
def run(desk: Path) -> Run:
    tools = {tool.name: tool for tool in file_tools(desk)}

    def use(name: str, **args: Any) -> str:
        call = {"name": name, "args": args, "id": "1", "type": "tool_call"}
        return str(tools[name].invoke(call).content)

    return use


def test_write_list_read_and_search(run: Run, desk: Path) -> None:
    assert run("list_files") == "No files in '.'."
    assert run("write_file", path="notes/a.md", content="Grüße\nTWO\n") == (
        "Wrote 12 bytes to 'notes/a.md'."
    )
    run("write_file", path="b.txt", content="two")
    assert run("list_files") == "b.txt\t3\nnotes/a.md\t12"
    assert run("list_files", path="notes") == "notes/a.md\t12"
    assert run("read_file", path="notes/a.md") == "Grüße\nTWO\n"
    assert run("search_files", text="two") == "b.txt:1: two\nnotes/a.md:2: TWO"
    assert run("search_files", text="three") == "'three' was not found below '.'."
    run("write_file", path="b.txt", content="")
    assert (desk / "b.txt").read_text() == ""
    assert "no text" in run("read_file", path="b.txt")


def test_long_files_are_read_in_parts(run: Run, desk: Path) -> None:
    (desk / "long.txt").write_text("".join(f"{n}\n" for n in range(1, 101)))
    part = run("read_file", path="long.txt", first_line=11, max_lines=2)
    assert part == "11\n12\n\n(88 more lines; go on with first_line=13)"
    assert run("read_file", path="long.txt", first_line=99) == "99\n100\n"


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "link.txt"])
@pytest.mark.parametrize("tool", ["read_file", "write_file", "list_files", "search_files"])
def test_nothing_outside_is_reached(run: Run, desk: Path, tool: str, path: str) -> None:
    (desk / "link.txt").symlink_to(desk.parent / "secret.txt")
    extra = {"write_file": {"content": "x"}, "search_files": {"text": "secret"}}.get(tool, {})
    answer = run(tool, path=path, **extra)
    assert "outside the workspace" in answer
    assert (desk.parent / "secret.txt").read_text() == "the secret"


def test_a_linked_folder_leads_nowhere(run: Run, desk: Path) -> None:
    (desk / "out").symlink_to(desk.parent, target_is_directory=True)
    (desk / "loop").symlink_to(desk / "loop")
    assert "outside" in run("write_file", path="out/new.txt", content="x")
    assert not (desk.parent / "new.txt").exists()
    assert run("list_files") == "No files in '.'."
    assert "the secret" not in run("search_files", text="secret")
    assert "loop" in run("read_file", path="loop")


def test_a_link_inside_is_fine(run: Run, desk: Path) -> None:
    (desk / "real.txt").write_text("inside")
    (desk / "alias.txt").symlink_to(desk / "real.txt")
    assert run("read_file", path="alias.txt") == "inside"
    run("write_file", path="alias.txt", content="new")
    assert (desk / "real.txt").read_text() == "new"
    assert (desk / "alias.txt").is_symlink()


def test_what_is_no_text_file_is_refused_with_words(run: Run, desk: Path) -> None:
    (desk / "bin").write_bytes(b"\xff\xfe\x00")
    (desk / "big").write_bytes(b"x" * 1_000_001)
    (desk / "dir").mkdir()
    os.mkfifo(desk / "pipe")
    assert "not a text file" in run("read_file", path="bin")
    assert "larger than" in run("read_file", path="big")
    assert "There is no file 'dir'" in run("read_file", path="dir")
    assert "There is no file 'pipe'" in run("read_file", path="pipe")
    assert "not a regular file" in run("write_file", path="dir", content="x")
    assert "not a regular file" in run("write_file", path="pipe", content="x")
    assert "could not be written" in run("write_file", path="bin/below", content="x")
    assert "At most" in run("write_file", path="huge", content="x" * 1_000_001)
    assert "not valid Unicode" in run("write_file", path="odd", content="\ud800")
    assert "There is no folder" in run("list_files", path="nowhere")
    assert "Say what" in run("search_files", text="")


@pytest.mark.parametrize("tool", ["read_file", "write_file", "list_files"])
def test_a_path_with_nul_is_refused(run: Run, tool: str) -> None:
    extra = {"content": "x"} if tool == "write_file" else {}
    assert "not a usable path" in run(tool, path="a\0b", **extra)


def test_many_files_and_hits_are_cut_and_it_is_said(run: Run, desk: Path) -> None:
    for number in range(501):
        (desk / f"{number:03}.txt").write_text("hit")
    assert run("list_files").endswith("(more than 500 files; list a folder below)")
    assert run("search_files", text="hit").endswith(
        "(more than 100 hits; look for something rarer)"
    )


def test_a_half_written_file_of_a_killed_process_is_not_shown(run: Run, desk: Path) -> None:
    (desk / ".writing-abc").write_text("half")
    assert run("list_files") == "No files in '.'."


def test_a_failed_write_leaves_no_temporary_file(
    run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "a.txt").write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in run("write_file", path="a.txt", content="new")
    assert [entry.name for entry in desk.iterdir()] == ["a.txt"]
    assert (desk / "a.txt").read_text() == "old"


async def test_async_use_does_not_block_the_loop(desk: Path) -> None:
    tools = {tool.name: tool for tool in file_tools(lambda: desk)}
    await tools["write_file"].ainvoke({"path": "a", "content": "x"})
    assert await tools["list_files"].ainvoke({}) == "a\t1"

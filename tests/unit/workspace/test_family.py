"""Workspaces of threads: kept while they are used, and no longer than is worth it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from plumbgraph.content import FolderBlobs
from plumbgraph.workspace import Workspace
from plumbgraph.workspace.family import Family


class Member:
    """Something that can be referred to weakly."""


def test_the_last_used_are_kept_and_of_the_others_those_in_use() -> None:
    family: Family[Member] = Family(most=2)
    held = family.setdefault("held", Member())
    for name in ("a", "b", "c"):
        family.setdefault(name, Member())
    gc.collect()
    assert family.get("held") is held
    assert family.get("a") is None
    assert family.get("c") is not None
    assert len(family) == 2


def test_who_comes_second_gets_the_first_ones() -> None:
    family: Family[Member] = Family()
    first = family.setdefault("x", Member())
    assert family.setdefault("x", Member()) is first
    assert family.pop("x") is first
    assert family.get("x") is None
    with pytest.raises(KeyError):
        family.pop("x")


def test_a_process_of_many_threads_keeps_few_workspaces(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w" / "{thread_id}", blobs=FolderBlobs(tmp_path / "blobs"))
    mine = workspace.of_thread("mine")
    for number in range(200):
        workspace.of_thread(f"t{number}")
    gc.collect()
    assert workspace.of_thread("mine") is mine
    assert len(workspace._family) <= 66

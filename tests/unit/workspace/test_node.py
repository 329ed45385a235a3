"""The workspace in a graph: resume, fork, time travel, parallel branches."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from plumbgraph.agents.workspace import WorkspaceNode, WorkspaceState, workspace_notice
from plumbgraph.content import FolderBlobs
from plumbgraph.errors import WorkspaceConflict
from plumbgraph.workspace import Workspace, join_references

Config = dict[str, Any]
T1: Config = {"configurable": {"thread_id": "t1"}}


class State(WorkspaceState):
    n: Annotated[int, operator.add]


class Stop(Exception):
    pass


def write(name: str, text: str) -> None:
    (Workspace.current().folder / name).write_text(text)


def append(name: str, text: str) -> None:
    with (Workspace.current().folder / name).open("a") as file:
        file.write(text)


def chain(workspace: Workspace, *nodes: Any, saver: Any = None) -> Any:
    graph: Any = StateGraph(State)
    before = START
    for number, node in enumerate(nodes):
        graph.add_node(str(number), WorkspaceNode(node, workspace=workspace))
        graph.add_edge(before, str(number))
        before = str(number)
    graph.add_edge(before, END)
    return graph.compile(checkpointer=saver or InMemorySaver())


def one(state: State) -> Config:
    append("log", "1")
    return {"n": 1}


def two(state: State) -> Config:
    append("log", "2")
    return {"n": 1}


def test_files_follow_the_state(workspace: Workspace, folder: Path) -> None:
    graph = chain(workspace, one, two)
    state = graph.invoke({"n": 0}, T1)
    assert (folder / "log").read_text() == "12"
    assert state["n"] == 2
    assert workspace.read(state["workspace"], "log") == b"12"
    assert set(state["workspace"]) == {"step", "files", "bytes"}
    assert len(JsonPlusSerializer().dumps_typed(state["workspace"])[1]) < 110
    assert workspace.digest(state["workspace"]) == workspace.status().digest


async def test_async_too(workspace: Workspace, folder: Path) -> None:
    import asyncio

    async def three(state: State) -> Config:
        await asyncio.to_thread(append, "log", "3")
        return {"n": 1}

    state = await chain(workspace, one, three).ainvoke({"n": 0}, T1)
    assert await workspace.aread(state["workspace"], "log") == b"13"


@pytest.mark.parametrize("fresh_process", [False, True])
def test_what_a_failed_node_wrote_is_gone_on_resume(
    folder: Path, blobs: FolderBlobs, *, fresh_process: bool
) -> None:
    fail = [True]

    def second(state: State) -> Config:
        append("log", "2")
        write("half", "torn")
        if fail:
            fail.clear()
            raise Stop
        return {"n": 1}

    saver = InMemorySaver()
    workspace = Workspace(folder, blobs=blobs)
    with pytest.raises(Stop):
        chain(workspace, one, second, saver=saver).invoke({"n": 0}, T1)
    assert (folder / "log").read_text() == "12"
    again = Workspace(folder, blobs=blobs) if fresh_process else workspace
    (folder / "foreign").write_text("mine")
    state = chain(again, one, second, saver=saver).invoke(None, T1)
    assert (folder / "log").read_text() == "12"
    assert state["n"] == 2
    aside = {p.name for p in (folder.parent / ".work.plumbgraph/aside").rglob("*") if p.is_file()}
    assert aside >= {"foreign"}
    assert "moved out" in str(workspace_notice(state))


def test_the_first_node_starts_again_from_what_was_there(
    workspace: Workspace, folder: Path, blobs: FolderBlobs
) -> None:
    (folder / "given").write_text("by the user")
    fail = [True]

    def first(state: State) -> Config:
        append("log", "1")
        (Workspace.current().folder / "given").unlink()
        if fail:
            fail.clear()
            raise Stop
        return {"n": 1}

    saver = InMemorySaver()
    with pytest.raises(Stop):
        chain(workspace, first, saver=saver).invoke({"n": 0}, T1)
    again = Workspace(folder, blobs=blobs)
    chain(again, first, saver=saver).invoke(None, T1)
    assert (folder / "log").read_text() == "1"
    assert not (folder / "given").exists()


def test_time_travel_takes_the_files_along(workspace: Workspace, folder: Path) -> None:
    saver = InMemorySaver()
    graph = chain(workspace, one, two, saver=saver)
    graph.invoke({"n": 0}, T1)
    middle = next(s for s in graph.get_state_history(T1) if s.next == ("1",))
    write_after = graph.invoke(None, middle.config)
    assert workspace.read(write_after["workspace"], "log") == b"12"
    forked = graph.update_state(middle.config, {"n": 10})
    assert graph.invoke(None, forked)["n"] == 12
    assert (folder / "log").read_text() == "12"


def test_an_interrupted_node_starts_clean(workspace: Workspace, folder: Path) -> None:
    def asks(state: State) -> Config:
        append("log", "a")
        append("log", str(interrupt("what?")))
        return {"n": 1}

    graph = chain(workspace, one, asks)
    graph.invoke({"n": 0}, T1)
    graph.invoke(Command(resume="b"), T1)
    assert (folder / "log").read_text() == "1ab"


def test_two_threads_in_one_folder_do_not_mix(workspace: Workspace, folder: Path) -> None:
    graph = chain(workspace, one, two)
    graph.invoke({"n": 0}, T1)
    other = {"configurable": {"thread_id": "t2"}}
    first = graph.invoke({"n": 0}, other)
    assert workspace.read(first["workspace"], "log") == b"1212", "t2 began with what it found"
    graph.invoke({"n": 0}, T1)
    assert (folder / "log").read_text() == "1212"
    graph.invoke({"n": 0}, other)
    assert (folder / "log").read_text() == "121212"


def test_a_node_may_return_anything_langgraph_takes(workspace: Workspace) -> None:
    def nothing(state: State) -> None:
        append("log", "0")

    def command(state: State) -> Command[Any]:
        append("log", "c")
        return Command(update={"n": 5})

    def several(state: State) -> list[Any]:
        append("log", "s")
        return [Command(update={"n": 7}), {"n": 1}]

    state = chain(workspace, nothing, command, several).invoke({"n": 0}, T1)
    assert state["n"] == 13
    assert workspace.read(state["workspace"], "log") == b"0cs"


def test_a_node_gets_what_langgraph_gives(workspace: Workspace) -> None:
    def node(state: State, config: Config, runtime: Any, writer: Any) -> Config:
        assert config["configurable"]["thread_id"] == "t1"
        writer({"seen": runtime.execution_info.thread_id})
        return {"n": 1}

    graph = chain(workspace, node)
    assert list(graph.stream({"n": 0}, T1, stream_mode="custom")) == [{"seen": "t1"}]


def test_without_a_checkpointer_the_folder_is_as_it_is(workspace: Workspace, folder: Path) -> None:
    (folder / "log").write_text("0")
    graph: Any = StateGraph(State)
    graph.add_node("one", WorkspaceNode(one, workspace=workspace))
    graph.add_edge(START, "one")
    compiled = graph.compile()
    compiled.invoke({"n": 0})
    assert workspace.read(compiled.invoke({"n": 0})["workspace"], "log") == b"011"


def test_a_person_can_put_the_folder_into_the_thread(workspace: Workspace, folder: Path) -> None:
    graph = chain(workspace, one, two)
    graph.invoke({"n": 0}, T1)
    (folder / "log").write_text("edited ")
    graph.update_state(T1, {"workspace": Workspace.reference(workspace.snapshot())})
    graph.invoke({"n": 0}, T1)
    assert (folder / "log").read_text() == "edited 12"


def test_branches_after_a_persons_edit_are_merged(workspace: Workspace, folder: Path) -> None:
    """The hand-made reference names a manifest, not a step: it is the branches' common ground."""
    graph = fan(workspace, [branch("a"), branch("b")])
    (folder / "log").write_text("edited ")
    config = graph.update_state(T1, {"n": 0}, as_node="one")
    edit = Workspace.reference(workspace.snapshot())
    graph.update_state(config, {"workspace": edit}, as_node="one")
    graph.invoke(None, T1)
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "b.txt", "log"]
    assert (folder / "log").read_text() == "edited 2"


def fan(workspace: Workspace, branches: list[Any], mode: Any = "error", saver: Any = None) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("one", WorkspaceNode(one, workspace=workspace))
    graph.add_node("last", WorkspaceNode(two, workspace=workspace, on_conflict=mode))
    graph.add_edge(START, "one")
    for number, branch in enumerate(branches):
        graph.add_node(f"b{number}", WorkspaceNode(branch, workspace=workspace))
        graph.add_edge("one", f"b{number}")
        graph.add_edge(f"b{number}", "last")
    return graph.compile(checkpointer=saver or InMemorySaver())


def branch(name: str) -> Any:
    import time

    def run(state: State) -> Config:
        folder = Workspace.current().folder
        assert sorted(p.name for p in folder.iterdir()) == ["log"]
        write(f"{name}.txt", name)
        time.sleep(0.05)
        assert sorted(p.name for p in folder.iterdir()) == [f"{name}.txt", "log"]
        return {"n": 1}

    return run


def test_parallel_branches_do_not_see_each_other(workspace: Workspace, folder: Path) -> None:
    state = fan(workspace, [branch(name) for name in "abcd"]).invoke({"n": 0}, T1)
    assert state["n"] == 6
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "b.txt", "c.txt", "d.txt", "log"]
    assert (folder / "log").read_text() == "12"
    assert sorted(workspace.entries(state["workspace"])) == sorted(p.name for p in folder.iterdir())


async def test_parallel_branches_async(workspace: Workspace, folder: Path) -> None:
    state = await fan(workspace, [branch(name) for name in "abcd"]).ainvoke({"n": 0}, T1)
    assert len(await workspace.aentries(state["workspace"])) == 5


def clash(text: str) -> Any:
    def run(state: State) -> Config:
        write("same.txt", text)
        return {"n": 1}

    return run


def test_a_conflict_is_an_error_with_the_paths(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceConflict, match="same") as caught:
        fan(workspace, [clash("x"), clash("y")]).invoke({"n": 0}, T1)
    assert caught.value.paths == ["same.txt"]


def test_a_conflict_can_keep_both(workspace: Workspace, folder: Path) -> None:
    state = fan(workspace, [clash("x"), clash("y")], "keep_both").invoke({"n": 0}, T1)
    assert (folder / "same.txt").read_text() == "x"
    assert (folder / "same.branch-2.txt").read_text() == "y"
    assert len(workspace.entries(state["workspace"])) == 3


def test_equal_changes_are_no_conflict(workspace: Workspace, folder: Path) -> None:
    fan(workspace, [clash("x"), clash("x")]).invoke({"n": 0}, T1)
    assert (folder / "same.txt").read_text() == "x"


def test_branches_of_a_thread_that_begins_in_parallel(workspace: Workspace, folder: Path) -> None:
    (folder / "log").write_text("0")
    graph: Any = StateGraph(State)
    for name in "abc":
        graph.add_node(name, WorkspaceNode(branch(name), workspace=workspace))
        graph.add_edge(START, name)
    graph.add_node("last", WorkspaceNode(two, workspace=workspace))
    graph.add_edge(["a", "b", "c"], "last")
    graph.compile(checkpointer=InMemorySaver()).invoke({"n": 0}, T1)
    assert sorted(p.name for p in folder.iterdir()) == ["a.txt", "b.txt", "c.txt", "log"]


def test_parallel_subgraphs_are_merged_not_overwritten(workspace: Workspace, folder: Path) -> None:
    def sub(name: str) -> Any:
        graph: Any = StateGraph(State)
        graph.add_node("x", WorkspaceNode(lambda _: write(f"{name}1", name), workspace=workspace))
        graph.add_node("y", WorkspaceNode(lambda _: write(f"{name}2", name), workspace=workspace))
        graph.add_edge(START, "x")
        graph.add_edge("x", "y")
        return graph.compile()

    graph: Any = StateGraph(State)
    graph.add_node("one", WorkspaceNode(one, workspace=workspace))
    graph.add_node("last", WorkspaceNode(two, workspace=workspace))
    graph.add_edge(START, "one")
    for name in "ab":
        graph.add_node(name, sub(name))
        graph.add_edge("one", name)
    graph.add_edge(["a", "b"], "last")
    graph.compile(checkpointer=InMemorySaver()).invoke({"n": 0}, T1)
    assert sorted(p.name for p in folder.iterdir()) == ["a1", "a2", "b1", "b2", "log"]


def test_a_branch_that_deletes_and_one_that_adds(workspace: Workspace, folder: Path) -> None:
    def deletes(state: State) -> Config:
        (Workspace.current().folder / "log").unlink()
        return {"n": 1}

    fan(workspace, [deletes, branch("a")]).invoke({"n": 0}, T1)
    assert (folder / "log").read_text() == "2"


def test_sends_are_branches_too(workspace: Workspace, folder: Path) -> None:
    graph: Any = StateGraph(State)

    def job(state: Any) -> Config:
        write(f"f{state['n']}", "x")
        return {"n": 1}

    graph.add_node("one", WorkspaceNode(one, workspace=workspace))
    graph.add_node("job", WorkspaceNode(job, workspace=workspace))
    graph.add_node("last", WorkspaceNode(two, workspace=workspace))
    graph.add_edge(START, "one")
    graph.add_conditional_edges(
        "one", lambda s: [Send("job", {**s, "n": 100 + i}) for i in range(6)], ["job"]
    )
    graph.add_edge("job", "last")
    graph.compile(checkpointer=InMemorySaver()).invoke({"n": 0}, T1)
    assert len(list(folder.iterdir())) == 7


def ref(letter: str, *seen: str) -> dict[str, Any]:
    found: dict[str, Any] = {"step": letter * 64, "files": 0, "bytes": 0}
    return {**found, "from": [s * 12 for s in seen]} if seen else found


def test_the_reducer_replaces_what_was_seen_and_keeps_the_rest() -> None:
    assert join_references({}, ref("a")) == ref("a")
    assert join_references(ref("a"), ref("b", "a")) == ref("b")
    two_heads = join_references(ref("b"), ref("c", "a"))
    assert two_heads == {"heads": [ref("b"), ref("c")]}
    assert join_references(two_heads, ref("d", "b", "c")) == ref("d")
    assert join_references(two_heads, {**ref("e"), "from": "*"}) == ref("e")
    assert join_references(ref("a"), ref("a")) == ref("a")
    assert join_references(ref("a"), None) == ref("a")
    assert join_references(None, None) == {}


def test_a_reference_that_is_none_is_refused(workspace: Workspace) -> None:
    from plumbgraph.errors import WorkspaceUnsafe

    with pytest.raises(WorkspaceUnsafe, match="no reference"):
        chain(workspace, one).invoke({"n": 0, "workspace": {"step": "../../x"}}, T1)

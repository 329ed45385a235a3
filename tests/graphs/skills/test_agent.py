"""Skills in real graphs: shown, loaded, put down, gated, resumed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage

from plumbgraph.skills.desk import Rules
from plumbgraph.testing.script import call

Build = Callable[..., tuple[Any, Any]]
CONFIG = {"configurable": {"thread_id": "t"}}


def ask(graph: Any, text: str = "go", config: Any = CONFIG) -> dict[str, Any]:
    result: dict[str, Any] = graph.invoke({"messages": [HumanMessage(text)]}, config)
    return result


def systems(node: Any) -> list[str]:
    return [
        str(c.messages[0].text)
        for c in node.model.calls
        if isinstance(c.messages[0], SystemMessage)
    ]


def test_loaded_body_stands_in_the_prompt_and_goes_with_unload(
    make_skill: Any, build: Build
) -> None:
    make_skill("pdf", "Read PDF files", "# PDF\n\nUse the BLUE tool.")
    graph, node = build(
        [call("load_skill", name="pdf"), call("unload_skill", name="pdf"), "done"],
    )
    result = ask(graph)
    before, loaded, after = systems(node)
    assert "BLUE" not in before
    assert "BLUE" in loaded
    assert "BLUE" not in after
    assert before == after
    assert "- pdf: Read PDF files" in before
    assert result["skills"]["pdf"]["gone"]
    assert not any("BLUE" in str(m.text) for m in result["messages"])


def test_two_loads_leave_one_copy(make_skill: Any, build: Build) -> None:
    make_skill("pdf", "Read PDF files", "UNIQUEMARK body")
    graph, node = build(
        [
            [call("load_skill", name="pdf"), call("load_skill", name="pdf")],
            call("unload_skill", name="pdf"),
            call("load_skill", name="pdf"),
            "done",
        ],
    )
    ask(graph)
    assert [text.count("UNIQUEMARK") for text in systems(node)] == [0, 1, 0, 1]


def test_parallel_loads_lose_nothing_and_budget_settles(make_skill: Any, build: Build) -> None:
    for name in ("a1", "b2", "c3"):
        make_skill(name, body=f"MARK-{name} " + "word " * 300)
    graph, node = build(
        [[call("load_skill", name=n) for n in ("a1", "b2", "c3")], "done"],
        rules=Rules(body_tokens=800),
    )
    result = ask(graph)
    gone = [n for n, e in result["skills"].items() if e.get("gone")]
    assert set(result["skills"]) == {"a1", "b2", "c3"}
    assert len(gone) == 1
    assert result["skills"][gone[0]]["why"] == "budget"
    last = systems(node)[-1]
    assert sum(f"MARK-{n}" in last for n in ("a1", "b2", "c3")) == 2
    assert f'"{gone[0]}" was put down to make room' in last


def test_tools_appear_on_load_and_forged_calls_are_refused(make_skill: Any, build: Build) -> None:
    def secret_tool(x: int) -> str:
        """Do the secret thing."""
        ran.append(x)
        return "ran"

    ran: list[int] = []
    make_skill("keys", metadata={"requires_tools": "secret_tool"})
    graph, node = build(
        [
            [call("secret_tool", x=1), call("load_skill", name="keys")],
            call("secret_tool", x=2),
            call("unload_skill", name="keys"),
            call("secret_tool", x=3),
            "done",
        ],
        brought=[secret_tool],
    )
    result = ask(graph)
    bound = [{t["function"]["name"] for t in c.tools} for c in node.model.calls]
    assert ["secret_tool" in names for names in bound] == [False, True, True, False, False]
    assert all("load_skill" in names for names in bound)
    assert ran == [2]
    refused = [m for m in result["messages"] if getattr(m, "status", "") == "error"]
    assert len(refused) == 2
    assert "No loaded skill brings the tool 'secret_tool'" in str(refused[0].text)


def test_resumed_thread_renders_the_same_bytes_after_edit_and_delete(
    make_skill: Any, build: Build, tmp_path: Path
) -> None:
    folder = make_skill("pdf", "Read PDF files", "ORIGINAL body")
    graph, node = build([call("load_skill", name="pdf"), "one", "two", "three"])
    ask(graph)
    (folder / "SKILL.md").write_text("---\nname: pdf\ndescription: New words\n---\nEDITED body\n")
    make_skill("fresh", "A new skill")
    ask(graph, "second")
    (folder / "SKILL.md").unlink()
    ask(graph, "third")
    texts = systems(node)
    assert "New words" in texts[2]
    assert "- fresh: A new skill" in texts[2]
    assert "ORIGINAL body" in texts[2]
    assert "EDITED body" not in texts[2]
    assert "New words" not in texts[3]
    assert "ORIGINAL body" in texts[3]
    _, node2 = build([])
    state = graph.get_state(CONFIG).values
    assert node2.prompt(state) == node.prompt(state)
    assert texts[3].endswith(node2.prompt(state))

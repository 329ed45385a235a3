"""Gating, drift, modes, scripts and sizes, in running graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage, trim_messages
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from plumbgraph.errors import SkillTampered
from plumbgraph.skills.desk import Rules
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.scripts import ScriptRules
from plumbgraph.testing.script import call

Build = Callable[..., tuple[Any, Any]]
CONFIG: Any = {"configurable": {"thread_id": "t"}}


def ask(graph: Any, text: str = "go") -> dict[str, Any]:
    result: dict[str, Any] = graph.invoke({"messages": [HumanMessage(text)]}, CONFIG)
    return result


def texts(result: dict[str, Any]) -> list[str]:
    return [str(m.text) for m in result["messages"] if isinstance(m, ToolMessage)]


def prompts(node: Any) -> list[str]:
    return [str(made.messages[0].text) for made in node.model.calls]


@tool
def secret(x: int) -> str:
    """Do the secret thing."""
    return f"secret {x}"


def test_gates_hold_after_resume_by_another_process(make_skill: Any, build: Build) -> None:
    make_skill("keys", metadata={"requires_tools": "secret"})
    saver = InMemorySaver()
    first, _ = build([call("load_skill", name="keys"), "loaded"], brought=[secret], saver=saver)
    ask(first)
    script = [
        "",
        "",
        call("secret", x=1),
        call("unload_skill", name="keys"),
        call("secret", x=2),
        "end",
    ]
    second, node = build(script, brought=[secret], saver=saver)
    result = ask(second, "again")
    assert texts(result)[1] == "secret 1"
    assert "No loaded skill brings" in texts(result)[3]
    assert "secret" in [t["function"]["name"] for t in node.model.calls[0].tools]


def test_a_subgraph_without_the_channel_fails_closed(make_skill: Any, build: Build) -> None:
    make_skill("keys", metadata={"requires_tools": "secret"})
    _, node = build([], brought=[secret])

    class Bare(TypedDict):
        messages: list[Any]

    from langchain_core.messages import AIMessage

    graph = StateGraph(Bare)
    graph.add_node("tools", node.tool_node())
    graph.add_edge(START, "tools")
    forged = AIMessage("", tool_calls=[{"name": "secret", "args": {"x": 1}, "id": "1"}])
    result = graph.compile().invoke({"messages": [forged]})
    assert "No loaded skill brings" in result["messages"][-1].text


def test_a_subgraph_shares_and_merges_loaded_skills(make_skill: Any, build: Build) -> None:
    from plumbgraph.agents.skills import SkilledState

    make_skill("keys", metadata={"requires_tools": "secret"})
    make_skill("other")
    inner, _ = build(
        [call("load_skill", name="keys"), call("secret", x=5), "inner done"], brought=[secret]
    )
    outer = StateGraph(SkilledState)
    outer.add_node("agent", inner)
    outer.add_edge(START, "agent")
    graph = outer.compile(checkpointer=InMemorySaver())
    result = graph.invoke(
        {
            "messages": [HumanMessage("go")],
            "skills": {"other": {"rev": 1, "used": 1, "gone": True, "why": "asked"}},
        },
        CONFIG,
    )
    assert "secret 5" in texts(result)
    assert not result["skills"]["keys"].get("gone")
    assert result["skills"]["other"]["gone"]


@dataclass
class DenyPolicy:
    """Denies one tool, asks for approval of scripts."""

    denied: str
    verdict: str = "allow"
    allowed: bool = True
    rule: str = "managed.tools.deny"
    reason: str = "The operator forbids it."

    def tool(self, name: str, arguments: Any = None) -> DenyPolicy:
        deny = name == self.denied
        return DenyPolicy(self.denied, "deny" if deny else "allow", not deny)


def test_a_policy_restricts_at_bind_time_and_at_execution_but_never_loading(
    make_skill: Any, build: Build
) -> None:
    make_skill("pdf", "Read PDF", "BODY")

    def plain(x: int) -> str:
        """Do a plain thing."""
        return f"plain {x}"

    for denied, refused in (("plain", True), ("load_skill", False)):
        graph, node = build(
            [[call("plain", x=1), call("load_skill", name="pdf")], "end"],
            tools=[plain],
            policy=DenyPolicy(denied),
        )
        result = graph.invoke(
            {"messages": [HumanMessage("go")]}, {"configurable": {"thread_id": denied}}
        )
        names = [t["function"]["name"] for t in node.model.calls[0].tools]
        assert ("plain" in names) is not refused
        assert "load_skill" in names
        assert ("The operator forbids it." in texts(result)[0]) is refused
        assert "is loaded" in texts(result)[1]


@pytest.mark.parametrize(
    ("restrict", "seen"),
    [("off", {"a", "b", "c"}), ("union", {"a", "b"}), ("intersection", {"b"})],
)
def test_skills_may_restrict_where_the_app_says_so(
    restrict: Any, seen: set[str], make_skill: Any, build: Build
) -> None:
    make_skill("one", metadata={"restrict_tools": "a b"})
    make_skill("two", metadata={"restrict_tools": "b"})

    def named(name: str) -> Any:
        def run(x: int = 0) -> str:
            """Run."""
            return name

        run.__name__ = name
        return run

    graph, node = build(
        [[call("load_skill", name="one"), call("load_skill", name="two")], call("c"), "end"],
        tools=[named("a"), named("b"), named("c")],
        rules=Rules(restrict=restrict),
    )
    result = ask(graph)
    names = {t["function"]["name"] for t in node.model.calls[1].tools}
    assert names & {"a", "b", "c"} == seen
    assert {"load_skill", "unload_skill"} <= names
    assert (texts(result)[-1] == "c") is (restrict == "off")


def edit(folder: Path, text: str) -> None:
    (folder / "SKILL.md").write_text(f"---\nname: pdf\ndescription: edited\n---\n{text}\n")


@pytest.mark.parametrize("drift", ["keep", "warn", "upgrade", "fail"])
def test_drift(drift: Any, make_skill: Any, build: Build) -> None:
    folder = make_skill("pdf", "Read PDF", "OLD body")
    graph, node = build([call("load_skill", name="pdf"), "one", "two"], rules=Rules(drift=drift))
    ask(graph)
    edit(folder, "NEW body")
    if drift == "fail":
        with pytest.raises(SkillTampered) as caught:
            ask(graph, "second")
        assert caught.value.skill == "pdf"
        return
    ask(graph, "second")
    last = prompts(node)[-1]
    assert ("NEW body" in last) is (drift == "upgrade")
    assert ("has changed at its source" in last) is (drift == "warn")


def test_pinned_and_one_turn_skills(make_skill: Any, build: Build) -> None:
    make_skill("always", body="ALWAYS body")
    make_skill("once", body="ONCE body")
    graph, node = build(
        [call("load_skill", name="once"), call("unload_skill", name="always"), "one", "two"],
        rules=Rules(pinned=("always",), mode="turn"),
    )
    result = ask(graph)
    assert "pinned" in texts(result)[1]
    ask(graph, "second")
    seen = [("ALWAYS" in text, "ONCE" in text) for text in prompts(node)]
    assert seen == [(True, False), (True, True), (True, True), (True, False)]


def test_trimmed_messages_keep_the_loaded_body(make_skill: Any, build: Build) -> None:
    make_skill("pdf", body="KEPT body")
    graph, node = build([call("load_skill", name="pdf"), "one"])
    state = ask(graph)
    kept = trim_messages(state["messages"], max_tokens=1, token_counter=len, strategy="last")
    assert "KEPT body" in node.prompt({**state, "messages": kept})


def test_a_fork_renders_what_its_checkpoint_held(make_skill: Any, build: Build) -> None:
    make_skill("pdf", body="FORK body")
    graph, node = build([call("load_skill", name="pdf"), call("unload_skill", name="pdf"), "one"])
    ask(graph)
    rendered = {
        node.prompt(s.values).count("FORK body")
        for s in graph.get_state_history(CONFIG)
        if s.values
    }
    assert rendered == {0, 1}


def test_messages_of_the_tools(make_skill: Any, build: Build) -> None:
    make_skill(
        "pdf",
        "Read PDF files",
        "# One\nfirst\n# Two\nsecond",
        files={"references/a.md": "x" * 30_000, "b.bin": ""},
    )
    graph, _ = build(
        [
            call("load_skill", name="nope"),
            call("unload_skill", name="pdf"),
            call("read_skill_file", name="pdf", path="SKILL.md"),
            call("search_skills", query="read a PDF"),
            call("search_skills", query="capital of Australia"),
            call("load_skill", name="pdf"),
            call("read_skill_file", name="pdf", path="SKILL.md", section="two"),
            call("read_skill_file", name="pdf", path="SKILL.md", section="three"),
            call("read_skill_file", name="pdf", path="../../etc/passwd"),
            call("read_skill_file", name="pdf", path="references/a.md"),
            call("read_skill_file", name="pdf", path="references/a.md", offset=20_000),
            call("run_skill_script", name="pdf", script="scripts/a.py"),
            "end",
        ],
    )
    said = texts(ask(graph))
    expected = [
        "There is no skill 'nope'", "is not loaded", "load it first", "fits best", "Nothing fits",
        "is loaded", "# Two\nsecond", "no section", "has no file", "10000 characters more", "xxx",
        "run_skill_script is not a valid tool",
    ]  # fmt: skip
    assert [part for part, text in zip(expected, said, strict=True) if part not in text] == []


def test_a_script_asks_runs_once_approved_and_is_tied_to_its_arguments(
    make_skill: Any, build: Build
) -> None:
    make_skill("tools", files={"scripts/say.py": "import sys; print('said', sys.argv[1])"})
    script = [
        call("load_skill", name="tools"),
        call("run_skill_script", name="tools", script="scripts/say.py", arguments=["hi"]),
        call("run_skill_script", name="tools", script="scripts/say.py", arguments=["ho"]),
        "end",
    ]
    graph, _ = build(script, scripts=ScriptRules(mode="ask"))
    result = ask(graph)
    asked = result["__interrupt__"][0].value
    assert asked["argv"] == ["scripts/say.py", "hi"]
    assert asked["digest"] == result["skills"]["tools"]["digest"]
    result = graph.invoke(Command(resume=asked["answer"]), CONFIG)
    assert "said hi" in texts(result)[1]
    result = graph.invoke(Command(resume=asked["answer"]), CONFIG)
    assert "not approved" in texts(result)[2]


def test_bytes_of_state_do_not_depend_on_the_library(make_skill: Any, build: Build) -> None:
    sizes = []
    for count in (5, 400):
        for number in range(count):
            make_skill(f"skill-{number}", "words " * 20)
        graph, _ = build([[call("load_skill", name=f"skill-{n}") for n in range(4)], "end"])
        result = graph.invoke(
            {"messages": [HumanMessage("go")]}, {"configurable": {"thread_id": str(count)}}
        )
        serde = JsonPlusSerializer()
        sizes.append(len(serde.dumps_typed(result["skills"])[1]) / 4)
        assert len(serde.dumps_typed(result["skills_catalog"])[1]) < 2_000
    assert max(sizes) <= 300
    assert abs(sizes[0] - sizes[1]) < 2


async def test_async_agent_never_blocks(make_skill: Any, build: Build) -> None:
    make_skill("pdf", "Read PDF files", "ASYNC body", files={"scripts/a.py": "print('ran')"})
    graph, node = build(
        [
            call("load_skill", name="pdf"),
            call("read_skill_file", name="pdf", path="scripts/a.py"),
            call("run_skill_script", name="pdf", script="scripts/a.py"),
            call("search_skills", query="pdf"),
            "end",
        ],
        scripts=ScriptRules(mode="allow"),
    )
    result = await graph.ainvoke({"messages": [HumanMessage("go")]}, CONFIG)
    assert "ASYNC body" in prompts(node)[1]
    assert "ran" in texts(result)[2]


def test_a_library_that_breaks_does_not_end_the_run(
    tmp_path: Path, build: Build, library: SkillLibrary
) -> None:
    graph, node = build(["fine"])
    (tmp_path / "skills").rmdir()
    assert str(ask(graph)["messages"][-1].text) == "fine"
    assert prompts(node) == ["You are a tester."]


def test_every_choice_is_an_event(make_skill: Any, build: Build) -> None:
    from plumbgraph.tracing import attach, detach

    seen: list[Any] = []

    class Sink:
        def write(self, record: Any) -> None:
            seen.append(record)

    make_skill("pdf", "Read PDF")
    make_skill("keys", metadata={"requires_tools": "secret"})
    graph, _ = build(
        [
            call("secret", x=1),
            call("load_skill", name="pdf"),
            call("search_skills", query="read"),
            call("unload_skill", name="pdf"),
            "end",
        ],
        brought=[secret],
    )
    sink = Sink()
    attach(sink)
    try:
        ask(graph)
    finally:
        detach(sink)
    names = [record["event"] for record in seen if record["event"].startswith("skill.")]
    expected = ["catalog_shown", "tool_denied", "loaded", "searched", "unloaded"]
    assert {f"skill.{name}" for name in expected} <= set(names)
    loaded = next(record for record in seen if record["event"] == "skill.loaded")
    assert loaded["thread_id"] == "t"


def test_a_real_policy_is_asked(make_skill: Any, build: Build) -> None:
    from plumbgraph.policy.policy import Policy

    make_skill("tools", files={"scripts/say.py": "print('said')"})

    def plain(x: int) -> str:
        """Do a plain thing."""
        return f"plain {x}"

    graph, node = build(
        [
            [call("plain", x=1), call("load_skill", name="tools")],
            call("run_skill_script", name="tools", script="scripts/say.py"),
            "end",
        ],
        tools=[plain],
        policy=Policy({"version": 1, "tools": {"deny": ["plain", "skill:tools/*"]}}),
        scripts=ScriptRules(mode="allow"),
    )
    said = texts(ask(graph))
    assert "Nothing was done" in said[0]
    assert "was not run" in said[2]
    assert "plain" not in [t["function"]["name"] for t in node.model.calls[0].tools]

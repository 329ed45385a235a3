"""The scripted plan of the demo: load a skill, note each report, alert people, then sum up.

The model decides by the messages it is shown alone, as a language model does. So a process
that resumes a killed run goes on with the next step, whatever that is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from plumbgraph.testing import PlannedCall, Reply, ScriptedChatModel, call

FOLDER = "documents"
REPORT = "report.md"
TASK = f"Read the incident reports in {FOLDER}/, take notes, and write {REPORT}."
SKILL = "note-incidents"
THINKING_S = 0.05

Done = dict[tuple[str, str], str]
"""Result of each finished tool call, by tool and path (or name, or nothing)."""


def model(name: str = "demo-script") -> ScriptedChatModel:
    """The demo's model."""
    return ScriptedChatModel.from_messages(respond, model_name=name)


def small() -> ScriptedChatModel:
    """The plan, played by a model that is cheap."""
    return model("small")


def large() -> ScriptedChatModel:
    """The same plan, played by a model that is dear."""
    return model("large")


def respond(messages: Sequence[BaseMessage]) -> Reply:
    """The next step of the plan, given what was done since the last word of the user."""
    done = finished(messages)
    listing = done.get(("list_files", FOLDER))
    if listing is None:
        skill = [call("load_skill", name=SKILL)] if _offered(messages) else []
        return _step("First I look at what there is.", call("list_files", path=FOLDER), *skill)
    documents = [line.split("\t")[0] for line in listing.splitlines() if ".md\t" in line]
    if not documents:
        return Reply(text=_excuse(), latency_s=THINKING_S)
    for number, document in enumerate(documents, 1):
        if ("read_file", document) not in done:
            return _step(f"Report {number} of {len(documents)}.", call("read_file", path=document))
        if ("write_file", note_path(document)) not in done:
            note = note_of(done["read_file", document])
            alert = _alert(done["read_file", document]) if _may_notify(messages) else []
            return _step(*_take_note(document, note, documents[number : number + 1]), *alert)
    reports = [done["read_file", document] for document in documents]
    if ("write_file", REPORT) not in done:
        written = call("write_file", path=REPORT, content=summary_of(reports))
        unload = [call("unload_skill", name=SKILL)] if ("load_skill", SKILL) in done else []
        return _step("All notes are taken. Now the summary.", *unload, written)
    text = f"I read {len(reports)} reports, took a note of each, and wrote {REPORT}."
    return Reply(text=text, latency_s=THINKING_S)


def finished(messages: Sequence[BaseMessage]) -> Done:
    """What the tools answered since the user spoke last; a folder that is not there is empty."""
    asked: dict[str, tuple[str, str]] = {}
    done: Done = {}
    for message in messages:
        if isinstance(message, HumanMessage):
            done = {}
        elif isinstance(message, AIMessage):
            for made in message.tool_calls:
                about = made["args"].get("path") or made["args"].get("name") or ""
                asked[made["id"] or ""] = made["name"], about
        elif isinstance(message, ToolMessage):
            made_call = asked.get(message.tool_call_id, ("", ""))
            if message.status == "success":
                done[made_call] = message.text
            elif made_call[0] == "list_files":
                done[made_call] = ""  # no folder, no documents: asking again would never end
    return done


def note_path(document: str) -> str:
    """Where the note about a document goes."""
    return f"notes/{PurePosixPath(document).name}"


def note_of(report: str) -> str:
    """The note about one report: its facts, and the first sentence of cause and fix."""
    facts = "; ".join(f"{name} {_fact(report, name)}" for name in ("Date", "Severity", "Duration"))
    lines = [f"# {_title(report)}", "", f"{facts}."]
    for part in ("Cause", "Fix"):
        lines += ["", f"{part}: {_first_sentence(_section(report, part))}"]
    return "\n".join(lines) + "\n"


def summary_of(reports: Sequence[str]) -> str:
    """The summary over all reports: a table, and what was promised."""
    rows = [
        f"| {_fact(report, 'Date')} | {_fact(report, 'Severity')} | {_title(report)} |"
        for report in reports
    ]
    promises = [line for report in reports for line in _promises(report)]
    return "\n".join(
        [
            "# Incidents of the year",
            "",
            "| date | severity | what happened |",
            "|---|---|---|",
            *rows,
            "",
            f"## What we promised ({len(promises)})",
            "",
            *promises,
            "",
        ]
    )


def _take_note(
    document: str, note: str, following: Sequence[str]
) -> tuple[str, *tuple[PlannedCall, ...]]:
    calls = [call("write_file", path=note_path(document), content=note)]
    calls += [call("read_file", path=each) for each in following]
    return f"A note about {PurePosixPath(document).stem}.", *calls


def _alert(report: str) -> list[PlannedCall]:
    """People are told of what was severe."""
    if _fact(report, "Severity") != "high":
        return []
    return [call("notify", text=f"{_title(report)} ({_fact(report, 'Date')}).")]


def _offered(messages: Sequence[BaseMessage]) -> bool:
    """Whether the prompt's catalog of skills offers the one this plan uses."""
    return any(m.type == "system" and SKILL in m.text for m in messages)


def _may_notify(messages: Sequence[BaseMessage]) -> bool:
    """Whether the loaded skill asks for it; without the skill nobody is told."""
    return any(m.type == "system" and "`notify`" in m.text for m in messages)


def _step(text: str, *calls: PlannedCall) -> Reply:
    return Reply(text=text, tool_calls=calls, latency_s=THINKING_S)


def _excuse() -> str:
    return (
        "I am a script, not a language model: I only summarize the incident reports of the "
        f"demo, and there are none in {FOLDER}/. Set PLUMBGRAPH_MODEL to provider:name, for "
        "example openai:gpt-5.5, to talk to a real one."
    )


def _title(report: str) -> str:
    return report.splitlines()[0].removeprefix("# ")


def _fact(report: str, name: str) -> str:
    found = re.search(rf"^- {name}: (.+)$", report, re.MULTILINE)
    return found[1] if found else "unknown"


def _section(report: str, name: str) -> str:
    found = re.search(rf"^## {name}\n+(.*?)(?=^## |\Z)", report, re.MULTILINE | re.DOTALL)
    return " ".join(found[1].split()) if found else "not said"


def _promises(report: str) -> list[str]:
    found = re.search(r"^## Follow-up\n+(.*)\Z", report, re.MULTILINE | re.DOTALL)
    return found[1].strip().splitlines() if found else []


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]

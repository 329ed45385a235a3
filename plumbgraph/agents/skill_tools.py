"""The five tools by which a model finds, loads, reads, runs and puts down skills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime
from langgraph.types import Command, interrupt

from plumbgraph.skills.channel import SkillEntry, active, used_entry
from plumbgraph.skills.desk import Outcome, SkillDesk
from plumbgraph.skills.events import SkillScriptDenied, SkillScriptRan
from plumbgraph.skills.sandbox import ScriptResult, run_script
from plumbgraph.skills.scripts import (
    ScriptCall,
    ScriptRules,
    approval_request,
    approved,
    decide,
)
from plumbgraph.tracing import emit

Runtime = ToolRuntime[Any, Any]


def skill_tools(desk: SkillDesk, scripts: ScriptRules) -> list[BaseTool]:
    """The tools of one agent; `run_skill_script` is among them only where scripts may run."""
    made = [_load(desk), _unload(desk), _search(desk), _read(desk)]
    return [*made, _run(desk, scripts)] if scripts.mode != "off" else made


def _load(desk: SkillDesk) -> BaseTool:
    def load_skill(name: str, runtime: Runtime) -> Command[Any]:
        """Load a skill's instructions into the prompt. Do this before a task it describes.

        Args:
            name: A name from the list of available skills or from search_skills.
            runtime: Injected.
        """
        return _answer(desk.load(_entries(runtime), name), runtime)

    return _both(load_skill)


def _unload(desk: SkillDesk) -> BaseTool:
    def unload_skill(name: str, runtime: Runtime) -> Command[Any]:
        """Take a skill's instructions out of the prompt once they are no longer needed.

        Args:
            name: The loaded skill.
            runtime: Injected.
        """
        return _answer(desk.unload(_entries(runtime), name), runtime)

    return _both(unload_skill)


def _search(desk: SkillDesk) -> BaseTool:
    def search_skills(query: str, runtime: Runtime, k: int = 5) -> Command[Any]:
        """Find skills for a task among all there are, also those the list does not describe.

        Args:
            query: The task in a few words.
            k: How many to give.
            runtime: Injected.
        """
        return _answer(desk.search(query, k), runtime)

    return _both(search_skills)


def _read(desk: SkillDesk) -> BaseTool:
    def read_skill_file(
        name: str, path: str, runtime: Runtime, section: str = "", offset: int = 0
    ) -> Command[Any]:
        """Read a file of a loaded skill, for example one of its references.

        Args:
            name: The loaded skill.
            path: The file's path inside the skill, as listed.
            section: A heading: gives only the section below it.
            offset: Characters to skip, for the next page of a long file.
            runtime: Injected.
        """
        outcome = desk.read_file(
            _entries(runtime), name, path, section=section, offset=max(0, offset)
        )
        return _answer(outcome, runtime)

    return _both(read_skill_file)


def _run(desk: SkillDesk, rules: ScriptRules) -> BaseTool:
    def prepare(name: str, script: str, arguments: list[str], runtime: Runtime) -> ScriptCall | str:
        entry = active(_entries(runtime)).get(name)
        if entry is None:
            return f"{name!r} is not loaded; load it first."
        return ScriptCall(name, entry["digest"], script, tuple(arguments))

    def run(call: ScriptCall, runtime: Runtime) -> Command[Any]:
        contents = desk.bodies.files(call.digest, call.skill)
        result = run_script(call, contents, rules)
        _report(call, result)
        entries = _entries(runtime)
        changed = {call.skill: used_entry(entries, call.skill)}
        failed = result.exit_code != 0
        return _answer(Outcome(_script_message(result, rules), changed, failed), runtime)

    def run_skill_script(
        name: str, script: str, runtime: Runtime, arguments: list[str] | None = None
    ) -> Command[Any]:
        """Run a script of a loaded skill in a copy of its folder, without network.

        Args:
            name: The loaded skill.
            script: The script's path, for example scripts/check.py.
            arguments: Arguments, each one string; no shell reads them.
            runtime: Injected.
        """
        call = prepare(name, script, arguments or [], runtime)
        refused = call if isinstance(call, str) else _permit(call, desk, rules)
        if refused or isinstance(call, str):
            return _answer(Outcome(refused, failed=True), runtime)
        return run(call, runtime)

    async def arun_skill_script(
        name: str, script: str, runtime: Runtime, arguments: list[str] | None = None
    ) -> Command[Any]:
        call = prepare(name, script, arguments or [], runtime)
        refused = call if isinstance(call, str) else _permit(call, desk, rules)
        if refused or isinstance(call, str):
            return _answer(Outcome(refused, failed=True), runtime)
        return await asyncio.to_thread(run, call, runtime)

    return StructuredTool.from_function(run_skill_script, arun_skill_script, parse_docstring=True)


def _permit(call: ScriptCall, desk: SkillDesk, rules: ScriptRules) -> str:
    """Empty when the call may run, else why not; asks a person by interrupting the graph."""
    decision = decide(call, rules, desk.policy)
    why = decision.reason if decision.action == "refuse" else ""
    if decision.action == "ask" and not approved(call, interrupt(approval_request(call))):
        why = "The call was not approved."
    if why:
        emit(SkillScriptDenied(skill=call.skill, digest=call.digest, argv=call.argv, why=why))
        return f"{why} The script was not run."
    return ""


def _report(call: ScriptCall, result: ScriptResult) -> None:
    if result.refused:
        emit(
            SkillScriptDenied(
                skill=call.skill, digest=call.digest, argv=call.argv, why=result.refused
            )
        )
        return
    emit(
        SkillScriptRan(
            skill=call.skill,
            digest=call.digest,
            argv=call.argv,
            exit_code=result.exit_code,
            seconds=round(result.seconds, 3),
            isolated=result.isolated,
        )
    )


def _script_message(result: ScriptResult, rules: ScriptRules) -> str:
    if result.refused:
        return f"The script was refused: {result.refused}."
    ended = {
        "itself": f"Exit code {result.exit_code}.",
        "timeout": f"Killed after {rules.timeout_s:g} s.",
        "output": f"Killed: more than {rules.max_output_bytes} bytes of output.",
    }[result.ended_by]
    parts = [ended, result.stdout and f"stdout:\n{result.stdout}"]
    parts.append(result.stderr and f"stderr:\n{result.stderr}")
    return "\n".join(part for part in parts if part)


def _both(call: Callable[..., Command[Any]]) -> BaseTool:
    """A tool of a blocking function; its awaitable twin runs it in a thread."""

    async def twin(**arguments: Any) -> Command[Any]:
        return await asyncio.to_thread(lambda: call(**arguments))

    twin.__annotations__ = call.__annotations__
    twin.__doc__ = call.__doc__
    return StructuredTool.from_function(call, twin, parse_docstring=True)


def _entries(runtime: Runtime) -> dict[str, SkillEntry]:
    state = runtime.state
    found = state.get("skills") if isinstance(state, dict) else getattr(state, "skills", None)
    return dict(found or {})


def _answer(outcome: Outcome, runtime: Runtime) -> Command[Any]:
    """The state's update: the message for the model and the entries that changed."""
    message = ToolMessage(
        outcome.message,
        tool_call_id=runtime.tool_call_id or "",
        status="error" if outcome.failed else "success",
    )
    update: dict[str, Any] = {"messages": [message]}
    if outcome.entries:
        update["skills"] = outcome.entries
    return Command(update=update)

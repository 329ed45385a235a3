"""May a skill's script run, and how exactly: pure decisions, off by default."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from plumbgraph.skills.gate import ToolPolicy
from plumbgraph.skills.package import safe_path

MAX_ARGUMENTS = 64
MAX_ARGUMENT_CHARS = 8_000
APPROVAL_KIND = "plumbgraph.skill_script"


@dataclass(frozen=True, slots=True)
class ScriptRules:
    """Whether and how scripts of skills run.

    Attributes:
        mode: `off` refuses all, `ask` interrupts the graph for an approval of each call,
            `allow` runs without asking.
        trusted: Digests of skills whose scripts run without asking in mode `ask`.
        without_isolation: Run even where the network cannot be cut off; otherwise the script is
            refused there.
        timeout_s: Wall time before everything the script started is killed.
        max_output_bytes: Of stdout and stderr together; more ends the script.
        memory_bytes: Address space of each process.
        env: Variables the script sees beside PATH, HOME, TMPDIR and LANG; nothing is inherited.
    """

    mode: Literal["off", "ask", "allow"] = "off"
    trusted: frozenset[str] = frozenset()
    without_isolation: bool = False
    timeout_s: float = 30.0
    max_output_bytes: int = 64 << 10
    memory_bytes: int = 2 << 30
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One exact call: the skill by digest, the script's path and its arguments."""

    skill: str
    digest: str
    script: str
    arguments: tuple[str, ...]

    @property
    def argv(self) -> tuple[str, ...]:
        """The script and its arguments."""
        return (self.script, *self.arguments)

    @property
    def key(self) -> str:
        """What an approval is tied to: it differs for other content and other arguments."""
        facts = json.dumps([self.skill, self.digest, *self.argv])
        return hashlib.sha256(facts.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Decision:
    """`run`, `ask` or `refuse`, and why."""

    action: Literal["run", "ask", "refuse"]
    reason: str


def decide(call: ScriptCall, rules: ScriptRules, policy: ToolPolicy | None = None) -> Decision:
    """Whether a call runs. A policy may forbid or ask, never allow what the rules do not."""
    if rules.mode == "off":
        return Decision("refuse", "Scripts of skills are switched off.")
    if fault := _fault(call):
        return Decision("refuse", fault)
    asks = rules.mode == "ask" and call.digest not in rules.trusted
    if policy is not None:
        said = policy.tool(f"skill:{call.skill}/{call.script}", None)
        if str(said.verdict) == "deny":
            return Decision("refuse", f"{said.reason} (rule {said.rule})")
        asks = asks or not said.allowed
    return (
        Decision("ask", "A person must approve this call.") if asks else Decision("run", "Allowed.")
    )


def approval_request(call: ScriptCall) -> dict[str, Any]:
    """What a person is shown; `key` must come back with the approval."""
    return {
        "kind": APPROVAL_KIND,
        "skill": call.skill,
        "digest": call.digest,
        "argv": list(call.argv),
        "key": call.key,
        "answer": {"approve": True, "key": call.key},
    }


def approved(call: ScriptCall, answer: object) -> bool:
    """Whether an answer approves this very call."""
    return (
        isinstance(answer, Mapping)
        and answer.get("approve") is True
        and answer.get("key") == call.key
    )


def interpreter(script: str, first_line: bytes) -> tuple[str, ...] | None:
    """What runs a script, by suffix or by its `#!` line; None when nothing does."""
    suffix = script.rpartition(".")[2] if "." in script else ""
    if suffix == "py":
        return (sys.executable, "-E", "-s")
    if suffix == "sh":
        return ("/bin/sh",)
    if suffix in {"js", "mjs"} and (node := shutil.which("node")):
        return (node,)
    return () if first_line.startswith(b"#!/") else None


def _fault(call: ScriptCall) -> str:
    if not (safe_path(call.script) and call.script.startswith("scripts/")):
        return f"{call.script!r} is not a path below scripts/."
    if len(call.arguments) > MAX_ARGUMENTS or _too_long(call.arguments):
        return "The arguments are too many or too long."
    if any("\0" in argument for argument in call.arguments):
        return "An argument holds a NUL character."
    return ""


def _too_long(arguments: Sequence[str]) -> bool:
    return any(len(argument) > MAX_ARGUMENT_CHARS for argument in arguments)

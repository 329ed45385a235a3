"""Which tools the model sees and which calls run, given the loaded skills; a pure decision.

Two ideas are kept apart. A skill *brings* tools: those named in its `requires_tools` appear when
it is loaded and go when it is unloaded. A rule *restricts* tools: the policy's, or a skill's own
`restrict_tools` where the app says so. The tools that load skills are never taken away, or nothing
could be loaded any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from plumbgraph.skills.values import SkillRecord

SKILL_TOOLS = frozenset(
    {"load_skill", "unload_skill", "search_skills", "read_skill_file", "run_skill_script"}
)
Restrict = Literal["off", "union", "intersection"]


class Verdict(Protocol):
    """What a policy says about one call."""

    @property
    def allowed(self) -> bool:
        """Whether the call may happen without further ado."""

    @property
    def verdict(self) -> object:
        """`allow`, `approve` or `deny`."""

    @property
    def rule(self) -> str:
        """The rule that decided."""

    @property
    def reason(self) -> str:
        """Its words."""


class ToolPolicy(Protocol):
    """Rules about tools, for example `plumbgraph.Policy`."""

    def tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """Whether a tool may be called; a skill's script is `skill:NAME/PATH`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tool is neither shown nor run."""

    tool: str
    rule: str
    reason: str


def refusal_of(
    tool: str,
    loaded: Iterable[SkillRecord],
    *,
    gated: Collection[str],
    restrict: Restrict = "off",
    policy: ToolPolicy | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Refusal | None:
    """Why `tool` may not be used now, or None.

    Args:
        tool: The tool's name.
        loaded: The skills whose instructions stand in the prompt.
        gated: Tools that exist only through a skill that requires them.
        restrict: How skills' own `restrict_tools` are read: not at all, as the union or as the
            intersection of what the loaded skills name.
        policy: Rules of the operator and the app.
        arguments: The call's arguments, for rules about addresses; None for a tool not yet called.
    """
    if tool in SKILL_TOOLS:
        return None
    records = tuple(loaded)
    if tool in gated and not any(tool in record.requires_tools for record in records):
        return Refusal(tool, "skills.gated", f"No loaded skill brings the tool {tool!r}.")
    if restrict != "off" and tool not in (allowed := restriction(records, restrict, tool)):
        named = ", ".join(sorted(allowed))
        return Refusal(tool, f"skills.{restrict}", f"The loaded skills restrict tools to: {named}.")
    if policy is not None:
        said = policy.tool(tool, arguments)
        if str(said.verdict) == "deny":
            return Refusal(tool, said.rule, said.reason)
    return None


def restriction(records: Iterable[SkillRecord], restrict: Restrict, tool: str) -> frozenset[str]:
    """What the loaded skills restrict tools to; `tool` itself when none of them restricts."""
    named = [frozenset((*r.restrict_tools, *r.requires_tools)) for r in records if r.restrict_tools]
    if not named:
        return frozenset({tool})
    combine: Callable[..., frozenset[str]] = (
        frozenset.union if restrict == "union" else frozenset.intersection
    )
    return combine(*named)

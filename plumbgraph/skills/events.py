"""What the skills part reports: every choice, load, eviction, drift, denial and script."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

from plumbgraph.tracing.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogShown(Event):
    """A turn's catalog was chosen."""

    name: ClassVar[str] = "skill.catalog_shown"
    digest: str
    shown: int
    total: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillsSearched(Event):
    """A request was searched; the request itself stays out of the record."""

    name: ClassVar[str] = "skill.searched"
    query_digest: str
    k: int
    fits: bool
    names: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillLoaded(Event):
    """A skill's instructions came into the prompt."""

    name: ClassVar[str] = "skill.loaded"
    skill: str
    digest: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillUnloaded(Event):
    """A skill's instructions left the prompt.

    Attributes:
        why: `asked`, `budget` or `turn`.
    """

    name: ClassVar[str] = "skill.unloaded"
    skill: str
    digest: str
    tokens: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillDrifted(Event):
    """A loaded skill's source no longer holds what was loaded."""

    name: ClassVar[str] = "skill.drifted"
    level: ClassVar[int] = logging.WARNING
    skill: str
    digest: str
    source_digest: str | None
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillToolDenied(Event):
    """A tool call was refused because no loaded skill brings the tool, or a rule forbids it."""

    name: ClassVar[str] = "skill.tool_denied"
    level: ClassVar[int] = logging.WARNING
    tool: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillScriptRan(Event):
    """A skill's script ran to its end or to its limit."""

    name: ClassVar[str] = "skill.script_ran"
    skill: str
    digest: str
    argv: tuple[str, ...]
    exit_code: int | None
    seconds: float
    isolated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillScriptDenied(Event):
    """A skill's script was refused."""

    name: ClassVar[str] = "skill.script_denied"
    level: ClassVar[int] = logging.WARNING
    skill: str
    digest: str
    argv: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryUnavailable(Event):
    """The shared registry did not answer; the last good copy is used."""

    name: ClassVar[str] = "skill.registry_unavailable"
    level: ClassVar[int] = logging.WARNING
    registry: str
    error: str

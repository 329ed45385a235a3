"""The values skills are made of: a diagnostic, a record, a file and a package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from plumbgraph.html import table

Level: TypeAlias = Literal["note", "warning", "error"]

SKILL_FILE = "SKILL.md"
RESOURCE_FOLDERS = frozenset({"scripts", "references", "assets", "evals", "fixtures", "tests"})
"""Folders inside a skill whose content belongs to that skill, even another `SKILL.md`."""
SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})
"""Folders that are neither searched for skills nor part of one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a skill is read before it is refused.

    Attributes:
        skill_md_bytes: Largest `SKILL.md`.
        file_bytes: Largest other file of a skill.
        package_bytes: All files of a skill together.
        package_files: Number of files of a skill.
        depth: Folder levels searched below a source's root.
        folders: Folders visited in one source.
    """

    skill_md_bytes: int = 1 << 20
    file_bytes: int = 10 << 20
    package_bytes: int = 64 << 20
    package_files: int = 2_000
    depth: int = 16
    folders: int = 200_000


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing worth knowing about a skill on disk.

    Attributes:
        code: Stable dotted name, for example `skills.name_mismatch`.
        message: What was found, with the offending value quoted.
        path: The file or folder it is about.
        line: Line of the file, counted from 1, where there is one.
        level: `error` keeps the skill from loading; `warning` and `note` do not.
    """

    code: str
    message: str
    path: str = ""
    line: int | None = None
    level: Level = "warning"

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.level} {self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class SkillRecord:
    """What the catalog knows of a skill without opening it.

    Attributes:
        name: The name the model uses.
        source: Label of the source that offers it.
        location: Where the source finds it: a path relative to the source's root, or a digest.
        description: What it does and when to use it.
        requires_tools: Tools that appear while the skill is loaded.
        restrict_tools: Tools a restricting policy may narrow the agent to; empty restricts nothing.
        allowed_tools: The standard's pre-approved tools; shown, never a restriction.
        version: `metadata.version`, or empty.
        fingerprint: Changes whenever `SKILL.md` changes.
        body_chars: Length of the instructions, in characters.
    """

    name: str
    source: str
    location: str
    description: str
    license: str = ""
    compatibility: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    allowed_tools: tuple[str, ...] = ()
    requires_tools: tuple[str, ...] = ()
    restrict_tools: tuple[str, ...] = ()
    version: str = ""
    fingerprint: str = ""
    body_chars: int = 0
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def qualified(self) -> str:
        """The name with its source in front, unique among the skills that loaded."""
        return f"{self.source}/{self.name}"

    @property
    def address(self) -> str:
        """Source and location: names this very folder, also when its name is shadowed."""
        return f"{self.source}/{self.location}"


@dataclass(frozen=True, slots=True)
class SkillFile:
    """One file of a skill, by the digest of its content."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that was opened: its record, its instructions and every file by digest.

    Attributes:
        digest: SHA-256 over the sorted lines of paths and file digests: the whole folder.
        body: The instructions, without frontmatter, with LF line ends.
        contents: The bytes of each file by its path; empty when only `SKILL.md` was read.
    """

    record: SkillRecord
    digest: str
    body: str
    files: tuple[SkillFile, ...]
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def name(self) -> str:
        """The skill's name."""
        return self.record.name


@dataclass(frozen=True, slots=True)
class Rejected:
    """A `SKILL.md` on disk that did not become a skill, and why."""

    path: str
    diagnostics: tuple[Diagnostic, ...]

    @property
    def code(self) -> str:
        """The first reason's code."""
        return self.diagnostics[0].code


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A sound skill that another of the same name stands in front of."""

    record: SkillRecord
    by: SkillRecord
    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Report:
    """What became of every `SKILL.md` on disk: `len(on disk) == loaded + shadowed + rejected`."""

    loaded: tuple[SkillRecord, ...] = ()
    shadowed: tuple[Shadowed, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    notices: tuple[Diagnostic, ...] = ()

    @property
    def on_disk(self) -> int:
        """How many `SKILL.md` were found."""
        return len(self.loaded) + len(self.shadowed) + len(self.rejected)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Everything there is to say, errors first within each group."""
        return (
            *(d for r in self.rejected for d in r.diagnostics),
            *(s.diagnostic for s in self.shadowed),
            *(d for r in self.loaded for d in r.diagnostics),
            *self.notices,
        )

    def _repr_html_(self) -> str:
        rows = [
            *((r.name, r.source, "loaded", "") for r in self.loaded),
            *((s.record.name, s.record.source, "shadowed", s.diagnostic) for s in self.shadowed),
            *((r.path, "", "rejected", r.code) for r in self.rejected),
            *(("", "", notice.code, notice) for notice in self.notices),
        ]
        counts = f"{len(self.loaded)} loaded, {len(self.shadowed)} shadowed"
        caption = f"{self.on_disk} on disk = {counts}, {len(self.rejected)} rejected"
        return table(("skill", "source", "is", "because"), rows, caption=caption)

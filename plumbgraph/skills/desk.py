"""What an agent does with skills, as functions of the state's entries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from plumbgraph.content.digest import digest_of
from plumbgraph.errors import BlobMissing, PlumbError, SkillNotFound, SkillTampered
from plumbgraph.skills.bodies import Blobs, Bodies, Stored
from plumbgraph.skills.budget import fit
from plumbgraph.skills.catalog import catalog_line, catalog_text
from plumbgraph.skills.channel import (
    CatalogRef,
    Mode,
    SkillEntry,
    active,
    drifted_entry,
    loaded_entry,
    merge_skills,
    unloaded_entry,
    used_entry,
)
from plumbgraph.skills.events import (
    CatalogShown,
    SkillDrifted,
    SkillLoaded,
    SkillToolDenied,
    SkillUnloaded,
)
from plumbgraph.skills.gate import Refusal, Restrict, ToolPolicy, refusal_of
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.outline import read_section
from plumbgraph.skills.render import loaded_block, skill_block
from plumbgraph.skills.values import SKILL_FILE, SkillRecord
from plumbgraph.tracing import emit

Drift = Literal["keep", "warn", "upgrade", "fail"]
Entries = dict[str, SkillEntry]
MAX_READ_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Rules:
    """How an agent uses its skills.

    Attributes:
        catalog_tokens: Room for the catalog.
        body_tokens: Room for loaded instructions; the least recently used go first.
        drift: What happens at a turn's beginning when a loaded skill's source has changed:
            `keep` what was loaded, keep it and `warn` the model, `upgrade` to the new, or `fail`.
        pinned: Loaded at the first turn and never put down.
        mode: `bounded`, or `turn` to put every skill down when the turn ends.
        gated: Names of tools that appear only while a skill that requires them is loaded.
        restrict: How `restrict_tools` of loaded skills are read; see `gate.refusal_of`.
    """

    catalog_tokens: int = 4_000
    body_tokens: int = 12_000
    drift: Drift = "keep"
    pinned: tuple[str, ...] = ()
    mode: Mode = "bounded"
    gated: frozenset[str] = frozenset()
    restrict: Restrict = "off"

    def with_gated(self, names: Collection[str]) -> Rules:
        """These rules with further gated tools."""
        return replace(self, gated=self.gated | frozenset(names))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a skill tool did: a message for the model and the entries that changed."""

    message: str
    entries: Entries = field(default_factory=dict)
    failed: bool = False


class SkillDesk:
    """The skills side of an agent. It keeps nothing between calls but caches: the state decides.

    Args:
        library: Where skills are found.
        blobs: Where loaded skills are kept by digest; the user's data folder by default.
        rules: Budgets, drift, pinning and gating.
        policy: Rules about tools; see `plumbgraph.Policy`.
    """

    def __init__(
        self,
        library: SkillLibrary,
        *,
        blobs: Blobs | None = None,
        rules: Rules | None = None,
        policy: ToolPolicy | None = None,
    ) -> None:
        self.library = library
        self.bodies = Bodies(blobs)
        self.rules = rules or Rules()
        self.policy = policy
        self._reported: set[tuple[str, str, str | None]] = set()

    def begin(
        self, entries: Entries, catalog: CatalogRef | None, *, turn: str, query: str
    ) -> dict[str, Any]:
        """The state's update before a model call: a new turn's upkeep, or nothing.

        In a new turn the sources are looked at again, so that new and edited skills show, one-turn
        skills are put down, drift is settled and the catalog is chosen. In every call skills that
        outgrew the budget together (parallel loads) are put down.
        """
        changed: Entries = {}
        update: dict[str, Any] = {}
        if catalog is None or catalog["turn"] != turn:
            self.library.refresh()
            changed = self._new_turn(entries)
            update["skills_catalog"] = self._catalog(
                merge_skills(entries, changed), catalog, turn, query
            )
        changed |= self._settled(merge_skills(entries, changed))
        return {**update, "skills": changed} if changed else update

    def prompt(self, entries: Entries, catalog: CatalogRef | None) -> str:
        """The skills part of the system prompt: catalog first, then the loaded instructions.

        The same state gives the same bytes in every process, whatever became of the sources.
        """
        stored = self.loaded(entries)
        bodies = {item.body.digest: item.body for item in stored.values()}
        shown = self._shown(catalog) if catalog else ""
        block = loaded_block(
            entries,
            bodies,
            budget=self.rules.body_tokens,
            counter=self.library.counter,
        )
        return "\n\n".join(part for part in (shown, block) if part)

    def _shown(self, catalog: CatalogRef) -> str:
        """The catalog's text as it was chosen."""
        head, *lines = self.bodies.texts([catalog["digest"], *catalog.get("lines", ())])
        return catalog_text(head, lines) if head and "lines" in catalog else head

    def loaded(self, entries: Entries) -> dict[str, Stored]:
        """What is loaded, by name, as it was stored."""
        return {name: self._stored(name, entry) for name, entry in active(entries).items()}

    def _stored(self, name: str, entry: SkillEntry) -> Stored:
        """A loaded skill; where its copy is not at hand, from the source that still holds it."""
        digest = entry["digest"]
        try:
            return self.bodies.get(digest, name)
        except BlobMissing:
            if self._source_digest(name) != digest:
                raise
            return self.bodies.put(self.library.open(name))

    def refusal(
        self, entries: Entries, tool: str, arguments: Mapping[str, Any] | None = None
    ) -> Refusal | None:
        """Why a tool may not be seen or called now, or None; the same answer for both."""
        kept = fit(entries, self.rules.body_tokens).kept if entries else ()
        records = [self._stored(name, entries[name]).record for name in kept]
        return refusal_of(
            tool,
            records,
            gated=self.rules.gated,
            restrict=self.rules.restrict,
            policy=self.policy,
            arguments=arguments,
        )

    def refuse_call(
        self, entries: Entries, tool: str, arguments: Mapping[str, Any] | None = None
    ) -> Refusal | None:
        """As `refusal`, for a call that was made: a refusal is an event."""
        refused = self.refusal(entries, tool, arguments)
        if refused is not None:
            emit(SkillToolDenied(tool=tool, rule=refused.rule))
        return refused

    def load(self, entries: Entries, name: str, *, mode: Mode | None = None) -> Outcome:
        """Load a skill as its source has it now; the least recently used make room."""
        try:
            skill = self.library.open(name)
        except SkillNotFound as missing:
            return Outcome(f"{missing.message} {self._nearest(name)}", failed=True)
        except PlumbError as error:
            return Outcome(f"{name!r} cannot be loaded: {error}", failed=True)
        current = entries.get(skill.name)
        if current and not current.get("gone") and current["digest"] == skill.digest:
            used = {skill.name: used_entry(entries, skill.name)}
            return Outcome(f"{skill.name!r} is loaded already; see <loaded_skills>.", used)
        stored = self.bodies.put(skill)
        block = skill_block(
            stored.body, most_tokens=self.rules.body_tokens, counter=self.library.counter
        )
        tokens = self.library.counter(block)
        mode = mode or ("pinned" if skill.name in self.rules.pinned else self.rules.mode)
        changed: Entries = {skill.name: loaded_entry(entries, skill.digest, tokens, mode=mode)}
        emit(SkillLoaded(skill=skill.name, digest=skill.digest, tokens=tokens))
        evicted = self._settled(merge_skills(entries, changed))
        return Outcome(self._loaded_message(stored.record, tokens, evicted), changed | evicted)

    def unload(self, entries: Entries, name: str) -> Outcome:
        """Put a skill down; its tokens are free at the next model call."""
        entry = active(entries).get(name)
        if entry is None:
            return Outcome(f"{name!r} is not loaded.", failed=True)
        if entry.get("mode") == "pinned":
            return Outcome(f"{name!r} is pinned and stays loaded.", failed=True)
        freed = entry["tokens"]
        message = f"{name!r} is unloaded; about {freed} tokens are free."
        return Outcome(message, {name: self._put_down(entries, name, "asked")})

    def search(self, query: str, k: int = 5) -> Outcome:
        """The nearest skills with score and reason, or an honest "nothing fits"."""
        result = self.library.search(query, k=max(1, min(k, 20)))
        lines = [
            f"{catalog_line(hit.record)} (score {hit.score:.2f}; {hit.reason})" for hit in result
        ]
        return Outcome("\n".join([result.verdict, *lines]))

    def read_file(
        self, entries: Entries, name: str, path: str, *, section: str = "", offset: int = 0
    ) -> Outcome:
        """A file of a loaded skill, or one section of it; long texts come in pages."""
        entry = active(entries).get(name)
        if entry is None:
            return Outcome(f"{name!r} is not loaded; load it first.", failed=True)
        stored = self._stored(name, entry)
        if path not in {file.path for file in stored.body.files}:
            listed = ", ".join(file.path for file in stored.body.files[:50])
            return Outcome(f"{name!r} has no file {path!r}. It has: {listed}", failed=True)
        text, fault = self._text_of(stored, path, section)
        if fault:
            return Outcome(fault, failed=True)
        page = text[offset : offset + MAX_READ_CHARS]
        left = len(text) - offset - len(page)
        more = f"\n[{left} characters more: offset={offset + len(page)}]" if left > 0 else ""
        return Outcome(page + more, {name: used_entry(entries, name)})

    def _text_of(self, stored: Stored, path: str, section: str) -> tuple[str, str]:
        """The text of a file or section, and what is wrong with the request."""
        body = stored.body
        if path == SKILL_FILE:
            text = body.text
        else:
            data = self.bodies.files(body.digest, body.name, [path])[path]
            try:
                text = data.decode("utf-8").removeprefix("\ufeff")
            except UnicodeDecodeError:
                return "", f"{path!r} is not text ({len(data)} bytes); a script may use it."
        if not section:
            return text, ""
        found = read_section(text, section)
        return (found, "") if found is not None else ("", f"{path!r} has no section {section!r}.")

    def _new_turn(self, entries: Entries) -> Entries:
        changed: Entries = {}
        for name, entry in active(entries).items():
            if entry.get("mode") == "turn":
                changed[name] = self._put_down(merge_skills(entries, changed), name, "turn")
            elif drifted := self._drift(merge_skills(entries, changed), name, entry):
                changed |= drifted
        for name in self.rules.pinned:
            now = merge_skills(entries, changed)
            if name not in active(now):
                changed |= self.load(now, name, mode="pinned").entries
        return changed

    def _drift(self, entries: Entries, name: str, entry: SkillEntry) -> Entries:
        """Settle one loaded skill against its source, by the drift rule."""
        source = self._source_digest(name)
        if source == entry["digest"]:
            return {}
        key = (name, entry["digest"], source)
        if key not in self._reported:
            self._reported.add(key)
            emit(
                SkillDrifted(
                    skill=name,
                    digest=entry["digest"],
                    source_digest=source,
                    policy=self.rules.drift,
                )
            )
        if self.rules.drift == "fail":
            raise SkillTampered(
                f"The skill {name!r} is loaded as {entry['digest'][:12]}… and its source holds "
                f"{(source or 'nothing')[:12]}.",
                hint="Restore the source, unload the skill, or choose another drift rule.",
                skill=name,
                digest=entry["digest"],
                source_digest=source,
            )
        if self.rules.drift == "upgrade" and source is not None:
            return self.load(entries, name, mode=entry.get("mode", "bounded")).entries
        if self.rules.drift == "warn" and not entry.get("drifted"):
            return {name: drifted_entry(entries, name)}
        return {}

    def _source_digest(self, name: str) -> str | None:
        try:
            return self.library.open(name).digest
        except PlumbError:
            return None

    def _catalog(
        self, entries: Entries, previous: CatalogRef | None, turn: str, query: str
    ) -> CatalogRef:
        recent = sorted(active(entries), key=lambda name: -entries[name]["used"])
        catalog = self.library.catalog(
            self.rules.catalog_tokens,
            query=query,
            pinned=self.rules.pinned,
            recent=recent,
            previous=previous["shown"] if previous else (),
        )
        digest, *lines = self.bodies.put_texts([catalog.head, *catalog.lines])
        emit(
            CatalogShown(
                digest=digest_of(catalog.text.encode()),
                shown=len(catalog.shown),
                total=len(self.library),
                tokens=catalog.tokens,
            )
        )
        return {"turn": turn, "digest": digest, "shown": list(catalog.shown), "lines": lines}

    def _settled(self, entries: Entries) -> Entries:
        changed: Entries = {}
        for name in fit(entries, self.rules.body_tokens).evicted:
            changed[name] = self._put_down(merge_skills(entries, changed), name, "budget")
        return changed

    def _put_down(self, entries: Entries, name: str, why: str) -> SkillEntry:
        entry = entries[name]
        emit(SkillUnloaded(skill=name, digest=entry["digest"], tokens=entry["tokens"], why=why))
        return unloaded_entry(entries, name, why)

    def _nearest(self, name: str) -> str:
        hits = self.library.search(name.replace("-", " "), k=3)
        return f"Nearest: {', '.join(hit.name for hit in hits)}." if hits else "There is none."

    def _loaded_message(self, record: SkillRecord, tokens: int, evicted: Collection[str]) -> str:
        parts = [
            f"{record.name!r} is loaded ({tokens} tokens); its text stands in <loaded_skills>."
        ]
        if tools := [tool for tool in record.requires_tools if tool in self.rules.gated]:
            parts.append(f"It brings the tools {', '.join(tools)}.")
        if lacking := [tool for tool in record.requires_tools if tool not in self.rules.gated]:
            parts.append(f"It names tools this agent may lack: {', '.join(lacking)}.")
        if evicted:
            parts.append(f"Put down to make room: {', '.join(evicted)}.")
        return " ".join(parts)

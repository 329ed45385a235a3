"""The one bounded block of the prompt that holds the loaded skills' instructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plumbgraph.skills.budget import fit
from plumbgraph.skills.channel import SkillEntry, active
from plumbgraph.skills.escape import body_text, one_line
from plumbgraph.skills.outline import outline_of
from plumbgraph.skills.tokens import TokenCounter, count_tokens
from plumbgraph.skills.values import SKILL_FILE, SkillFile

MAX_LISTED_FILES = 30
MAX_STUBS = 5


@dataclass(frozen=True, slots=True)
class Body:
    """What rendering needs of a loaded skill, always read by digest."""

    name: str
    digest: str
    text: str
    files: tuple[SkillFile, ...]


def skill_block(body: Body, *, most_tokens: int, counter: TokenCounter = count_tokens) -> str:
    """One loaded skill: its instructions, or an outline when they cost more than `most_tokens`."""
    whole = _framed(body, body_text(body.text))
    if counter(whole) <= most_tokens:
        return whole
    outline = body_text(outline_of(body.text, counter))
    hint = (
        f"These instructions are too long to show at once. Read a section with "
        f'read_skill_file("{body.name}", "{SKILL_FILE}", section="…"):'
    )
    text = _framed(body, f"{hint}\n{outline}")
    while counter(text) > most_tokens and "\n" in outline:
        outline = outline[: len(outline) * 3 // 4].rpartition("\n")[0] or outline[:200]
        text = _framed(body, f"{hint}\n{outline}\n…")
    return text


def loaded_block(
    entries: Mapping[str, SkillEntry],
    bodies: Mapping[str, Body],
    *,
    budget: int,
    counter: TokenCounter = count_tokens,
) -> str:
    """All loaded skills that fit the budget, in loading order, then a stub for each that left.

    The same entries and bodies give the same bytes in every process. Nothing is rendered when
    nothing is loaded.
    """
    decision = fit(entries, budget)
    parts = [
        skill_block(bodies[entry["digest"]], most_tokens=budget, counter=counter)
        for name, entry in active(entries).items()
        if name in decision.kept
    ]
    put_down = [name for name, e in entries.items() if e.get("gone") and e.get("why") == "budget"]
    put_down.sort(key=lambda name: -entries[name]["rev"])
    parts += [_stub(name) for name in sorted({*decision.evicted, *put_down[:MAX_STUBS]})]
    parts += [_drifted(name) for name, entry in active(entries).items() if entry.get("drifted")]
    return "\n".join(["<loaded_skills>", *parts, "</loaded_skills>"]) if parts else ""


def _framed(body: Body, text: str) -> str:
    files = [file.path for file in body.files if file.path != SKILL_FILE]
    listed = ", ".join(one_line(path) for path in files[:MAX_LISTED_FILES])
    more = f" and {len(files) - MAX_LISTED_FILES} more" if len(files) > MAX_LISTED_FILES else ""
    rest = (
        f'\nFiles, by read_skill_file("{one_line(body.name)}", path): {listed}{more}'
        if files
        else ""
    )
    return f'<skill name="{one_line(body.name)}">\n{text}{rest}\n</skill>'


def _stub(name: str) -> str:
    name = one_line(name)
    return (
        f'<skill_note>"{name}" was put down to make room; load_skill brings it back.</skill_note>'
    )


def _drifted(name: str) -> str:
    name = one_line(name)
    return (
        f'<skill_note>"{name}" has changed at its source since it was loaded; '
        "unload and load it to renew.</skill_note>"
    )

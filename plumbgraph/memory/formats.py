"""Memory as files that people and other tools read: Markdown rules, and chat exports in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from plumbgraph.errors import MemoryInvalid
from plumbgraph.memory.items import MemoryItem, MemorySearchItem
from plumbgraph.memory.recollection import shown

Format: TypeAlias = Literal["claude", "agents", "cursor", "chatgpt"]

FILES: dict[str, Format] = {
    "CLAUDE.md": "claude",
    "AGENTS.md": "agents",
    ".cursorrules": "cursor",
    "conversations.json": "chatgpt",
}
_TITLES: dict[str, str] = {"claude": "# Memory", "agents": "# Agent memory", "cursor": ""}
_HEADING = re.compile(r"^#{1,6}\s+(.*)$")
_BULLET = re.compile(r"^[-*+]\s+(.*)$")


@dataclass(frozen=True, slots=True)
class Note:
    """One remembered line of a file.

    Attributes:
        section: The heading it stood under; becomes the item's `kind`.
        group: The conversation it came from.
    """

    text: str
    section: str = ""
    group: str = ""
    said_by: str = ""
    at: datetime | None = None

    @property
    def key(self) -> str:
        """The same line always has the same key, so that a second import adds nothing."""
        told = f"{self.section}\0{self.group}\0{self.said_by}\0{self.text}"
        data = told.encode("utf-8", "surrogatepass")
        return f"note-{hashlib.sha256(data).hexdigest()[:16]}"

    @property
    def value(self) -> dict[str, Any]:
        """What is stored."""
        return {"said_by": self.said_by, "text": self.text} if self.said_by else {"text": self.text}


def read(text: str, how: Format) -> list[Note]:
    """The notes of a file.

    Raises:
        MemoryInvalid: A chat export that is no such JSON.
    """
    return _chats(text) if how == "chatgpt" else _markdown(text)


def _markdown(text: str) -> list[Note]:
    notes: list[Note] = []
    section, open_note, fence = "", "", False
    for line in [*text.splitlines(), ""]:
        fence ^= line.lstrip().startswith("```")
        heading, bullet = _HEADING.match(line), _BULLET.match(line)
        if open_note and (fence or (line[:1] in (" ", "\t") and line.strip())):
            open_note += "\n" + line.removeprefix("  ")
            continue
        if open_note:
            notes.append(Note(open_note.rstrip(), section))
            open_note = ""
        if heading and not fence:
            section = "" if line in _TITLES.values() else heading[1].strip()
        elif line.strip():
            open_note = bullet[1] if bullet else line
    return notes


def write(items: Iterable[MemoryItem | MemorySearchItem], how: Format) -> str:
    """The items as a file: pinned ones first, then by kind; reading it back gives the same lines.

    Raises:
        MemoryInvalid: A format that is only read.
    """
    if how == "chatgpt":
        raise MemoryInvalid("A chat export is only imported.")
    sections: dict[str, list[str]] = {}
    ordered = sorted(items, key=lambda i: (not i.marks.pinned, i.marks.kind, i.created_at, i.key))
    for item in ordered:
        if item.marks.status == "active":
            sections.setdefault(item.marks.kind, []).append(_bullet(item))
    blocks = [] if not _TITLES[how] else [_TITLES[how]]
    for section in sorted(sections):
        lines = "\n".join(f"- {line}" for line in dict.fromkeys(sections[section]))
        blocks.append(f"## {section}\n\n{lines}" if section else lines)
    return "\n\n".join(blocks) + "\n"


def _bullet(item: MemoryItem | MemorySearchItem) -> str:
    value = item.value
    text = value["text"] if set(value) == {"text"} else shown(item)
    return str(text).replace("\n", "\n  ")


def _chats(text: str) -> list[Note]:
    try:
        return [note for chat in json.loads(text) for note in _chat(chat)]
    except (
        *(ValueError, TypeError, KeyError, AttributeError),
        *(OverflowError, OSError, RecursionError),  # a time or a nesting beyond all bounds
    ) as error:
        raise MemoryInvalid(
            f"This is no ChatGPT export: {error}.", hint="Give its conversations.json."
        ) from error


def _chat(chat: dict[str, Any]) -> list[Note]:
    notes = []
    for node in chat["mapping"].values():
        message = node.get("message") or {}
        role = (message.get("author") or {}).get("role")
        parts = (message.get("content") or {}).get("parts") or []
        said = "\n".join(part for part in parts if isinstance(part, str)).strip()
        if role in {"user", "assistant"} and said:
            at = message.get("create_time")
            moment = datetime.fromtimestamp(at, tz=UTC) if at else None
            group = str(chat.get("title") or "")
            notes.append(Note(said, "message", group, "human" if role == "user" else "ai", moment))
    return sorted(notes, key=lambda note: note.at.timestamp() if note.at else 0.0)

"""deepagents' skill loader on the same folders, and what each side keeps in a checkpoint."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from plumbgraph.content.folder import FolderBlobs
from plumbgraph.skills.channel import merge_skills
from plumbgraph.skills.desk import SkillDesk
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.tokens import TokenCounter
from plumbgraph.skills.values import SkillRecord
from plumbgraph.testing import ScriptedChatModel, call


def middleware(folder: Path) -> Any:
    """deepagents' own middleware over a folder of skills."""
    from deepagents.backends import FilesystemBackend
    from deepagents.middleware.skills import SkillsMiddleware

    logging.getLogger("deepagents").setLevel(logging.CRITICAL)
    backend = FilesystemBackend(root_dir=str(folder), virtual_mode=True)
    return SkillsMiddleware(backend=backend, sources=["/"])


def load(folder: Path) -> dict[str, Any]:
    """What it puts into the state at the beginning of every thread."""
    update: dict[str, Any] = middleware(folder).before_agent({}, None, {})
    return update


@cache
def loaded_once(folder: Path) -> dict[str, Any]:
    """The same, for what is not timed."""
    return load(folder)


def prompt(folder: Path) -> str:
    """What it puts into every system prompt; one folder level is all it looks at."""
    own = middleware(folder)
    flat = [path for path in folder.iterdir() if (path / "SKILL.md").exists()]
    if not flat:
        records = SkillLibrary([folder], cache=None).report().loaded
        found: list[dict[str, Any]] = [_as_theirs(record) for record in records]
        return str(own._format_skills_list(found))  # noqa: SLF001 - the peer's own rendering
    return str(own._format_skills_list(loaded_once(folder)["skills_metadata"]))  # noqa: SLF001 - as above


def state_rows(folder: Path, work: Path, exact: TokenCounter | None) -> list[dict[str, Any]]:
    """Bytes in a checkpoint, and what load, unload and load again do to the prompt."""
    serde = JsonPlusSerializer()
    count = exact or (lambda text: len(text) // 4)
    library = SkillLibrary([folder], cache=work / "cache")
    desk = SkillDesk(library, blobs=FolderBlobs(work / "blobs", space="skills"))
    entries = dict(desk.begin({}, None, turn="1", query="debug").get("skills", {}))
    catalog = desk.begin({}, None, turn="1", query="debug")["skills_catalog"]
    name = library.search("debug a failing test")[0].name
    empty = desk.prompt(entries, catalog)
    loaded = merge_skills(entries, desk.load(entries, name).entries)
    put_down = merge_skills(loaded, desk.unload(loaded, name).entries)
    again = merge_skills(put_down, desk.load(put_down, name).entries)
    body = library.open(name).body[:200]
    theirs = serde.dumps_typed(loaded_once(folder)["skills_metadata"])[1]
    rows = {
        "bytes a loaded skill": (len(serde.dumps_typed(loaded)[1]), None),
        f"bytes of state at {len(library)} available": (
            len(serde.dumps_typed(loaded)[1]) + len(serde.dumps_typed(catalog)[1]),
            len(theirs),
        ),
        "copies after load, unload, load": (
            desk.prompt(again, catalog).count(body),
            copies_of_theirs(work / "theirs"),
        ),
        "tokens of the loaded body": (count(desk.prompt(loaded, catalog)) - count(empty), None),
        "tokens left after unload": (count(desk.prompt(put_down, catalog)) - count(empty), None),
    }
    return [{"figure": f, "ours": own, "deepagents": peer} for f, (own, peer) in rows.items()]


def copies_of_theirs(home: Path) -> int:
    """How often a body stands in its last prompt when the model loads the skill a second time."""
    from deepagents import create_deep_agent
    from deepagents.backends import FilesystemBackend

    line = "A line that stands nowhere else."
    (home / "skills" / "one").mkdir(parents=True)
    text = f"---\nname: one\ndescription: One skill.\n---\n{line}\n"
    (home / "skills" / "one" / "SKILL.md").write_text(text, encoding="utf-8")
    read = call("read_file", file_path="/skills/one/SKILL.md")
    model = ScriptedChatModel([read, read, "done"])
    backend = FilesystemBackend(root_dir=str(home), virtual_mode=True)
    agent: Any = create_deep_agent(model, skills=["/skills/"], backend=backend)
    agent.invoke({"messages": [("user", "Load it twice.")]})
    return sum(message.text.count(line) for message in model.calls[-1].messages)


def _as_theirs(record: SkillRecord) -> dict[str, Any]:
    """A record in the shape the peer renders."""
    return {
        "name": record.name,
        "description": record.description,
        "path": f"/{record.location}/SKILL.md",
        "allowed_tools": [],
        "metadata": {},
        "license": None,
        "compatibility": None,
    }

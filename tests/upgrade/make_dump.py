"""Make `first.sql`: the first released schema with rows of every kind, as that release wrote them.

Run once for a release, never again for the same one: `python tests/upgrade/make_dump.py URL
pg_dump tests/upgrade/first.sql`. The rows stand for what users' databases hold.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from langgraph.types import interrupt

from plumbgraph import Workspace, create_agent, effect
from plumbgraph.content import PostgresBlobs
from plumbgraph.state import PlumbSaver
from plumbgraph.testing import ScriptedChatModel, call

SCHEMA = "first"
SKILL = "---\nname: noting\ndescription: Take notes.\n---\n\nBe brief.\n"


def note(name: str, text: str) -> str:
    """Write a note."""
    (Workspace.current().folder / name).write_text(text)
    return "written"


@effect(idempotent=True)
def send(text: str) -> str:
    """Tell the others."""
    return f"told {text}"


def ask(what: str) -> str:
    """Ask a person."""
    return f"they say {interrupt(what)}"


def fill(saver: PlumbSaver, folder: Path) -> None:
    """Two threads: one finished, with files, an effect and a skill; one that waits for a person."""
    skill = folder / "skills" / "noting" / "SKILL.md"
    skill.parent.mkdir(parents=True)
    skill.write_text(SKILL)
    desk = Workspace(folder / "desk", blobs=PostgresBlobs(saver.database))
    script: Any = [
        [call("load_skill", name="noting"), call("note", name="a.txt", text="one")],
        [call("note", name="a.txt", text="two"), call("send", text="hello")],
        "done",
        "still here",
    ]
    parts: Any = {"workspace": desk, "skills": str(folder / "skills"), "checkpointer": saver}
    agent = create_agent(ScriptedChatModel(script), [note, send], **parts)
    config: Any = {"configurable": {"thread_id": "finished"}}
    for text in ("Take notes.", "Are you there?"):
        agent.invoke({"messages": [("user", text)]}, config, durability="sync")
    asking = create_agent(ScriptedChatModel([call("ask", what="red?")]), [ask], checkpointer=saver)
    waiting: Any = {"configurable": {"thread_id": "waiting"}}
    asking.invoke({"messages": [("user", "Ask.")]}, waiting, durability="sync")


def main(url: str, pg_dump: str, target: Path) -> None:
    """Fill the schema, and write it down without what only newer servers understand."""
    with PlumbSaver(url, schema=SCHEMA) as saver, tempfile.TemporaryDirectory() as folder:
        fill(saver, Path(folder))
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments", f"--schema={SCHEMA}"]
    done = subprocess.run([pg_dump, *options, url], capture_output=True, text=True, check=True)
    kept = [line for line in done.stdout.splitlines() if not re.match(r"\\|SET |--|$", line)]
    target.write_text("\n".join(line for line in kept if "set_config" not in line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

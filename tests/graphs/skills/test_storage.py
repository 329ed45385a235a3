"""Where catalogs and loaded skills are kept, and what becomes of a thread when they are gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

import plumbgraph
from plumbgraph.agents.skills import SkillNode
from plumbgraph.content.digest import digest_of
from plumbgraph.content.folder import FolderBlobs
from plumbgraph.content.postgres import PostgresBlobs
from plumbgraph.errors import BlobMissing
from plumbgraph.skills.desk import Rules, SkillDesk
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.state import PlumbSaver
from plumbgraph.testing.script import call
from plumbgraph.testing.scripted import ScriptedChatModel

WORDS = ("pdf", "chart", "mail", "query", "trace", "poster", "budget", "survey")


def stored(blobs: FolderBlobs) -> int:
    return sum(1 for _ in blobs._blobs())


def test_stored_catalogs_grow_with_the_library_and_not_with_the_turns(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs
) -> None:
    for number in range(64):
        first, second = WORDS[number % 8], WORDS[number // 8]
        make_skill(f"{first}-{second}", f"Makes a {first} of a {second}.")
    desk = SkillDesk(library, blobs=blobs)
    texts: set[str] = set()
    for thread in range(8):
        catalog = None
        for turn, word in enumerate(WORDS):
            update = desk.begin(
                {}, catalog, turn=str(turn), query=f"{word} for a {WORDS[(turn + thread) % 8]}"
            )
            catalog = update["skills_catalog"]
            texts.add(desk.prompt({}, catalog))
    assert len(texts) > 40
    assert stored(blobs) <= 64 + 1


def test_another_process_renders_the_same_catalog(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs, tmp_path: Path
) -> None:
    for word in WORDS:
        make_skill(word)
    desk = SkillDesk(library, blobs=blobs)
    catalog = desk.begin({}, None, turn="1", query="a chart")["skills_catalog"]
    shutil.rmtree(tmp_path / "skills")
    other = SkillDesk(
        SkillLibrary(tmp_path, cache=None), blobs=FolderBlobs(blobs.root.parents[1], space="skills")
    )
    assert other.prompt({}, catalog) == desk.prompt({}, catalog)
    assert "- chart: Does chart" in desk.prompt({}, catalog)


def test_a_catalog_of_the_first_version_is_rendered(
    library: SkillLibrary, blobs: FolderBlobs
) -> None:
    text = "<available_skills>\n- one: Does one\n</available_skills>"
    digest = digest_of(text.encode())
    blobs.put_many({digest: text.encode()})
    desk = SkillDesk(library, blobs=blobs)
    assert desk.prompt({}, {"turn": "1", "digest": digest, "shown": ["one"]}) == text


def test_a_lost_copy_is_taken_from_the_source_while_it_holds_the_same(
    make_skill: Any, library: SkillLibrary, blobs: FolderBlobs, tmp_path: Path
) -> None:
    make_skill("pdf", body="PDF body")
    entries = SkillDesk(library, blobs=blobs).load({}, "pdf").entries
    elsewhere = SkillDesk(library, blobs=FolderBlobs(tmp_path / "other", space="skills"))
    assert "PDF body" in elsewhere.prompt(entries, None)
    make_skill("pdf", body="Another body")
    library.refresh()
    third = SkillDesk(library, blobs=FolderBlobs(tmp_path / "third", space="skills"))
    with pytest.raises(BlobMissing):
        third.prompt(entries, None)


def test_a_node_with_rules_keeps_its_skills_beside_the_checkpoints(
    make_skill: Any, library: SkillLibrary, postgres_url: str, schema: str, tmp_path: Path
) -> None:
    make_skill("pdf", body="PDF body")
    own = FolderBlobs(tmp_path / "own", space="skills")
    for thread, blobs in (("one", None), ("two", own)):
        node = SkillNode(library, rules=Rules(drift="warn"), blobs=blobs)
        model = ScriptedChatModel([call("load_skill", name="pdf"), "done"])
        with PlumbSaver(postgres_url, schema=schema) as saver:
            agent = plumbgraph.create_agent(model, skills=node, checkpointer=saver)
            config: Any = {"configurable": {"thread_id": thread}}
            done = agent.invoke({"messages": [HumanMessage("go")]}, config)
            digest = done["skills"]["pdf"]["digest"]
            shared = PostgresBlobs(saver._core.db, space="skills")
            assert bool(shared.missing([digest])) == (blobs is not None)
            shared.delete_many([digest])
    assert not own.missing([digest])

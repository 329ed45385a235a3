"""The shared skill registry on a real six-node cluster: one slot a registry, a primary lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from plumbgraph.errors import StoreUnavailable, VersionConflict
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.registry import RegistrySource, SkillRegistry
from plumbgraph.testing.cluster import SLOTS, ValkeyCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.fixture
def skills(tmp_path: Path) -> SkillLibrary:
    for name in ("pdf", "xlsx"):
        folder = tmp_path / "skills" / name / "references"
        folder.mkdir(parents=True)
        (folder / "more.md").write_text(f"more of {name}")
        text = f"---\nname: {name}\ndescription: Reads {name} files.\n---\nThe first {name}.\n"
        (folder.parent / "SKILL.md").write_text(text)
    return SkillLibrary([tmp_path / "skills"], cache=None)


@pytest.fixture
def cluster(tmp_path: Path) -> ValkeyCluster:
    (tmp_path / "nodes").mkdir()
    return ValkeyCluster(tmp_path / "nodes", append=True)


def test_a_registry_works_on_a_cluster_and_outlives_its_primary(
    cluster: ValkeyCluster, skills: SkillLibrary, tmp_path: Path
) -> None:
    with cluster:
        registries = {name: SkillRegistry(cluster.url, registry=name) for name in ("a", "b", "c")}
        slots = {key_slot(registry.keys.base.encode()) for registry in registries.values()}
        assert len({_owner(slot) for slot in slots}) > 1
        for registry in registries.values():
            first = registry.publish(skills.open("pdf"), expected="-")
            registry.publish(skills.open("xlsx"))
        source = RegistrySource(cluster.url, registry="a", last_good=tmp_path / "good.json")
        reader = SkillLibrary([source], cache=None)
        assert [record.name for record in reader.report().loaded] == ["pdf", "xlsx"]
        assert reader.open("pdf").digest == first

        (tmp_path / "skills" / "pdf" / "SKILL.md").write_text(
            "---\nname: pdf\ndescription: Reads pdf files.\n---\nThe second.\n"
        )
        second = registries["a"].publish(skills.open("pdf"), expected=first)
        assert source.wait(5)
        reader.refresh()
        assert reader.open("pdf").body == "The second."
        with pytest.raises(VersionConflict):
            registries["a"].publish(skills.open("xlsx"), expected=second)
        assert registries["a"].move("pdf", first)
        assert registries["a"].current("pdf") == first
        assert registries["b"].withdraw("pdf")

        time.sleep(1)  # replication is asynchronous
        lost = cluster.processes[cluster.primary_of(key_slot(source.keys.base.encode()))]
        lost.kill()
        lost.wait()
        during = reader.refresh()
        assert [record.name for record in during.loaded] == ["pdf", "xlsx"]
        _until_answered(reader)
        assert reader.open("pdf").digest == first
        assert [digest for digest, _ in _again(registries["a"])] == [first, second]
        assert registries["a"].move("pdf", second)
        reader.refresh()
        assert reader.open("pdf").body == "The second."


def _owner(slot: int) -> int:
    return next(n for n, (first, last) in enumerate(SLOTS) if first <= slot <= last)


def _until_answered(reader: SkillLibrary) -> None:
    for _ in range(100):
        if not reader.refresh().notices:
            return
        time.sleep(0.3)
    pytest.fail("No replica took over.")


def _again(registry: SkillRegistry) -> list[tuple[str, dict[str, Any]]]:
    """A client that was idle meanwhile meets the lost server once; the call may be retried."""
    for _ in range(20):
        try:
            return registry.versions("pdf")
        except StoreUnavailable:
            time.sleep(0.3)
    pytest.fail("The client never found the new primary.")

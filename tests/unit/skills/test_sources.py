"""Git commits, installed packages and the shared registry as sources."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plumbgraph.errors import SettingsError, SkillInvalid, SkillNotFound, VersionConflict
from plumbgraph.redis.clients import Command, Redis
from plumbgraph.skills import registry_plans
from plumbgraph.skills.library import SkillLibrary
from plumbgraph.skills.registry import RegistrySource, SkillRegistry
from plumbgraph.skills.sources.address import source_of
from plumbgraph.skills.sources.git import GitSource
from plumbgraph.skills.sources.packages import PackageSource, entry_point_sources

Write = Callable[..., Path]


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, check=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(root: Path, write_skill: Write) -> Path:
    write_skill("group/pdf", "name: pdf\ndescription: first", "ONE")
    folder = write_skill("git-skill")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "run.py").write_text("print(1)")
    (folder / "link").symlink_to("/etc/passwd")
    (root / "linked").mkdir()
    (root / "linked" / "SKILL.md").symlink_to("../git-skill/SKILL.md")
    write_skill("bad", "name: bad")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_git_reads_a_commit_and_not_the_tree(clone: Path, write_skill: Write) -> None:
    first = git(clone, "rev-parse", "HEAD")
    write_skill("group/pdf", "name: pdf\ndescription: second", "TWO")
    pinned, branch = (
        GitSource(clone, first, label="pinned"),
        GitSource(clone, "main", label="branch"),
    )
    library = SkillLibrary([pinned, branch], cache=None)
    assert library.open("pdf").body == "ONE"
    git(clone, "commit", "-q", "-a", "-m", "two")
    library.refresh()
    assert library.open("pinned/pdf").body == "ONE"
    assert library.open("branch/pdf").body == "TWO"
    assert {r.code for r in pinned.scan().rejected} == {
        "skills.symlink",
        "skills.description_missing",
    }
    assert {f.path for f in library.open("git-skill").files} == {"SKILL.md", "scripts/run.py"}


def test_git_agrees_with_the_folder(clone: Path) -> None:
    (clone / "git-skill" / "link").unlink()
    git(clone, "commit", "-q", "-a", "-m", "no link")
    here, there = SkillLibrary([clone], cache=None), SkillLibrary([GitSource(clone)], cache=None)
    for name in ("pdf", "git-skill"):
        assert here.open(name).digest == there.open(name).digest
    assert here.search("pdf")[0].name == there.search("pdf")[0].name


@pytest.mark.parametrize("ref", ["--help", "nowhere", "main:group"])
def test_git_refuses_odd_references(ref: str, clone: Path) -> None:
    scan = GitSource(clone, ref).scan()
    assert scan.records == ()
    assert scan.notices[0].code == "skills.git"


def test_git_without_a_clone_is_a_notice(tmp_path: Path) -> None:
    assert SkillLibrary([GitSource(tmp_path / "no")], cache=None).report().notices


def test_package_data_and_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "plumb_test_pack"
    (package / "skills" / "packed").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('code must not run')")
    (package / "skills" / "packed" / "SKILL.md").write_text(
        "---\nname: packed\ndescription: d\n---\nfrom a package"
    )
    info = tmp_path / "plumb_test_pack-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plumb-test-pack\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[plumbgraph.skills]\npacked = plumb_test_pack\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sources = [s for s in entry_point_sources() if s.label == "packed"]
    for source in (PackageSource("plumb_test_pack"), *sources):
        assert SkillLibrary([source], cache=None).open("packed").body == "from a package"
    assert len(sources) == 1
    assert "plumb_test_pack" not in sys.modules
    missing = PackageSource("plumb_no_such_pack").scan()
    assert missing.notices[0].code == "skills.no_package"


def test_addresses(tmp_path: Path) -> None:
    assert source_of(str(tmp_path)).label == tmp_path.name
    found = source_of(f"git+{tmp_path}@v1.0#skills")
    assert isinstance(found, GitSource)
    assert (found.root, found.ref, found.folder) == (tmp_path, "v1.0", "skills")
    assert isinstance(source_of("package:os/skills"), PackageSource)
    registry = source_of("redis://localhost:1/0#team@stable")
    assert isinstance(registry, RegistrySource)
    assert (registry.keys.registry, registry.tag) == ("team", "stable")


@pytest.fixture
def skills(root: Path, write_skill: Write) -> SkillLibrary:
    folder = write_skill("pdf", "name: pdf\ndescription: first\nmetadata:\n  version: '1'", "ONE")
    (folder / "references").mkdir()
    (folder / "references" / "a.md").write_text("text")
    write_skill("other")
    return SkillLibrary([root], cache=None)


def test_registry_publish_move_withdraw(
    redis_url: str, skills: SkillLibrary, write_skill: Write
) -> None:
    registry = SkillRegistry(redis_url)
    source = RegistrySource(redis_url)
    reader = SkillLibrary([source], cache=None)
    assert reader.report().on_disk == 0
    first = registry.publish(skills.open("pdf"), expected="-")
    assert reader.refresh().on_disk == 1
    opened = reader.open("pdf")
    assert (opened.digest, opened.body) == (first, "ONE")
    assert {f.path for f in opened.files} == {"SKILL.md", "references/a.md"}
    write_skill("pdf", "name: pdf\ndescription: second", "TWO")
    second = registry.publish(skills.open("pdf"), expected=first)
    reader.refresh()
    assert reader.open("pdf").body == "TWO"
    assert [digest for digest, _ in registry.versions("pdf")] == [first, second]
    assert registry.versions("pdf")[0][1]["version"] == "1"
    assert registry.move("pdf", first)
    assert not registry.move("pdf", first)
    reader.refresh()
    assert reader.open("pdf").body == "ONE"
    with pytest.raises(SkillNotFound):
        registry.move("pdf", "f" * 64)
    with pytest.raises(SkillNotFound):
        registry.move("other", first)
    with pytest.raises(VersionConflict) as caught:
        registry.publish(skills.open("pdf"), expected=second)
    assert caught.value.found == first
    assert registry.withdraw("pdf")
    assert not registry.withdraw("pdf")
    assert reader.refresh().on_disk == 0


def test_registry_tags_are_independent(redis_url: str, skills: SkillLibrary) -> None:
    registry = SkillRegistry(redis_url)
    registry.publish(skills.open("pdf"), tag="staging")
    assert SkillLibrary([RegistrySource(redis_url)], cache=None).report().on_disk == 0
    assert (
        SkillLibrary([RegistrySource(redis_url, tag="staging")], cache=None).report().on_disk == 1
    )
    assert (
        SkillLibrary([RegistrySource(redis_url, registry="b", tag="staging")], cache=None)
        .report()
        .on_disk
        == 0
    )
    for bad in ("", "a b", "x" * 65, "a:b"):
        with pytest.raises(SettingsError):
            registry.publish(skills.open("pdf"), tag=bad)
        with pytest.raises(SettingsError):
            SkillRegistry(redis_url, registry=bad)


async def test_registry_async(redis_url: str, skills: SkillLibrary) -> None:
    registry = SkillRegistry(redis_url)
    skill = await skills.aopen("pdf")
    digest = await registry.apublish(skill)
    assert [d for d, _ in await registry.aversions("pdf")] == [digest]
    assert not await registry.amove("pdf", digest)
    assert await registry.awithdraw("pdf")
    await registry.redis.aclose()


def test_an_unchanged_registry_costs_one_round_trip(redis_url: str, skills: SkillLibrary) -> None:
    SkillRegistry(redis_url).publish(skills.open("pdf"))
    redis = Counting(redis_url)
    source = RegistrySource(redis)
    source.scan()
    redis.batches = 0
    source.scan()
    assert redis.batches == 1


class Counting(Redis):
    """Counts round trips; can be cut off."""

    batches = 0
    down = False

    def send(self, batch: tuple[Command, ...]) -> list[object]:
        from plumbgraph.errors import StoreUnavailable

        if self.down:
            raise StoreUnavailable("No connection.")
        self.batches += 1
        return super().send(batch)


def test_a_registry_that_is_down_serves_the_last_good_copy(
    redis_url: str, skills: SkillLibrary, tmp_path: Path
) -> None:
    SkillRegistry(redis_url).publish(skills.open("pdf"))
    redis, file = Counting(redis_url), tmp_path / "good.json"
    library = SkillLibrary([RegistrySource(redis, last_good=file)], cache=None)
    library.open("pdf")
    redis.down = True
    for reader in (library, SkillLibrary([RegistrySource(redis, last_good=file)], cache=None)):
        report = reader.refresh()
        assert [r.name for r in report.loaded] == ["pdf"]
        assert report.notices[0].code == "skills.registry_unavailable"
        assert reader.search("pdf")[0].name == "pdf"
    assert library.open("pdf").body == "ONE"
    redis.down = False
    assert library.refresh().notices == ()
    cold = SkillLibrary([RegistrySource("redis://127.0.0.1:1/0")], cache=None).report()
    assert cold.notices[0].code == "skills.registry_unavailable"


def test_a_skill_never_opened_loads_while_the_registry_is_down(
    redis_url: str, skills: SkillLibrary, tmp_path: Path
) -> None:
    SkillRegistry(redis_url).publish(skills.open("pdf"))
    redis, file = Counting(redis_url), tmp_path / "good.json"
    library = SkillLibrary([RegistrySource(redis, last_good=file)], cache=None)
    little = SkillLibrary([RegistrySource(redis, keep_bytes=3)], cache=None)
    assert library.report().on_disk == little.report().on_disk == 1
    redis.down = True
    later = SkillLibrary([RegistrySource(redis, last_good=file)], cache=None)
    for reader in (library, later):
        reader.refresh()
        assert reader.open("pdf").contents["references/a.md"] == b"text"
    with pytest.raises(SkillInvalid) as refused:
        little.open("pdf")
    assert refused.value.reason == "skills.registry_unavailable"


def test_a_last_good_copy_that_cannot_be_kept_is_a_notice(
    redis_url: str, skills: SkillLibrary, tmp_path: Path
) -> None:
    SkillRegistry(redis_url).publish(skills.open("pdf"))
    (tmp_path / "file").write_text("no folder")
    source = RegistrySource(redis_url, last_good=tmp_path / "file" / "good.json")
    report = SkillLibrary([source], cache=None).report()
    assert [record.name for record in report.loaded] == ["pdf"]
    assert [notice.code for notice in report.notices] == ["skills.cache_unwritable"]


def test_tampered_content_is_refused(redis_url: str, skills: SkillLibrary) -> None:
    registry = SkillRegistry(redis_url)
    skill = skills.open("pdf")
    registry.publish(skill)
    reference = next(f for f in skill.files if f.path == "references/a.md")
    registry.redis.send((Command("SET", registry.keys.blob(reference.digest), b"evil"),))
    reader = SkillLibrary([RegistrySource(redis_url)], cache=None)
    assert "pdf" in reader
    with pytest.raises(SkillInvalid) as caught:
        reader.open("pdf")
    assert "another digest" in str(caught.value)


def test_one_tampered_skill_hides_no_other(redis_url: str, skills: SkillLibrary) -> None:
    registry = SkillRegistry(redis_url)
    for name in ("pdf", "other"):
        registry.publish(skills.open(name))
    bad = skills.open("pdf")
    main = next(f for f in bad.files if f.path == "SKILL.md")
    registry.redis.send((Command("SET", registry.keys.blob(main.digest), b"evil"),))
    report = SkillLibrary(RegistrySource(redis_url), cache=None).report()
    assert [r.name for r in report.loaded] == ["other"]
    assert [r.code for r in report.rejected] == ["skills.tampered"]
    registry.redis.send((Command("SET", registry.keys.log, "not a stream"),))
    broken = SkillLibrary(RegistrySource(redis_url), cache=None).report()
    assert broken.notices[0].code == "skills.registry_unavailable"


def test_a_publish_without_content_is_refused(redis_url: str) -> None:
    from redis.exceptions import ResponseError

    from plumbgraph.redis.library import Call, library

    keys = registry_plans.Keys("default")
    call = Call("publish", keys.of("x", "latest", "a" * 64), ("x", "latest", "a" * 64, "{}", ""))
    (reply,) = Redis(redis_url).run(library("skills").calls([call]))
    assert isinstance(reply, ResponseError)
    assert "SKILLINCOMPLETE" in str(reply)


def test_wait_wakes_up_on_a_publish(redis_url: str, skills: SkillLibrary) -> None:
    import threading

    source = RegistrySource(redis_url)
    source.scan()
    assert not source.wait(0.05)
    skill = skills.open("pdf")
    timer = threading.Timer(0.1, lambda: SkillRegistry(redis_url).publish(skill))
    timer.start()
    assert source.wait(5)
    timer.join()
    assert [r.name for r in source.scan().records] == ["pdf"]

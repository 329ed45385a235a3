"""Two tenants on the same servers: nothing of the other is seen, counted, changed or removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from plumbgraph import Budget, Fact, MemoryStore, PlumbSaver, SkillLibrary, Workspace, effect
from plumbgraph.agents.effects import journal_for
from plumbgraph.agents.workspace import SaverThreads
from plumbgraph.content import PostgresBlobs
from plumbgraph.errors import BlobMissing, PlumbError, SettingsError, SkillNotFound, ThreadNotFound
from plumbgraph.routing import Limit, Payer
from plumbgraph.routing.budget import periods
from plumbgraph.skills.registry import RegistrySource, SkillRegistry
from plumbgraph.state.recovery import RecoveryRules
from plumbgraph.state.retention import Retention

NS = ("users", "ann")
ADA: Any = {"configurable": {"thread_id": "ada", "user_id": "ann"}}


def graph_of(saver: PlumbSaver, text: str = "hello") -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda _: {"messages": [("ai", text)]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


@pytest.fixture
def savers(postgres_url: str, schema: str) -> Iterator[tuple[PlumbSaver, PlumbSaver]]:
    """The savers of `red` and `blue`; red has a thread with a run, an accepted one and metadata."""
    red = PlumbSaver(postgres_url, schema=schema, tenant="red", adopt="off")
    blue = PlumbSaver(postgres_url, schema=schema, tenant="blue", adopt="off")
    with red, blue:
        told: Any = {**ADA, "metadata": {"secret": "of red"}}
        graph_of(red, "red secret").invoke({"messages": ["hi"]}, told)
        red.accept("waiting", {"messages": ["later"]})
        yield red, blue


def seen(saver: PlumbSaver) -> list[Any]:
    """Every read of a saver, about the thread of the other."""
    config = graph_of(saver).get_state(ADA).config
    return [
        *saver.threads(),
        *saver.list(None),
        *saver.list(ADA),
        *saver.list(None, filter={"secret": "of red"}),
        *filter(None, [saver.get_tuple(ADA), config["configurable"].get("checkpoint_id")]),
        *saver.size().threads,
        *saver.recover(lambda: graph_of(saver), RecoveryRules(grace_s=0, idle_s=0)),
        *saver.sweep(dry_run=True).threads_removed,
    ]


def test_a_saver_sees_nothing_of_another_tenant(savers: tuple[PlumbSaver, PlumbSaver]) -> None:
    red, blue = savers
    assert seen(blue) == []
    for ask in (
        blue.run_status,
        lambda t: blue.copy_thread(t, "mine"),
        lambda t: blue.retain(t, None),
    ):
        with pytest.raises(ThreadNotFound):
            ask("ada")
    newest = red.get_tuple(ADA)
    assert newest is not None
    by_id: Any = {"configurable": {**newest.config["configurable"]}}
    assert blue.get_tuple(by_id) is None
    assert (
        blue.get_delta_channel_history(config=by_id, channels=["messages"]).get(
            "messages", {"writes": []}
        )["writes"]
        == []
    )


def test_a_saver_removes_and_claims_nothing_of_another_tenant(
    savers: tuple[PlumbSaver, PlumbSaver],
) -> None:
    red, blue = savers
    before = list(red.list(ADA))
    run_ids = [str(each.metadata.get("run_id")) for each in before]
    with red.claim("ada"), blue.claim("ada"):
        pass  # two threads of one name: neither waits for the other
    blue.delete_thread("ada")
    blue.delete_for_runs(run_ids)
    blue.prune(["ada"], strategy="delete")
    blue.unpark("waiting")
    hungry = PlumbSaver(blue._core.db, tenant="blue", retention=Retention(ttl_s=0.001, keep_last=1))
    hungry.sweep()
    red.forget()
    assert [each.config for each in red.list(ADA)] == [each.config for each in before]
    assert red.run_status("waiting").state in {"crashed", "runnable"}


def test_equal_thread_names_are_two_threads(savers: tuple[PlumbSaver, PlumbSaver]) -> None:
    red, blue = savers
    graph_of(blue, "blue").invoke({"messages": ["hi"]}, ADA)
    texts = [
        [message.content for message in graph_of(each).get_state(ADA).values["messages"]]
        for each in (red, blue)
    ]
    assert texts == [["hi", "red secret"], ["hi", "blue"]]


def test_a_function_of_the_config_keeps_tenants_apart_in_one_saver(
    postgres_url: str, schema: str
) -> None:
    def whose(config: Any) -> str:
        return str(config["configurable"]["tenant"])

    with PlumbSaver(postgres_url, schema=schema, tenant=whose, adopt="off") as saver:
        configs: list[Any] = [
            {"configurable": {"thread_id": "ada", "tenant": name}} for name in ("red", "blue")
        ]
        graph_of(saver, "red").invoke({"messages": ["hi"]}, configs[0])
        assert saver.get_tuple(configs[1]) is None
        assert list(saver.list(configs[1])) == []


@pytest.fixture
def stores(redis_url: str) -> Iterator[tuple[MemoryStore, MemoryStore]]:
    with MemoryStore(redis_url, tenant="red") as red, MemoryStore(redis_url, tenant="blue") as blue:
        red.put(NS, "plan", {"text": "the secret plan of red"})
        red.remember(NS, Fact("Ann", "home_city", "Turin"))
        yield red, blue


def test_a_store_sees_nothing_of_another_tenant(stores: tuple[MemoryStore, MemoryStore]) -> None:
    _, blue = stores
    reads: dict[str, Callable[[], Any]] = {
        "get": lambda: blue.get(NS, "plan"),
        "get as of": lambda: blue.get(NS, "plan", as_of=1),
        "search": lambda: blue.search(()),
        "search by words": lambda: blue.search(NS, query="secret plan"),
        "recall": lambda: list(blue.recall(NS, "secret plan")),
        "facts": lambda: blue.facts(NS),
        "history": lambda: blue.history(NS, "plan"),
        "conflicts": lambda: blue.conflicts(NS),
        "quarantined": lambda: blue.quarantined(NS),
        "namespaces": blue.list_namespaces,
        "changes": lambda: blue.changes(NS)[0],
        "export": blue.export,
        "erasures": blue.erasures,
        "erase, looking": lambda: blue.erase("Ann", dry_run=True).items,
        "sleep": lambda: blue.sleep(NS).actions,
    }
    assert {name: found for name, read in reads.items() if (found := read())} == {}


def test_a_store_changes_nothing_of_another_tenant(
    stores: tuple[MemoryStore, MemoryStore],
) -> None:
    red, blue = stores
    before = red.export()
    lines = red.export()
    blue.delete(NS, "plan")
    blue.erase("Ann")
    blue.sweep()
    blue.sleep(NS)
    assert blue.import_lines(lines) == len(lines)
    blue.delete(NS, "plan")
    blue.forget(NS, Fact("Ann", "home_city", "Turin"))
    assert red.export() == before


def test_names_of_tenants_cannot_reach_into_each_other(redis_url: str) -> None:
    for name in ("a}", "{a", "a}:i:{b", "a\0b", ""):
        with pytest.raises(SettingsError):
            MemoryStore(redis_url, tenant=name).put(NS, "k", {"x": 1})
        with pytest.raises(PlumbError):
            Budget([Limit("tenant", 1.0)], redis=redis_url, tenant=name).balances()
    with (
        MemoryStore(redis_url, tenant="a", shard_by="namespace_root") as rooted,
        MemoryStore(redis_url, tenant="a:users") as other,
    ):
        rooted.put(NS, "k", {"x": 1})
        assert other.search(()) == []
        assert other.export() == []


def test_budgets_are_apart(redis_url: str) -> None:
    limits = [Limit("tenant", 1.0), Limit("thread", 1.0)]
    with_red = Budget(limits, redis=redis_url, tenant="red")
    with_blue = Budget(limits, redis=redis_url, tenant="blue")
    try:
        spend(with_red)
        assert [each.spent_nano for each in with_red.balances(Payer(thread="t"))] != [0, 0]
        assert [each.spent_nano for each in with_blue.balances(Payer(thread="t"))] == [0, 0]
        assert with_blue.doubts() == []
        month = periods(1.8e9)[0]
        assert with_blue.charges(month) == []
    finally:
        with_red.close()
        with_blue.close()


def spend(budget: Budget) -> None:
    """One paid call of the thread `t`."""
    from plumbgraph import CostRouter, ModelCard
    from plumbgraph.agents.routing import RouterNode
    from plumbgraph.routing import Price
    from plumbgraph.testing import ScriptedChatModel

    model = ScriptedChatModel(["hello"], model_name="m")
    router = CostRouter([ModelCard(model=model, price=Price.per_mtok(9, 9))], budget=budget)
    node = RouterNode(router)
    from plumbgraph import create_agent

    agent: Any = create_agent(node)
    agent.invoke({"messages": ["hi"]}, {"configurable": {"thread_id": "t"}})


def test_registries_are_apart(redis_url: str, tmp_path: Path) -> None:
    place = tmp_path / "pdf"
    place.mkdir()
    (place / "SKILL.md").write_text("---\nname: pdf\ndescription: Read PDFs.\n---\nSecret.\n")
    red, blue = (SkillRegistry(redis_url, registry=name) for name in ("red", "blue"))
    digest = red.publish(SkillLibrary([tmp_path]).open("pdf"))
    assert blue.versions("pdf") == []
    assert not blue.withdraw("pdf")
    with pytest.raises((SkillNotFound, PlumbError)):
        blue.move("pdf", digest)
    library = SkillLibrary([RegistrySource(redis_url, registry="blue")])
    assert library.report().on_disk == 0
    assert SkillLibrary([RegistrySource(redis_url, registry="red")]).open("pdf").name == "pdf"
    for name in ("a}", "a{", "a:b", "a b", ""):
        with pytest.raises(SettingsError):
            SkillRegistry(redis_url, registry=name)


def test_contents_are_apart_even_for_those_who_know_a_digest(
    savers: tuple[PlumbSaver, PlumbSaver], tmp_path: Path
) -> None:
    red, blue = savers
    desks = [
        Workspace(tmp_path / name, blobs=PostgresBlobs(saver._core.db, tenant=name))
        for name, saver in (("red", red), ("blue", blue))
    ]
    desks[0].folder.mkdir()
    (desks[0].folder / "plan.txt").write_text("the secret plan of red")
    digest = desks[0].snapshot().digest
    for ask in (
        lambda: desks[1].read(digest, "plan.txt"),
        lambda: desks[1].restore(digest),
        lambda: desks[1].entries(digest),
        lambda: desks[1].export(digest, tmp_path / "out"),
    ):
        with pytest.raises(BlobMissing):
            ask()
    desks[1].gc(SaverThreads(blue), grace_s=120)
    assert desks[0].read(digest, "plan.txt") == b"the secret plan of red"


def test_journals_are_apart(savers: tuple[PlumbSaver, PlumbSaver]) -> None:
    done: list[str] = []
    for saver, name in zip(savers, ("red", "blue"), strict=True):
        journal = journal_for(saver, tenant=name)

        def node(_: Any, journal: Any = journal, name: str = name) -> Any:
            @effect
            def send() -> None:
                """Send."""
                done.append(name)

            journal.call(send)
            return {"messages": [("ai", "sent")]}

        acts: Any = node
        builder = StateGraph(MessagesState).add_node("n", acts).add_edge(START, "n")
        config: Any = {"configurable": {"thread_id": "same"}}
        graph: Any = builder.compile(checkpointer=saver)
        graph.invoke({"messages": ["x"]}, config)
        journal.forget(["other"])
    assert done == ["red", "blue"]

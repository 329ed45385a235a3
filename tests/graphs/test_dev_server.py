"""What Studio and the SDK do, on a real `langgraph dev` with our saver and store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.errors import NotFoundError

pytestmark = [pytest.mark.xdist_group("dev-server"), pytest.mark.timeout(240)]

TASK = {"messages": [{"role": "user", "content": "Read the reports, take notes, write report.md."}]}


class Server(Protocol):
    """What these tests use of the fixture."""

    folder: Path
    environment: dict[str, str]
    url: str

    @property
    def log(self) -> str: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


@pytest.fixture
def client(dev_server: Server) -> Iterator[Any]:
    with get_sync_client(url=dev_server.url, timeout=60) as client:
        yield client


def new_thread(client: Any) -> str:
    return str(client.threads.create()["thread_id"])


def test_every_graph_is_there_with_its_description(client: Any) -> None:
    found = {each["graph_id"]: each for each in client.assistants.search()}
    assert set(found) >= {"assistant", "asking", "slow"}
    assert "files of one folder" in found["assistant"]["description"]


SHIPPED = ("assistant", "sleep", "router_lab", "skill_author")


@pytest.mark.parametrize("graph", [*SHIPPED, "asking", "slow"])
def test_studio_gets_a_drawing_and_an_input_form(client: Any, graph: str) -> None:
    assistant = client.assistants.search(graph_id=graph)[0]["assistant_id"]
    drawn = client.assistants.get_graph(assistant, xray=True)
    assert len(drawn["nodes"]) >= 3
    assert drawn["edges"]
    schemas = client.assistants.get_schemas(assistant)
    for kind in ("input_schema", "output_schema", "state_schema"):
        assert schemas[kind]["properties"], kind
    assert isinstance(client.assistants.get_subgraphs(assistant), dict)
    if graph in SHIPPED:
        nodes = {node["id"] for node in drawn["nodes"]}
        own = nodes - {"__start__", "__end__"}
        told = {n["id"]: (n.get("metadata") or {}).get("description") for n in drawn["nodes"]}
        assert all(told[name] for name in own), told
        context = schemas["context_schema"]
        for field in ((context or {}).get("properties") or {}).values():
            assert field["description"]
            assert set(field.get("langgraph_nodes") or ()) <= nodes


def test_studio_gets_the_assistants_settings(client: Any) -> None:
    assistant = client.assistants.search(graph_id="assistant")[0]["assistant_id"]
    schemas = client.assistants.get_schemas(assistant)
    fields = schemas["context_schema"]["properties"]
    assert fields["system"]["langgraph_type"] == "prompt"
    assert fields["model"]["langgraph_nodes"] == ["model"]
    drawn = client.assistants.get_graph(assistant)
    assert {"model", "tools"} <= {node["id"] for node in drawn["nodes"]}


def test_the_assistant_streams_and_writes_its_report(client: Any, dev_server: Server) -> None:
    thread = new_thread(client)
    modes = ["messages-tuple", "updates"]
    events = list(client.runs.stream(thread, "assistant", input=TASK, stream_mode=modes))
    assert {event.event for event in events} >= {"messages", "updates"}
    assert not [event.data for event in events if event.event == "error"]
    nodes = [name for event in events if event.event == "updates" for name in event.data]
    assert nodes.count("model") >= 10
    assert (dev_server.folder / "workspace" / "report.md").read_text().startswith("# Incidents")
    state = client.threads.get_state(thread)
    assert state["next"] == []
    assert "I read 6 reports" in state["values"]["messages"][-1]["content"]


def test_a_runs_context_reaches_the_nodes(client: Any) -> None:
    told = client.runs.wait(
        new_thread(client),
        "assistant",
        input=TASK,
        context={"model": "./evil.py:model"},
        raise_error=False,
    )
    assert "model" in str(told["__error__"])


def test_interrupt_and_resume(client: Any) -> None:
    thread = new_thread(client)
    stopped = client.runs.wait(thread, "asking", input={"wish": "rain"})
    assert stopped["__interrupt__"][0]["value"] == {
        "question": "Grant 'rain'?",
        "options": ["yes", "no"],
    }
    state = client.threads.get_state(thread)
    assert state["next"] == ["ask"]
    assert state["tasks"][0]["interrupts"]
    done = client.runs.wait(thread, "asking", command={"resume": "yes"})
    assert done["outcome"] == "rain: yes"


def test_history_and_fork(client: Any) -> None:
    thread = new_thread(client)
    client.runs.wait(thread, "asking", input={"wish": "rain"})
    client.runs.wait(thread, "asking", command={"resume": "no"})
    history = client.threads.get_history(thread)
    assert [each["next"] for each in history] == [[], ["act"], ["ask"], ["__start__"]]
    answered = history[1]
    forked = client.threads.update_state(
        thread, {"answer": "edited"}, checkpoint=answered["checkpoint"]
    )
    assert client.threads.get_state(thread)["values"]["answer"] == "edited"
    done = client.runs.wait(thread, "asking", input=None, checkpoint=forked["checkpoint"])
    assert done["outcome"] == "rain: edited"
    whole = client.threads.get_history(thread, limit=20)
    assert len(whole) == 6
    old = client.threads.get_state(thread, checkpoint=history[0]["checkpoint"])
    assert old["values"]["outcome"] == "rain: no"


def test_copy_is_a_thread_of_its_own(client: Any) -> None:
    thread = new_thread(client)
    client.runs.wait(thread, "asking", input={"wish": "snow"})
    copied = client.threads.copy(thread)["thread_id"]
    done = client.runs.wait(copied, "asking", command={"resume": "yes"})
    assert done["outcome"] == "snow: yes"
    assert client.threads.get_state(thread)["next"] == ["ask"]
    assert len(client.threads.get_history(copied)) == 4


def test_delete(client: Any, dev_server: Server) -> None:
    thread = new_thread(client)
    client.runs.wait(thread, "asking", input={"wish": "snow"})
    client.threads.delete(thread)
    with pytest.raises(NotFoundError):
        client.threads.get_state(thread)


def test_a_run_that_is_rolled_back_leaves_no_trace(client: Any, dev_server: Server) -> None:
    thread = new_thread(client)
    client.runs.wait(thread, "slow", input={"done": ["early"], "count": 5})
    first = client.runs.create(thread, "slow", input={"done": ["never"], "count": -5})
    deadline = time.monotonic() + 30
    while "never" not in client.threads.get_state(thread)["values"]["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = client.runs.create(
        thread, "slow", input={"done": ["late"], "count": 5}, multitask_strategy="rollback"
    )
    done = client.runs.join(thread, second["run_id"])
    assert "never" not in done["done"]
    assert done["done"][:2] == ["early", "step 5"]
    with pytest.raises(NotFoundError):
        client.runs.get(thread, first["run_id"])


def test_the_store_is_ours(client: Any) -> None:
    client.store.put_item(("people", "ann"), "home", {"city": "Portland"})
    assert client.store.get_item(("people", "ann"), "home")["value"] == {"city": "Portland"}
    found = client.store.search_items(("people",), filter={"city": "Portland"})["items"]
    assert [item["key"] for item in found] == ["home"]
    client.store.delete_item(("people", "ann"), "home")
    assert client.store.search_items(("people",))["items"] == []


def test_the_router_lab_answers_with_a_reason(client: Any) -> None:
    thread = new_thread(client)
    told = {"messages": [{"role": "user", "content": "What is two and two?"}]}
    events = list(
        client.runs.stream(thread, "router_lab", input=told, stream_mode=["updates", "values"])
    )
    assert not [event.data for event in events if event.event == "error"]
    answer = client.threads.get_state(thread)["values"]["messages"][-1]
    assert answer["type"] == "ai"
    assert answer["response_metadata"]["plumbgraph"]["reason"]


def test_the_skill_author_asks_before_it_runs_a_script(client: Any, dev_server: Server) -> None:
    thread = new_thread(client)
    told = {"messages": [{"role": "user", "content": "A skill for release notes, please."}]}
    asked = client.runs.wait(thread, "skill_author", input=told)["__interrupt__"][0]["value"]
    assert asked["skill"] == "write-a-skill"
    draft = dev_server.folder / "workspace" / "release-notes" / "SKILL.md"
    assert draft.read_text().startswith("---")
    done = client.runs.wait(thread, "skill_author", command={"resume": asked["answer"]})
    assert "release-notes: sound" in done["messages"][-4]["content"]
    assert done["messages"][-2]["content"].startswith("First for 100% of 2 requests.")


def test_a_sleep_asks_about_contested_facts(client: Any, dev_server: Server) -> None:
    from plumbgraph.memory import Fact, MemoryStore

    settings = dev_server.environment
    with MemoryStore(settings["PLUMBGRAPH_REDIS_URL"], tenant=settings["PLUMBGRAPH_TENANT"]) as own:
        for source, color in (("ann", "red"), ("bob", "blue")):
            fact = Fact("car", "color", color, source=source, cardinality="one")
            own.remember(("night",), fact, policy="contest")
    thread = new_thread(client)
    stopped = client.runs.wait(thread, "sleep", input={"namespace": "night"})
    (asked,) = (each["value"] for each in stopped["__interrupt__"])
    assert (asked["subject"], asked["held"], asked["rivals"]) == ("car", "red", ["blue"])
    forked = client.threads.copy(thread)["thread_id"]
    done = client.runs.wait(thread, "sleep", command={"resume": "blue"})
    assert (done["open"], len(done["settled"])) == ([], 1)
    assert client.threads.get_state(forked)["next"] == ["settle"]
    client.threads.delete(forked)
    with MemoryStore(settings["PLUMBGRAPH_REDIS_URL"], tenant=settings["PLUMBGRAPH_TENANT"]) as own:
        assert [item.value["value"] for item in own.facts(("night",))] == ["blue"]


def test_killed_in_the_middle_it_goes_on_where_it_was(dev_server: Server, client: Any) -> None:
    asked = new_thread(client)
    client.runs.wait(asked, "asking", input={"wish": "hail"})
    thread = new_thread(client)
    ledger = dev_server.folder / "ledger.txt"
    ledger.unlink(missing_ok=True)
    client.runs.create(thread, "slow", input={"done": [], "count": 0})
    deadline = time.monotonic() + 30
    while not ledger.exists() or len(ledger.read_text().splitlines()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    dev_server.kill()
    before = ledger.read_text().splitlines()
    dev_server.start()
    # The server's own list of threads is written every ten seconds, so it may have forgotten
    # this one; its checkpoints are in our database.
    for each in (asked, thread):
        client.threads.create(thread_id=each, if_exists="do_nothing")
    answered = client.runs.wait(asked, "asking", command={"resume": "no"})
    assert answered["outcome"] == "hail: no"
    done = client.runs.wait(thread, "slow", input=None)
    assert done["done"] == [f"step {number}" for number in range(6)]
    after = ledger.read_text().splitlines()[len(before) :]
    repeated = set(before) & set(after)
    assert len(repeated) <= 1, "only the step the kill fell into may run again"


def test_nothing_blocked_and_nothing_was_missing(dev_server: Server) -> None:
    log = dev_server.log
    assert "BlockingError" not in log
    assert "Blocking call" not in log
    assert "Custom checkpointer missing" not in log
    assert "Using custom checkpointer: PlumbSaver" in log
    assert "plumbgraph.memory.store.MemoryStore" in log

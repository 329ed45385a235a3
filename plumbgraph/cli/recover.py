"""`plumbgraph recover`: find the threads that a crash left behind, and bring them to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.cli import graphs
from plumbgraph.cli.console import FAILED, Json, Out
from plumbgraph.cli.durations import Every, Once, maybe_seconds, repeat
from plumbgraph.errors import ClaimLost, ThreadNotFound

if TYPE_CHECKING:
    from plumbgraph.agents.open import Opened

app = typer.Typer()


class GraphUnknown(ClaimLost):
    """A thread does not say which graph it belongs to; it is left to whoever knows."""

    code = "cli.graph_unknown"
    default_hint = "Name the graph: `plumbgraph recover path/to/file.py:graph`."


@app.command()
def recover(
    graph: Annotated[
        str | None, typer.Argument(help="For threads that `plumbgraph run` did not begin.")
    ] = None,
    every: Every = None,
    once: Once = False,
    idle: Annotated[
        str | None, typer.Option(help="Also unfinished threads nobody touched for so long: 10m.")
    ] = None,
    attempts: Annotated[
        int, typer.Option(min=1, help="Failures after which a thread is parked.")
    ] = 5,
    most: Annotated[int, typer.Option(min=1, help="Threads to look at in one go.")] = 100,
    json: Json = False,
) -> None:
    """Take up crashed and accepted threads; any number of workers may do so at a time.

    Each is claimed, resumed where it stopped, and then given the runs it accepted. One that
    fails is tried again later, with growing pauses, and parked in the end. Threads that were
    run without a claim, as `plumbgraph run` does, are taken up with `--idle`. Exit code 1 when a
    thread failed or was parked (only without `--every`).
    """
    from plumbgraph.state import RecoveryRules  # noqa: PLC0415 - quick start

    out = Out(json=json)
    rules = RecoveryRules(most=most, attempts=attempts, idle_s=maybe_seconds(idle))
    failed = False

    def act() -> None:
        nonlocal failed
        with _opened() as plumbing:
            found = ByThread(plumbing, graph).recover(rules)
        failed = any(each["outcome"] in ("failed", "parked") for each in found)
        rows = [(each["thread_id"], each["outcome"], each["error"]) for each in found]
        none = "no thread needs to be taken up"
        out.show(
            found,
            lambda: out.table(("thread", "outcome", "error"), rows) if rows else out.text(none),
        )

    repeat(act, every, once=once)
    if failed:
        raise typer.Exit(FAILED)


class ByThread:
    """Gives each thread the graph that its checkpoints name.

    Args:
        plumbing: The saver and the store.
        graph: For threads that name none.
    """

    def __init__(self, plumbing: Opened, graph: str | None) -> None:
        self._plumbing = plumbing
        self._default = graphs.find(graph) if graph else None
        self._unknown: set[str] = set()

    def recover(self, rules: Any) -> list[dict[str, Any]]:
        """Take up what needs it; one plain row a thread."""
        make: Callable[[], Any] = lambda: self  # noqa: E731 - the saver wants a factory
        return [
            {
                "thread_id": each.thread_id,
                "outcome": "unknown graph" if each.thread_id in self._unknown else each.outcome,
                "error": each.error,
            }
            for each in self._plumbing.saver.recover(make, rules)
        ]

    def invoke(self, value: Any, config: Any, **options: Any) -> Any:
        """Run the thread's own graph as recovery asks for it.

        Raises:
            GraphUnknown: Nothing says which it is; recovery lets go of the thread.
        """
        thread = config["configurable"]["thread_id"]
        told = self._remembered(thread)
        named = graphs.find(told["plumb_graph"]) if "plumb_graph" in told else self._default
        if named is None:
            self._unknown.add(thread)
            raise GraphUnknown(f"The thread {thread!r} does not say which graph it belongs to.")
        model, workspace = told.get("plumb_model"), told.get("plumb_workspace")
        graphs.set_environment(model=model, workspace=workspace)
        author = graphs.load(named)
        store = self._plumbing.store if graphs.may_use_store(named) else None
        graph = graphs.compiled(author, saver=self._plumbing.saver, store=store)
        kept = {key: told[key] for key in told if key.startswith("plumb_")}
        context = {"model": model} if model and graphs.wants_model(graph) else None
        return graph.invoke(value, {**config, "metadata": kept}, context=context, **options)

    def _remembered(self, thread: str) -> dict[str, Any]:
        from plumbgraph.cli.job import remembered  # noqa: PLC0415 - quick start

        try:
            return remembered(self._plumbing, thread)
        except ThreadNotFound:
            return {}  # accepted, and not begun


def _opened() -> Opened:
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    return open_servers()

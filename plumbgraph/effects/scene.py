"""Where a call happens, read from the running graph; and what the journal needs of its saver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from langgraph.config import get_config
from langgraph.runtime import ExecutionInfo, Runtime, get_runtime

from plumbgraph.effects.key import without_task_ids
from plumbgraph.effects.ops import Do, EffectPlan
from plumbgraph.effects.values import Scene
from plumbgraph.errors import SettingsError, StoreUnavailable
from plumbgraph.upstream import CONFIG_KEY_DURABILITY, CONFIG_KEY_RESUMING


class Line(Protocol):
    """A thread's line of history, as its checkpointer knows it."""

    def branch(self, thread_id: str, checkpoint_id: str) -> str:
        """The branch that the running code works on; the same through crash and resume."""

    def committed(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """Whether a checkpoint is committed, waiting for it; raises what its put raised."""

    def base(self, thread_id: str) -> str:
        """The id of the newest committed checkpoint, or nothing."""

    async def abranch(self, thread_id: str, checkpoint_id: str) -> str:
        """See `branch`."""

    async def acommitted(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str, *, timeout_s: float
    ) -> bool:
        """See `committed`."""

    async def abase(self, thread_id: str) -> str:
        """See `base`."""


def in_graph() -> bool:
    """Whether a graph is running here."""
    try:
        config = get_config()
    except RuntimeError:
        return False
    # A tool invoked by hand has a config too, but no node.
    return "langgraph_node" in config.get("metadata", {})


def scene_here(line: Line, tenant: str) -> EffectPlan[Scene]:
    """The scene of the code that is running.

    Raises:
        SettingsError: No graph with a checkpointer is running here.
    """
    info, config = _info(), get_config()
    if info is None or info.thread_id is None:
        raise SettingsError(
            "An effect needs a graph with a checkpointer and a thread_id.",
            hint="Compile the graph with a checkpointer, or call the tool outside of a graph.",
        )
    thread, configurable = info.thread_id, config.get("configurable", {})
    checkpoints = dict(configurable.get("checkpoint_map") or {})
    checkpoints.setdefault(info.checkpoint_ns.rpartition("|")[0], info.checkpoint_id)
    newest = checkpoints.get("", info.checkpoint_id)
    branch: str = yield Do(
        lambda: line.branch(thread, newest), lambda: line.abranch(thread, newest)
    )
    ns = without_task_ids(info.checkpoint_ns)
    scene = Scene(tenant, thread, branch, ns, info.task_id, checkpoints)
    if configurable.get(CONFIG_KEY_DURABILITY) != "exit":
        fresh = not configurable.get(CONFIG_KEY_RESUMING) and info.node_attempt == 1
        return replace(scene, fresh=fresh)
    base: str = yield Do(lambda: line.base(thread), lambda: line.abase(thread))
    return replace(scene, at_exit=True, base=base)


def settled(line: Line, scene: Scene, timeout_s: float) -> EffectPlan[None]:
    """Wait until every checkpoint the task rests on is committed.

    Then a resume begins from this very step with the same tool calls, whatever the run's
    durability. A run that commits only at its end has nothing to wait for.

    Raises:
        StoreUnavailable: One was not committed in time.
    """
    if scene.at_exit:
        return
    for ns, checkpoint in scene.checkpoints.items():
        found: bool = yield Do(
            lambda ns=ns, c=checkpoint: line.committed(  # type: ignore[misc]
                scene.thread_id, ns, c, timeout_s=timeout_s
            ),
            lambda ns=ns, c=checkpoint: line.acommitted(  # type: ignore[misc]
                scene.thread_id, ns, c, timeout_s=timeout_s
            ),
        )
        if not found:
            raise StoreUnavailable(
                f"Checkpoint {checkpoint!r} of thread {scene.thread_id!r} was not committed within "
                f"{timeout_s:g} s, so its effects were not started.",
                hint="Check the checkpointer's database; a subgraph with effects must inherit the "
                "checkpointer of its parent.",
                thread_id=scene.thread_id,
            )


def _info() -> ExecutionInfo | None:
    try:
        runtime: Runtime[Any] = get_runtime()
    except RuntimeError:
        return None
    return runtime.execution_info

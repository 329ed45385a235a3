"""The workspace in a graph: a node around a node, and middleware, over one session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, ClassVar, TypeAlias

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict, override

from plumbgraph.agents.inner import NodeLike, as_runnable
from plumbgraph.agents.node import Ask, Node, State
from plumbgraph.plan import Plan
from plumbgraph.state import PlumbSaver
from plumbgraph.workspace import Session, Workspace, enter, join_references
from plumbgraph.workspace.merge import OnConflict
from plumbgraph.workspace.reference import Reference, heads

Update: TypeAlias = Any
KEY = "workspace"
_EVERY = 1_000_000


class WorkspaceState(TypedDict, total=False):
    """The channel of the workspace, version 1: a reference to a manifest, about 100 bytes."""

    workspace: Annotated[dict[str, Any], join_references]


class WorkspaceNode(Node):
    """A node whose files belong to the thread's state, as its messages do.

    On entry the folder is brought to the manifest that the state names, so a crash, a fork or
    time travel changes the files together with the messages. On exit it is recorded, committed
    in the store before the state can name it. Inside, `Workspace.current()` is the folder to
    work in. Nodes that run in parallel each get a folder of their own; the next one to enter
    merges what they did.

    Args:
        inner: The node: a function of the state, a Runnable, a compiled graph.
        workspace: The folder and its store.
        on_conflict: What happens when parallel branches changed the same file: `error` raises
            `WorkspaceConflict`, `keep_both` keeps the second beside the first.
        name: The node's name; the inner one's by default.
    """

    state_schema: ClassVar[type | None] = WorkspaceState

    def __init__(
        self,
        inner: NodeLike,
        *,
        workspace: Workspace,
        on_conflict: OnConflict = "error",
        name: str | None = None,
    ) -> None:
        self.inner = as_runnable(inner)
        self.workspace = workspace
        self.on_conflict = on_conflict
        super().__init__(name=name or self.inner.get_name())

    @override
    def plan(
        self, state: State, runtime: Runtime[Any], config: RunnableConfig | None
    ) -> Plan[Ask, Any, Update]:
        thread = thread_of(runtime)
        workspace = self.workspace.of_thread(thread)
        session = yield entering(workspace, reference_in(state), thread, self.on_conflict)
        try:
            with session.workspace.as_current(), as_entered(session):
                update = yield Ask.of(self.inner, state, config)
            left = yield leaving(session)
        finally:
            session.close()
        return with_reference(update, left)


_entered: ContextVar[Session | None] = ContextVar("plumbgraph_entered", default=None)


@contextmanager
def as_entered(session: Session) -> Iterator[None]:
    """The stay that subagents begin from, for a block."""
    token = _entered.set(session)
    try:
        yield
    finally:
        _entered.reset(token)


def entered() -> Session | None:
    """The stay of the node that runs here; None outside of one."""
    return _entered.get()


def thread_of(runtime: Runtime[Any]) -> str | None:
    """The thread that is running; `None` without a checkpointer."""
    info = runtime.execution_info
    return info.thread_id if info is not None else None


def reference_in(state: State) -> Reference | None:
    """What the state says about the workspace."""
    if isinstance(state, dict):
        return state.get(KEY)
    found: Reference | None = getattr(state, KEY, None)
    return found


def entering(
    workspace: Workspace, value: Reference | None, thread: str | None, mode: OnConflict
) -> Ask:
    """Take a folder and bring it to the state's manifest; the reply is the session."""
    return Ask(
        lambda: workspace.run(enter(workspace, value, thread, mode)),
        lambda: workspace.arun(enter(workspace, value, thread, mode)),
    )


def leaving(session: Session) -> Ask:
    """Record the folder; the reply is the update of the channel, or nothing."""
    return Ask(
        lambda: session.workspace.run(session.leave()),
        lambda: session.workspace.arun(session.leave()),
    )


def with_reference(update: Update, left: Reference | None) -> Update:
    """A node's own update together with the workspace's."""
    if left is None:
        return update
    if update is None:
        return {KEY: left}
    if isinstance(update, dict):
        return {**update, KEY: left}
    parts = update if isinstance(update, list | tuple) else [update]
    return [
        *(part if isinstance(part, Command) else Command(update=part) for part in parts),
        Command(update={KEY: left}),
    ]


class SaverThreads:
    """The steps of the workspace that a checkpointer's threads name, pending writes included."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self._saver = saver

    def ids(self) -> list[str]:
        """See `plumbgraph.workspace.Threads`."""
        if isinstance(self._saver, PlumbSaver):
            return [thread.thread_id for thread in self._saver.threads(_EVERY)]
        return sorted({_thread_id(each) for each in self._saver.list(None)})

    async def aids(self) -> list[str]:
        """See `plumbgraph.workspace.Threads`."""
        if isinstance(self._saver, PlumbSaver):
            return [thread.thread_id for thread in await self._saver.athreads(_EVERY)]
        return sorted({_thread_id(each) async for each in self._saver.alist(None)})

    def steps(self, thread_ids: Sequence[str]) -> dict[str, set[str] | None]:
        """See `plumbgraph.workspace.Threads`."""
        return {
            thread: _named(list(self._saver.list({"configurable": {"thread_id": thread}})))
            for thread in thread_ids
        }

    async def asteps(self, thread_ids: Sequence[str]) -> dict[str, set[str] | None]:
        """See `plumbgraph.workspace.Threads`."""
        found: dict[str, set[str] | None] = {}
        for thread in thread_ids:
            config: RunnableConfig = {"configurable": {"thread_id": thread}}
            found[thread] = _named([each async for each in self._saver.alist(config)])
        return found


def _thread_id(found: CheckpointTuple) -> str:
    return str(found.config["configurable"]["thread_id"])


def _named(checkpoints: Sequence[CheckpointTuple]) -> set[str] | None:
    if not checkpoints:
        return None
    values = [each.checkpoint["channel_values"].get(KEY) for each in checkpoints]
    for each in checkpoints:
        values += [value for _, channel, value in each.pending_writes or () if channel == KEY]
    return {head["step"] for value in values for head in heads(value)}


def workspace_notice(state: State) -> str | None:
    """What the model should be told about its files: what is not kept, what was moved away.

    It fits `create_agent(system=…)` beside other sections.
    """
    notes = [note for head in heads(reference_in(state)) for note in head.get("notes", [])]
    return "About the workspace: " + "; ".join(dict.fromkeys(notes)) + "." if notes else None

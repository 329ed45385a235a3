"""`plumbgraph mcp`: the same memory for other harnesses, over the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from plumbgraph.errors import MissingExtra

if TYPE_CHECKING:
    from plumbgraph.memory import MemoryStore

app = typer.Typer()


@app.callback(invoke_without_command=True)
def mcp(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Labels joined by slashes.")
    ] = "shared",
    url: Annotated[str | None, typer.Option("--url", help="A Redis URL of your own.")] = None,
) -> None:
    """Serve remember, recall, facts and forget on standard input and output."""
    from plumbgraph.memory import MemoryStore  # noqa: PLC0415 - quick start

    place = tuple(label for label in namespace.split("/") if label)
    if url is not None:
        server(MemoryStore(url), place).run()
        return
    from plumbgraph.agents.open import open as open_servers  # noqa: PLC0415 - quick start

    with open_servers() as plumbing:
        server(plumbing.store, place).run()


def server(store: MemoryStore, namespace: tuple[str, ...]) -> Any:
    """The MCP server over one namespace of a store.

    Raises:
        MissingExtra: The official SDK is not installed.
    """
    try:
        from mcp.server import MCPServer  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise MissingExtra("The MCP server needs the official SDK.", extra="mcp") from error
    from plumbgraph.memory import Fact  # noqa: PLC0415 - quick start
    from plumbgraph.memory.recollection import shown  # noqa: PLC0415 - as above

    made = MCPServer("plumbgraph-memory")
    names = store.rules.attributes.names
    offered = f" Attributes: {', '.join(names)}." if names else ""

    async def remember(subject: str, attribute: str, value: str, source: str = "mcp") -> str:
        outcome = await store.aremember(namespace, Fact(subject, attribute, value, source=source))
        return f"{outcome.said}: {outcome.attribute} ({outcome.reason})"

    async def recall(query: str, token_budget: int = 1_000) -> str:
        """Look up what is remembered about something; may be nothing."""
        found = await store.arecall(namespace, query, token_budget=token_budget)
        return found.text or "Nothing is remembered about that."

    async def facts(subject: str) -> str:
        """Everything that is true now of someone or something."""
        found = await store.afacts(namespace, subject)
        return "\n".join(f"- {shown(item)}" for item in found) or "Nothing is known."

    async def forget(subject: str, attribute: str) -> str:
        """Forget what is known about one attribute of someone or something."""
        name = store.rules.attributes.match(attribute).attribute.name
        held = await store.afacts(namespace, subject)
        wanted = [Fact.of(item) for item in held if item.value["attribute"] == name]
        gone = [await store.aforget(namespace, fact) for fact in wanted]
        return f"Forgot {sum(gone)}."

    told = "Keep a fact about someone or something; a newer value replaces the older one."
    made.add_tool(remember, name="remember", description=told + offered)
    for tool in (recall, facts, forget):
        made.add_tool(tool)
    return made

"""The checkpointer and the store of the LangGraph server, as langgraph.json names them."""

from plumbgraph.deploy import checkpointer, store

__all__ = ["checkpointer", "store"]

"""The prebuilt middleware, for `langchain.agents.create_agent` and deepagents."""

from plumbgraph.agents.middleware import GuardMiddleware

__all__ = ["GuardMiddleware"]

"""The only file that takes private names from langgraph or langchain; each has a canary test."""

from __future__ import annotations

__all__ = ["SAFE_MSGPACK_TYPES", "DeltaSnapshot"]

# Whether a run commits only at its end is told nowhere else; absent where it was not asked for:
# https://github.com/langchain-ai/langgraph/issues/8702
from langgraph._internal._constants import (  # noqa: TID251 - private, see above
    CONFIG_KEY_DURABILITY as CONFIG_KEY_DURABILITY,  # noqa: PLC0414 - a re-export
)

# The types a strict reader accepts have no public accessor, and a writer must know them:
# https://github.com/langchain-ai/langgraph/issues/8522
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES

# A DeltaChannel's stored state has this type and no public name:
# https://github.com/langchain-ai/langgraph/issues/8531
from langgraph.checkpoint.serde.types import _DeltaSnapshot as DeltaSnapshot

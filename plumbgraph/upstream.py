"""The only file that takes private names from langgraph or langchain; each has a canary test."""

from __future__ import annotations

from typing import Any

__all__ = ["SAFE_MSGPACK_TYPES", "DeltaSnapshot", "openinference_tracer"]

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


def openinference_tracer() -> Any:
    """OpenInference's callback handler: its public instrumentor patches every callback manager.

    https://github.com/Arize-ai/phoenix/pull/1472

    Raises:
        ImportError: The extra `otel` is not installed.
    """
    from openinference.instrumentation.langchain._tracer import (  # noqa: PLC0415 - an extra
        OpenInferenceTracer,
    )

    return OpenInferenceTracer

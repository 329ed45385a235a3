"""The only file that takes private names from langgraph or langchain; each has a canary test."""

from __future__ import annotations

from inspect import currentframe
from typing import Any

__all__ = ["SAFE_MSGPACK_TYPES", "DeltaSnapshot", "openinference_tracer", "starting_checkpoint"]

# Whether a run commits only at its end is told nowhere else; absent where it was not asked for:
# https://github.com/langchain-ai/langgraph/issues/8702
from langgraph._internal._constants import (  # noqa: TID251 - private, see above
    CONFIG_KEY_DURABILITY as CONFIG_KEY_DURABILITY,  # noqa: PLC0414 - a re-export
)

# Whether a task may have run before is told nowhere else; absent behind a run's first step:
# https://github.com/langchain-ai/langgraph/pull/3647
from langgraph._internal._constants import (  # noqa: TID251 - private, see above
    CONFIG_KEY_RESUMING as CONFIG_KEY_RESUMING,  # noqa: PLC0414 - a re-export
)
from langgraph._internal._constants import CONFIG_KEY_RUNTIME as _RUNTIME  # noqa: TID251 - private

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


_CALLERS = 10


def starting_checkpoint(checkpoint_ns: str) -> str | None:
    """The checkpoint that a task starts from; to be called from the callback of its start.

    LangGraph tells callbacks a task's step and namespace, but not its checkpoint, which inside the
    task `Runtime.execution_info` knows. At its start only the config does that the task is called
    with, so it is looked for in the frames of the callers; one of another task is not taken.
    https://github.com/langchain-ai/langgraph/pull/7383
    """
    frame = currentframe()
    for _ in range(_CALLERS):
        frame = frame.f_back if frame is not None else None
        if frame is None:
            return None
        if "config" not in frame.f_code.co_varnames:
            continue
        config = frame.f_locals.get("config")
        configurable = config.get("configurable") if isinstance(config, dict) else None
        info = getattr((configurable or {}).get(_RUNTIME), "execution_info", None)
        if info is not None and info.checkpoint_ns == checkpoint_ns:
            return str(info.checkpoint_id)
    return None

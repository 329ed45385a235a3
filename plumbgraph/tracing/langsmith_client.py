"""LangSmith's own client with clean payloads: no secrets, short copies of state, kept failures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from langsmith import Client, utils
from langsmith.env import get_langchain_env_var_metadata, get_runtime_environment

from plumbgraph.tracing.anonymize import anonymized, clean

LAST_MESSAGES = 8
"""So many messages of a state are shown with each step; a model's call shows all it was sent."""

_FAILED = "LANGSMITH_FAILED_TRACES_DIR"
_BARE = frozenset(("name", "time"))  # keys of an event that says nothing but when
_making = threading.Lock()


class CleanClient(Client):
    """The SDK's client; whatever goes through it is anonymized first.

    The SDK's `anonymizer` would make JSON of each payload, read it back and make it again, and
    leaves names and tags as they are.
    """

    def create_run(
        self, name: str, inputs: dict[str, Any], run_type: Any, *args: Any, **more: Any
    ) -> None:
        """Send a run's beginning, or the whole of it."""
        told, extra = inputs, more.get("extra") or {}
        if not more.get("parent_run_id"):
            # What the machine is like is said once a trace, not with every call.
            runtime = {**get_runtime_environment(), **(extra.get("runtime") or {})}
            metadata = {**get_langchain_env_var_metadata(), **(extra.get("metadata") or {})}
            more["extra"] = {**extra, "runtime": runtime, "metadata": metadata}
        else:
            more["extra"] = {key: value for key, value in extra.items() if key != "runtime"}
            if run_type not in {"llm", "prompt"}:
                more.pop("serialized", None)  # of the others the SDK sends none
            if run_type == "chain":
                told, more["outputs"] = _shortened(inputs), _shortened(more.get("outputs"))
        super().create_run(clean(name), anonymized(told), run_type, *args, **_cleaned(more))

    def update_run(self, run_id: UUID | str, **more: Any) -> None:
        """Send a run's end."""
        if more.get("parent_run_id"):
            if extra := more.get("extra"):
                more["extra"] = {key: value for key, value in extra.items() if key != "runtime"}
            if more.get("run_type") == "chain":
                more["inputs"] = _shortened(more.get("inputs"))
                more["outputs"] = _shortened(more.get("outputs"))
        if isinstance(more.get("name"), str):
            more["name"] = clean(more["name"])
        super().update_run(run_id, **_cleaned(more, "inputs"))


def client_for(
    url: str | None, kept: Path | None, *, failed: Callable[[Exception], None]
) -> CleanClient:
    """A client that tells `failed` what it could not send, and keeps it in a folder.

    The SDK takes that folder from the environment alone, when a client is made.
    """
    forget: Any = getattr(utils.get_env_var, "cache_clear", lambda: None)
    with _making:
        before = os.environ.get(_FAILED)
        if kept is not None:
            os.environ[_FAILED] = str(kept)
        forget()
        try:
            key = os.environ.get("LANGSMITH_API_KEY") or ("none" if url else None)
            return CleanClient(
                api_url=url,
                api_key=key,
                tracing_error_callback=failed,
                omit_traced_runtime_info=True,
            )
        finally:
            os.environ.pop(_FAILED, None)
            if before is not None:
                os.environ[_FAILED] = before
            forget()


def _cleaned(fields: dict[str, Any], *more: str) -> dict[str, Any]:
    for key in ("outputs", "error", "extra", "tags", "serialized", *more):
        if fields.get(key):
            fields[key] = anonymized(fields[key])
    events = fields.get("events")
    if events and not all(map(_BARE.issuperset, events)):
        fields["events"] = anonymized(events)
    return fields


def _shortened(values: Any) -> Any:
    """A step's state with the last of its messages alone, and how many were left out."""
    if not isinstance(values, Mapping):
        return values
    left_out = {
        key: len(value) - LAST_MESSAGES
        for key, value in values.items()
        if isinstance(value, list) and len(value) > LAST_MESSAGES and hasattr(value[-1], "content")
    }
    if not left_out:
        return values
    kept = {key: values[key][-LAST_MESSAGES:] for key in left_out}
    return {**values, **kept, "plumb_earlier_messages": left_out}

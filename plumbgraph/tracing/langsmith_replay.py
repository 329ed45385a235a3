"""Send uploads again that LangSmith's SDK could not deliver and kept in a folder."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from plumbgraph.errors import SettingsError
from plumbgraph.tracing.redact import redact

_DEFAULT = "https://api.smith.langchain.com"
_TIMEOUT_S = 30.0
_TAKEN = 300
_KNOWN = 409


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the kept uploads; `why` is the last failure's reason."""

    sent: int
    failed: int
    why: str = ""


def replay(
    folder: str | os.PathLike[str], *, url: str | None = None, api_key: str | None = None
) -> Replayed:
    """Post every kept upload again, oldest first, and remove those that arrive.

    Args:
        folder: Where the SDK kept them.
        url: LangSmith's address; else `LANGSMITH_ENDPOINT`.
        api_key: Else `LANGSMITH_API_KEY`; kept uploads hold none.

    Raises:
        SettingsError: There is no such folder.
    """
    where = Path(folder)
    if not where.is_dir():
        raise SettingsError(
            f"There is no folder of failed uploads at {str(where)!r}.",
            hint="Nothing failed so far, or another folder was given to the sink.",
        )
    base = (url or os.environ.get("LANGSMITH_ENDPOINT") or _DEFAULT).rstrip("/")
    key = api_key or os.environ.get("LANGSMITH_API_KEY")
    sent, failed, why = 0, 0, ""
    for path in sorted(where.glob("trace_*.json")):
        fault = _post(path, base, key)
        if fault is None:
            path.unlink()
            sent += 1
        else:
            failed, why = failed + 1, fault
    return Replayed(sent, failed, why)


def _post(path: Path, base: str, key: str | None) -> str | None:
    """Post one; why it failed, or nothing."""
    try:
        kept = json.loads(path.read_text())
        body = base64.b64decode(kept["body_base64"])
        endpoint, headers = str(kept["endpoint"]), dict(kept["headers"])
    except (ValueError, KeyError, OSError) as fault:
        return f"{path.name} is no kept upload ({type(fault).__name__})"
    headers = {name: value for name, value in headers.items() if value is not None}
    if key:
        headers["x-api-key"] = key
    target = f"{base}/{_route(endpoint)}"
    try:
        reply = requests.post(target, data=body, headers=headers, timeout=_TIMEOUT_S)
    except requests.RequestException as fault:
        return redact(f"{type(fault).__name__}: {fault}")[:300]
    # What arrived before the answer was lost is known there already.
    good = reply.status_code < _TAKEN or reply.status_code == _KNOWN
    return None if good else f"{target} answered {reply.status_code}"


def _route(endpoint: str) -> str:
    """The part of a kept address that names the kind of upload: `runs/multipart`."""
    path = urlsplit(endpoint).path.strip("/")
    start = path.find("runs")
    return path[start:] if start >= 0 else path

"""Channel versions: whole numbers, and the textual ones of threads taken over from elsewhere."""

from __future__ import annotations

import random
from typing import Any


def next_version(current: Any) -> Any:
    """The version after `current`, of the same type.

    Texts are those of LangGraph's own savers: a number of 32 digits, a dot, and a random part
    that keeps branches apart. Ours need none, because content is not named by version.
    """
    if current is None:
        return 1
    if isinstance(current, str):
        number = int(current.split(".", maxsplit=1)[0]) + 1
        return f"{number:032}.{random.random():016}"  # noqa: S311 - not a secret
    return current + 1

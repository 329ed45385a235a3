"""The outside world of a crash test: a file to which effects append, and which nothing undoes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from plumbgraph.effects.context import covered, current_effect


class Ledger:
    """Lines in a file; each is one system call, so a kill leaves it whole or absent."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def note(self, line: str) -> None:
        """Something happened outside; an effect's key is noted with it, as a real system would."""
        if covered():
            line = f"{line} #{current_effect().key[:16]}"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)

    def lines(self) -> list[str]:
        """All that happened, in order, without keys."""
        return [line.partition(" #")[0] for line in self._raw()]

    def has(self, key: str) -> bool:
        """Whether the effect with a key (or its first 16 digits) happened."""
        return any(line.endswith(f" #{key[:16]}") for line in self._raw())

    def _raw(self) -> list[str]:
        return self.path.read_text(errors="replace").splitlines() if self.path.exists() else []

    def counts(self) -> Counter[str]:
        """How often each thing happened."""
        return Counter(self.lines())

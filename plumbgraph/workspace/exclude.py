"""What a snapshot leaves out: gitignore rules over safe defaults."""

from __future__ import annotations

from collections.abc import Iterable

import pathspec

from plumbgraph.workspace.names import NEVER

SECRETS = (
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".pgpass",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
    "credentials.json",
    "client_secret*.json",
    ".aws/",
    ".ssh/",
    ".gnupg/",
    ".kube/",
    ".docker/config.json",
)
"""Defaults for secrets: they stay on this machine and never reach the store."""

CACHES = (
    "__pycache__/",
    "*.py[co]",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".cache/",
    ".venv/",
    "node_modules/",
    ".tox/",
    ".ipynb_checkpoints/",
    ".DS_Store",
)
"""Defaults for what can be made again."""


class Excludes:
    """Decides by gitignore rules what stays out of manifests.

    Args:
        rules: Gitignore lines, after the defaults, so that `!name` takes a default back.
        defaults: Begin with the secrets and caches; `False` for the given rules alone.
    """

    def __init__(self, rules: Iterable[str] = (), *, defaults: bool = True) -> None:
        base = ((rule, why) for group, why in _DEFAULTS for rule in group) if defaults else ()
        self._reasons: list[tuple[str, str]] = [*base, *((rule, "excluded") for rule in rules)]
        self._spec = pathspec.GitIgnoreSpec.from_lines(rule for rule, _ in self._reasons)

    def __repr__(self) -> str:
        return f"Excludes({self._reasons!r})"

    def reason(self, path: str, *, folder: bool) -> str | None:
        """Why a path is left out, or `None` when it is kept.

        Args:
            path: Relative, with `/`; its parents are kept ones.
            folder: Whether it is a folder.
        """
        if path.rpartition("/")[2].casefold() in NEVER:
            return "version control"
        found = self._spec.check_file(f"{path}/" if folder else path)
        return self._reasons[found.index][1] if found.include and found.index is not None else None


BY_RULE = frozenset({"secret", "cache", "excluded", "version control"})
"""Reasons that rules give; whatever else is left out is of a kind that cannot be kept."""

_DEFAULTS = ((SECRETS, "secret"), (CACHES, "cache"))

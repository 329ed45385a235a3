"""The operator's policy file: where it stands, who may have written it, and reading it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from plumbgraph.errors import SettingsError
from plumbgraph.policy.documents import parse_rules
from plumbgraph.policy.rules import Rules

ENVIRONMENT = "PLUMBGRAPH_POLICY"
SYSTEM_PATH = Path("/etc/plumbgraph/policy.yaml")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Managed:
    """The managed rules of this process and where they came from (`None`: there is no file).

    Attributes:
        rules: What the file states.
        path: The file.
        own: Whether this process's own user owns the file and so could change it.
    """

    rules: Rules
    path: Path | None = None
    own: bool = False


def read_managed(environment: Mapping[str, str] | None = None) -> Managed:
    """The managed rules; no argument of any caller leads around them.

    The system's file counts wherever it exists. Only where it does not may the environment name
    another: so a process cannot shed the operator's rules by setting a variable.

    Raises:
        SettingsError: A file is named but missing, unreadable, invalid, or could have been
            written by someone else than root or the process's user; or both the system's file
            and another one are named.
    """
    environment = os.environ if environment is None else environment
    named = environment.get(ENVIRONMENT, "")
    system = SYSTEM_PATH
    if _exists(system):
        if named and Path(named) != system:
            raise SettingsError(
                f"{ENVIRONMENT}={named!r} names a policy beside the managed {str(system)!r}.",
                hint=f"Unset {ENVIRONMENT}, or remove the system's file.",
            )
        return _read(system, owners=(0,))
    if not named:
        return Managed(Rules())
    return _read(Path(named), owners=(0, os.geteuid()))


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise SettingsError(f"The managed policy {str(path)!r} cannot be read: {error}.") from error
    return True


def _read(path: Path, *, owners: tuple[int, ...]) -> Managed:
    if not path.is_absolute():
        raise SettingsError(
            f"The managed policy {str(path)!r} is a relative path.",
            hint=f"Give {ENVIRONMENT} an absolute path.",
        )
    try:
        real = path.resolve(strict=True)
        for folder in real.parents:
            _check(folder, folder.stat(), owners)
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            _check(real, facts, owners)
            if not stat.S_ISREG(facts.st_mode):
                raise SettingsError(f"The managed policy {str(path)!r} is not a regular file.")
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            f"The managed policy {str(path)!r} cannot be read: {error}.",
            hint="A policy that is named must be readable; nothing runs without it.",
        ) from error
    return Managed(_parse(text, path), path, own=facts.st_uid == os.geteuid() != 0)


def _parse(text: bytes, path: Path) -> Rules:
    if len(text) > _MAX_BYTES:
        raise SettingsError(f"The managed policy {str(path)!r} is larger than {_MAX_BYTES} bytes.")
    try:
        return parse_rules(text.decode("utf-8"), source=str(path))
    except UnicodeDecodeError as error:
        raise SettingsError(f"The managed policy {str(path)!r} is not UTF-8.") from error


def _check(path: Path, facts: os.stat_result, owners: tuple[int, ...]) -> None:
    """Refuse what another user could have written; a sticky folder such as /tmp is safe enough."""
    if facts.st_uid not in owners:
        raise SettingsError(
            f"{str(path)!r}, of the managed policy, belongs to user {facts.st_uid}.",
            hint=f"Let one of the users {sorted(set(owners))} own it.",
        )
    sticky = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
        raise SettingsError(
            f"{str(path)!r}, of the managed policy, may be written by group or others.",
            hint=f"Run: chmod go-w {str(path)!r}",
        )

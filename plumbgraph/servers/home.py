"""The folder embedded servers live in: its files, and whether it is fit for a database."""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from plumbgraph.errors import ServerStartFailed, SettingsError

DATABASE = "plumbgraph"
SOCKET_BYTES = 103  # the smallest limit of the systems in use, less the final NUL
ROOM_BYTES = 96 * 1024 * 1024  # a new cluster takes about 40 MB, then its first WAL segments
_SOCKET_NAME = ".s.PGSQL.5432"
_AWKWARD = set(",\"'\\?#%@")
_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "davfs", "ncpfs"),
        *("glusterfs", "gfs2", "lustre", "beegfs", "ocfs2", "vboxsf", "drvfs", "gpfs", "pvfs2"),
    )
)
_NETWORK_FUSE = frozenset(
    (
        *("sshfs", "s3fs", "gcsfuse", "rclone", "glusterfs", "davfs", "davfs2", "cephfs", "ceph"),
        *("blobfuse", "blobfuse2", "goofys", "mountpoint-s3", "juicefs", "mergerfs"),
    )
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each file of a home's servers is."""

    home: Path

    @property
    def root(self) -> Path:
        """The servers' own folder, mode 0700: everything below it is ours."""
        return self.home / "servers"

    @property
    def owner(self) -> Path:
        """Locked exclusively by the living supervisor."""
        return self.root / "owner.lock"

    @property
    def lease(self) -> Path:
        """Locked shared by each user of the servers."""
        return self.root / "lease"

    @property
    def ready(self) -> Path:
        """Locked exclusively by a supervisor whose `state.json` is current."""
        return self.root / "ready.lock"

    @property
    def state(self) -> Path:
        """What the supervisor last wrote."""
        return self.root / "state.json"

    @property
    def idle(self) -> Path:
        """How long servers stay without a user."""
        return self.root / "idle.json"

    @property
    def moved(self) -> Path:
        """Names the folder of the data when it had to lie outside the home."""
        return self.root / "place"

    @property
    def passwords(self) -> Path:
        """Ports and passwords for TCP, mode 0600."""
        return self.root / "passwords.json"

    def life(self, kind: str) -> Path:
        """Locked by a server's own processes: free only when the last of them is gone."""
        return self.root / f"{kind}.lock"

    def wanted(self, kind: str) -> Path:
        """Left by a client that needs a server the supervisor does not run yet."""
        return self.root / f"want.{kind}"

    def log(self, kind: str) -> Path:
        """What a server says."""
        return self.root / "log" / f"{kind}.log"

    def place(self) -> Path:
        """The folder of the data: the root, unless it had to be moved."""
        try:
            return Path(self.moved.read_text().strip())
        except FileNotFoundError:
            return self.root


def filesystem(path: Path, *, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The type of the file system that holds the path; None where the system does not tell."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    real, best, found = Path(os.path.realpath(path)), -1, None
    for line in lines:
        fields = line.split(" ")
        point = Path(fields[1].encode().decode("unicode_escape"))
        if (real == point or point in real.parents) and len(point.parts) >= best:
            best, found = len(point.parts), fields[2]
    return found


def is_network(kind: str | None) -> bool:
    """Whether this type of file system is shared between machines, or does not keep locks."""
    if kind is None:
        return False
    return kind in _NETWORK or (kind.startswith("fuse.") and kind[5:] in _NETWORK_FUSE)


def prepare(layout: Layout, *, mounts: Path = Path("/proc/mounts")) -> None:
    """Make the folders, mode 0700, after checking that a database may live there.

    Raises:
        SettingsError: The home lies on a network file system or belongs to someone else.
        ServerStartFailed: It cannot be written, or the disk is full.
    """
    kind = filesystem(layout.home, mounts=mounts)
    if is_network(kind):
        raise SettingsError(
            f"The home {str(layout.home)!r} lies on a network file system ({kind}), "
            "where locks and databases are not safe.",
            hint="Set PLUMBGRAPH_HOME to a folder on a local disk, or use external servers.",
            path=str(layout.home),
        )
    try:
        layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_strangers(layout.home)
        (layout.root / "log").mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.root.chmod(0o700)
        _refuse_full(layout)
    except OSError as fault:
        raise unwritable(layout.root, fault) from fault


def _refuse_strangers(home: Path) -> None:
    info = home.stat()
    if info.st_uid != os.geteuid():
        raise SettingsError(
            f"The home {str(home)!r} belongs to user id {info.st_uid}, "
            f"this process runs as {os.geteuid()}.",
            hint="Set PLUMBGRAPH_HOME to a folder of your own.",
            path=str(home),
        )


def _refuse_full(layout: Layout) -> None:
    """Write one byte for real: a read-only mount lets mkdir of an existing folder pass."""
    probe = layout.root / f"probe.{os.getpid()}.{threading.get_ident()}"
    try:
        probe.write_bytes(b"x")
    finally:
        probe.unlink(missing_ok=True)
    place = layout.place()
    free = os.statvfs(place if place.exists() else layout.root)
    if not (place / "postgres").exists() and free.f_bavail * free.f_frsize < ROOM_BYTES:
        raise OSError(errno.ENOSPC, f"less than {ROOM_BYTES // 2**20} MB free")


def unwritable(path: Path, fault: OSError) -> ServerStartFailed:
    """The typed error for a folder that cannot be written."""
    hints = {
        errno.ENOSPC: "Free some space, or set PLUMBGRAPH_HOME to a folder on another disk.",
        errno.EROFS: "Mount it writable, or set PLUMBGRAPH_HOME to a writable folder.",
    }
    return ServerStartFailed(
        f"The data folder {str(path)!r} cannot be written: {fault.strerror or fault}.",
        hint=hints.get(fault.errno or 0, "Set PLUMBGRAPH_HOME to a folder you may write."),
        path=str(path),
    )


def socket_folder(place: Path, *, euid: int, temporary: Path = Path("/tmp")) -> Path:  # noqa: S108 - mode 0700, owner checked
    """The folder for sockets: beside the data, or a hashed short one where that is too long.

    The answer depends on nothing but the arguments, so a URL stays good over restarts.
    """
    near = place / "sock"
    name = os.fsencode(near / _SOCKET_NAME)
    if len(name) <= SOCKET_BYTES and not _AWKWARD & set(str(near)) and str(near).isprintable():
        return near
    import hashlib  # noqa: PLC0415 - rarely needed, slow to load

    digest = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
    return temporary / f"plumbgraph-{euid}-{digest}"


def own_folder(path: Path, *, owners: tuple[int, ...]) -> None:
    """Make a folder of mode 0700, and refuse one that another user laid there first.

    Raises:
        ServerStartFailed: The name is taken by someone else.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in owners or info.st_mode & 0o077:
            raise ServerStartFailed(
                f"The folder {str(path)!r} for sockets exists and is not safely ours.",
                hint="Remove it, or set PLUMBGRAPH_HOME to a shorter path.",
                path=str(path),
            ) from None


def found(layout: Layout) -> bool:
    """Whether servers ever ran in this home.

    Raises:
        SettingsError: It may not be looked at.
    """
    try:
        os.listdir(layout.root)  # noqa: PTH208 - only the attempt counts
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as fault:
        raise SettingsError(
            f"The home {str(layout.home)!r} cannot be read: {fault.strerror}.",
            hint="Set PLUMBGRAPH_HOME to a folder of your own.",
            path=str(layout.home),
        ) from fault
    return True


def data_major(place: Path) -> int | None:
    """The major version that made the data there; None when there is none yet."""
    try:
        return int((place / "postgres" / "PG_VERSION").read_text().split(".", maxsplit=1)[0])
    except FileNotFoundError:
        return None
    except ValueError as fault:
        raise ServerStartFailed(
            f"{str(place / 'postgres' / 'PG_VERSION')!r} does not name a version.",
            hint="The folder is damaged: restore it from a backup.",
        ) from fault


def size(path: Path) -> int:
    """Bytes taken on disk below the path; files that vanish meanwhile are left out."""
    total = 0
    for folder, _, names in os.walk(path, onerror=lambda _fault: None):
        for name in names:
            try:
                total += os.lstat(Path(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total

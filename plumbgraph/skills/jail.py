"""Runs one command cut off from network, other processes and privileges; a program of its own.

Started as `python -I -S jail.py STATUS_FD POLICY MEMORY CPU -- COMMAND…` by `sandbox.py`; it
imports nothing of plumbgraph. It writes one line to the status descriptor before the command
starts: `isolated`, `open` or `refused: REASON`. When this process dies, everything the command
started dies: the command is the first process of its own process namespace.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = (
    0x00020000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_NAMESPACES = _NEW_MOUNTS | _NEW_IPC | _NEW_PIDS | _NEW_NET
_PRIVATE, _NOSUID_NODEV_NOEXEC = 0x44000, 0xE
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_LAST_CAPABILITY = 63
_FILE_BYTES = 64 << 20
_OPEN_FILES = 256
_REFUSED = 125


def main(arguments: list[str]) -> int:
    """Isolate, then run the command; the exit code is the command's."""
    status, policy, memory, cpu = (
        int(arguments[0]),
        arguments[1],
        int(arguments[2]),
        int(arguments[3]),
    )
    command = arguments[5:]
    problem = _isolate()
    if problem and policy != "open":
        os.write(status, f"refused: {problem}\n".encode())
        return _REFUSED
    os.write(status, b"open\n" if problem else b"isolated\n")
    os.close(status)
    child = os.fork()
    if child == 0:
        _become(command, memory, cpu, isolated=not problem)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
    _, code = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(code) & 0xFF


def _isolate() -> str:
    """New namespaces; what is wrong, or nothing."""
    if sys.platform != "linux":
        return "network namespaces need Linux"
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(_NEW_USER | _NAMESPACES) == 0:
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError as error:
            return f"no user mapping ({error.strerror})"
        return ""
    reason = os.strerror(ctypes.get_errno())
    if uid == 0 and libc.unshare(_NAMESPACES) == 0:
        return ""
    return f"no network namespace ({reason})"


def _become(command: list[str], memory: int, cpu: int, *, isolated: bool) -> None:
    """Shed everything, then turn into the command; never returns."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if isolated and not _hide_processes(libc):
            os.write(2, b"the list of processes cannot be hidden\n")
            os._exit(_REFUSED)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            for capability in range(_LAST_CAPABILITY + 1):
                libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os.execvpe(command[0], command, dict(os.environ))  # noqa: S606 - no shell is the point
    except BaseException as error:  # noqa: BLE001 - a forked child must not unwind into its parent
        os.write(2, f"cannot start: {error}\n".encode())
        os._exit(_REFUSED)


def _hide_processes(libc: ctypes.CDLL) -> bool:
    """A `/proc` of the new namespace, or an empty one; never the machine's."""
    libc.mount(b"none", b"/", None, _PRIVATE, None)
    if libc.mount(b"proc", b"/proc", b"proc", _NOSUID_NODEV_NOEXEC, None) == 0:
        return True
    return bool(libc.mount(b"none", b"/proc", b"tmpfs", _NOSUID_NODEV_NOEXEC, None) == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

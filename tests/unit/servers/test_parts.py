from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plumbgraph.servers import identity, locks, process, wire
from plumbgraph.servers.home import Layout, prepare
from plumbgraph.servers.values import Binary, Idle, Launch, State

if TYPE_CHECKING:
    from collections.abc import Callable


def answering(path: Path, said: bytes) -> Callable[[], None]:
    """A peer on a socket that says one thing and hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        link, _ = listener.accept()
        with link:
            link.recv(4096)
            link.sendall(said)

    thread = threading.Thread(target=serve)
    thread.start()

    def end() -> None:
        thread.join()
        listener.close()

    return end


@pytest.mark.parametrize(
    ("said", "fault"),
    [(b"-LOADING reading\r\n", "LOADING"), (b"", "closed"), (b"$5\r\nhel", "closed")],
)
def test_a_redis_peer_that_is_not_ready(tmp_path: Path, said: bytes, fault: str) -> None:
    end = answering(tmp_path / "s", said)
    with pytest.raises(wire.NotReady, match=fault):
        wire.redis(str(tmp_path / "s"), ("PING",))
    end()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"E\0\0\0\x14SFATAL\0Mstarting\0\0\0", "starting"),
        (b"R\0\0\0\x08\0\0\0\x03", "password"),
        (b"", "closed"),
        (b"Z\0", "closed"),
    ],
)
def test_a_postgres_peer_that_is_not_ready(tmp_path: Path, said: bytes, fault: str) -> None:
    end = answering(tmp_path / "s", said)
    with pytest.raises(wire.NotReady, match=fault):
        wire.postgres(str(tmp_path / "s"), "SELECT 1")
    end()


def test_a_missing_socket_is_not_ready(tmp_path: Path) -> None:
    for ask in (wire.postgres, wire.redis):
        with pytest.raises(wire.NotReady, match="No such file"):
            ask(str(tmp_path / "none"))


def test_the_kernel_drops_a_lock_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys,time; from plumbgraph.servers import locks; from pathlib import Path;"
        f"fd=locks.opened(Path({str(path)!r})); print(locks.take(fd), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        assert locks.held(path)
        assert locks.holders(path) == (holder.pid,)
        holder.kill()
    assert not locks.held(path)
    assert not locks.held(tmp_path / "missing")


def test_shared_locks_keep_the_exclusive_one_away(tmp_path: Path) -> None:
    one, two, three = (locks.opened(tmp_path / "lease") for _ in range(3))
    assert locks.take(one, shared=True)
    assert locks.take(two, shared=True)
    assert not locks.take(three)
    os.close(one)
    os.close(two)
    assert locks.take(three)
    assert not locks.take(locks.opened(tmp_path / "lease"), shared=True)
    os.close(three)


def test_values_survive_their_files(tmp_path: Path) -> None:
    launch = Launch(
        want=("valkey",), binaries={"valkey": Binary(path="/b", source="system", major=9)}
    )
    assert Launch.from_json(launch.to_json()) == launch
    path = tmp_path / "state.json"
    assert State.read(path) is None
    for broken in ("", "[]", '{"format": 99}', '{"format": 1}', "{"):
        path.write_text(broken)
        assert State.read(path) is None


def test_idle_keeps_what_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "idle.json"
    assert Idle.read(path) == Idle(keep=False, grace_s=5.0)
    Idle().asked(keep=True, grace_s=9).asked(keep=False, grace_s=None).write(path)
    assert Idle.read(path) == Idle(keep=True, grace_s=9)
    path.write_text("nonsense")
    assert Idle.read(path) == Idle()


def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os,time,signal; from plumbgraph.servers import process, identity; "
        "from pathlib import Path; "
        f"me=identity.Identity('own user', Path({str(tmp_path)!r})); "
        f"c=process.spawn(['sleep','60'], identity=me, log=Path({str(tmp_path / 'log')!r}), "
        "dies_by=signal.SIGTERM); print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, 0)
        descriptor = os.pidfd_open(child)
        parent.kill()
    import select

    assert select.select([descriptor], [], [], 20)[0]
    os.close(descriptor)


def test_processes_are_recognized_by_folder_and_name_together(tmp_path: Path) -> None:
    server = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", server)
    with (
        subprocess.Popen([server, "60"], cwd=tmp_path) as ours,
        subprocess.Popen(["sleep", "60"], cwd=tmp_path) as shell,
        subprocess.Popen([server, "60"], cwd="/") as other,
    ):
        found = process.owned({"x": str(tmp_path), "y": str(tmp_path / "y")})
        for started in (ours, shell, other):
            started.kill()
    assert found == {"x": [ours.pid], "y": []}


def test_logs_are_turned_over_and_their_end_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"old\n" * 2_000_000)
    me = identity.Identity("own user", tmp_path)
    child = process.spawn(["echo", "new"], identity=me, log=log, dies_by=signal.SIGTERM)
    child.wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "x.log.1").stat().st_size == 8_000_000
    assert process.tail(log) == "new"
    assert process.tail(tmp_path / "missing") == ""


def test_servers_do_not_inherit_what_would_steer_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/elsewhere")
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    kept = process.environment()
    assert not [name for name in kept if name.startswith("PG")]
    assert kept["LC_ALL"] == "C"


def test_identity_follows_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "h")
    prepare(layout)
    monkeypatch.setattr(identity, "namespaces_work", lambda: True)
    assert identity.choose(layout, euid=1000).mode == "own user"
    assert identity.choose(layout, euid=0).mode == "user namespace"
    layout.moved.write_text("/elsewhere\n")
    assert identity.choose(layout, euid=0) == identity.Identity("uid 65534", Path("/elsewhere"))


def test_a_program_is_copied_with_its_libraries_where_it_could_not_be_reached(
    tmp_path: Path,
) -> None:
    package = tmp_path / "site" / "wheel"
    (package / "pginstall18" / "bin").mkdir(parents=True)
    (package / "pginstall18" / "bin" / "postgres").write_text("x")
    (package.with_name("wheel.libs")).mkdir()
    (package.with_name("wheel.libs") / "libpq.so").write_text("lib")
    tmp_path.chmod(0o700)
    found = identity.usable_program(
        identity.Identity("uid 65534", tmp_path / "place"),
        package / "pginstall18" / "bin" / "postgres",
        tree=package / "pginstall18",
        package=package,
    )
    assert found.is_relative_to(tmp_path / "place" / "bin")
    assert found.read_text() == "x"
    assert (found.parents[3] / "wheel.libs" / "libpq.so").read_text() == "lib"
    assert found.parent.stat().st_mode & 0o005 == 0o005
    own = identity.Identity("own user", tmp_path)
    program = package / "pginstall18" / "bin" / "postgres"
    assert identity.usable_program(own, program, tree=package, package=package) == program

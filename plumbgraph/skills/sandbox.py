"""Run a script of a stored skill in a copy of its folder, without network or leftovers."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbgraph.clock import SYSTEM, Clock
from plumbgraph.skills.scripts import ScriptCall, ScriptRules, interpreter

_JAIL = Path(__file__).with_name("jail.py")
_CHUNK = 1 << 16
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class ScriptResult:
    """What a script did.

    Attributes:
        exit_code: Its own, or None when it was refused or killed.
        isolated: Whether it ran without network and outside the machine's process list.
        refused: Why it did not run at all, or empty.
        ended_by: `itself`, `timeout`, `output` or `refusal`.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    isolated: bool
    refused: str
    ended_by: str
    seconds: float


def run_script(
    call: ScriptCall, contents: Mapping[str, bytes], rules: ScriptRules, *, clock: Clock = SYSTEM
) -> ScriptResult:
    """Run the script in a fresh copy of the skill's folder and clean up whatever it started.

    Args:
        call: The exact call; whether it may run was decided before.
        contents: Every file of the skill by path.
        rules: Limits and environment.
        clock: Measures the time limit.
    """
    prefix = interpreter(call.script, contents.get(call.script, b"")[:80])
    if call.script not in contents or prefix is None:
        return _refusal(f"{call.skill!r} has no runnable script {call.script!r}.")
    folder = Path(tempfile.mkdtemp(prefix="plumbgraph-skill-"))
    try:
        _lay_out(folder / "skill", contents)
        (folder / "tmp").mkdir()
        script = str(folder / "skill" / call.script)
        return _run([*prefix, script, *call.arguments], folder, rules, clock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_out(root: Path, contents: Mapping[str, bytes]) -> None:
    for path, data in contents.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if data.startswith(b"#!"):
            target.chmod(0o700)


def _environment(folder: Path, rules: ScriptRules) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **rules.env,
    }


def _run(command: Sequence[str], folder: Path, rules: ScriptRules, clock: Clock) -> ScriptResult:
    read, write = os.pipe()
    policy = "open" if rules.without_isolation else "closed"
    cpu = max(1, round(rules.timeout_s) + 1)
    jail = [sys.executable, "-I", "-S", str(_JAIL), str(write), policy]
    started = clock.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - argv without a shell; the call was approved
            [*jail, str(rules.memory_bytes), str(cpu), "--", *command],
            cwd=folder / "skill",
            env=_environment(folder, rules),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(write,),
            start_new_session=True,
        )
    finally:
        os.close(write)
    try:
        with process:
            out, err, ended_by = _collect(process, rules, started, clock)
    finally:
        _kill(process)
        with os.fdopen(read, "rb") as status:
            said = status.read(4096).decode("utf-8", "replace").strip()
    seconds = clock.monotonic() - started
    if said.startswith("refused") or not said:
        return _refusal(said.removeprefix("refused: ") or "the sandbox did not start")
    code = process.returncode if ended_by == "itself" else None
    return ScriptResult(code, out, err, said == "isolated", "", ended_by, seconds)


def _collect(
    process: subprocess.Popen[bytes], rules: ScriptRules, started: float, clock: Clock
) -> tuple[str, str, str]:
    """Output until both ends close, the time is up or the output is too much."""
    assert process.stdout is not None
    assert process.stderr is not None
    kept = {process.stdout: bytearray(), process.stderr: bytearray()}
    ended_by = "itself"
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and ended_by == "itself":
            left = rules.timeout_s - (clock.monotonic() - started)
            if left <= 0:
                ended_by = "timeout"
                break
            for key, _ in selector.select(min(left, 1.0)):
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                kept[key.fileobj] += chunk  # type: ignore[index]
            if sum(map(len, kept.values())) > rules.max_output_bytes:
                ended_by = "output"
    if ended_by == "itself" and not _ended(
        process, rules.timeout_s - (clock.monotonic() - started)
    ):
        ended_by = "timeout"
    _kill(process)
    texts = [_text(bytes(data), rules.max_output_bytes) for data in kept.values()]
    return texts[0], texts[1], ended_by


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group; with namespaces that ends what left the group as well."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)


def _text(data: bytes, limit: int) -> str:
    text = data[:limit].decode("utf-8", "replace")
    return text if len(data) <= limit else f"{text}\n[cut at {limit} bytes]"


def _refusal(why: str) -> ScriptResult:
    return ScriptResult(None, "", "", isolated=False, refused=why, ended_by="refusal", seconds=0.0)

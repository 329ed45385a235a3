"""Scripts: off by default, asked for exactly, and cut off from everything."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.skills import sandbox
from plumbgraph.skills.sandbox import ScriptResult, run_script
from plumbgraph.skills.scripts import ScriptCall, ScriptRules, approval_request, approved, decide

ALLOW = ScriptRules(mode="allow")


def script(
    code: str, *arguments: str, rules: ScriptRules = ALLOW, name: str = "a.py"
) -> ScriptResult:
    call = ScriptCall("s", "d" * 64, f"scripts/{name}", arguments)
    files = {f"scripts/{name}": code.encode(), "scripts/own.py": b"VALUE = 7", "SKILL.md": b""}
    return run_script(call, files, rules)


def test_runs_in_a_copy_with_literal_arguments() -> None:
    code = "import sys, os, own; open('new', 'w'); print(sys.argv[1:], own.VALUE, os.listdir())"
    result = script(code, "a b", "$HOME; rm -rf /", "`id`")
    assert result.exit_code == 0, result
    assert result.isolated
    assert "['a b', '$HOME; rm -rf /', '`id`'] 7" in result.stdout
    assert "SKILL.md" in result.stdout


def test_no_secret_of_the_environment_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRET")
    code = """
import os, glob
print(dict(os.environ))
for path in glob.glob('/proc/*/environ'):
    try: print(open(path).read())
    except OSError as e: print(e)
"""
    result = script(code)
    assert result.exit_code == 0, result
    assert "SECRET" not in result.stdout + result.stderr
    assert (
        script(
            "import os; print(os.environ['X'])", rules=ScriptRules(mode="allow", env={"X": "y"})
        ).stdout
        == "y\n"
    )


def test_there_is_no_network() -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 80), 1)"
    result = script(code)
    assert result.exit_code == 1
    assert "Network is unreachable" in result.stderr


def test_it_sees_no_other_process() -> None:
    result = script(
        "import os; print(os.getpid(), [p for p in os.listdir('/proc') if p.isdigit()])"
    )
    assert result.stdout.startswith("1 ")
    assert str(os.getpid()) not in result.stdout.replace("1 ", "", 1)


def test_time_and_output_are_limited() -> None:
    slow = script("import time; time.sleep(60)", rules=ScriptRules(mode="allow", timeout_s=0.5))
    assert (slow.ended_by, slow.exit_code) == ("timeout", None)
    loud = script(
        "while True: print('x' * 1000)", rules=ScriptRules(mode="allow", max_output_bytes=5_000)
    )
    assert loud.ended_by == "output"
    assert len(loud.stdout) < 5_100
    fat = script("x = bytearray(1 << 30)", rules=ScriptRules(mode="allow", memory_bytes=300 << 20))
    assert "MemoryError" in fat.stderr


def test_what_it_started_dies_with_it(tmp_path: Path) -> None:
    mark = f"plumb-orphan-{os.getpid()}"
    code = f"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (0, 1, 2): os.close(fd)
        os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)', '{mark}'])
    os._exit(0)
print('parent done')
"""
    assert script(code).stdout == "parent done\n"
    deadline = time.monotonic() + 5
    while (left := _with(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _with(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(str(path))
        except OSError:
            continue
    return found


def test_shell_and_shebang_scripts() -> None:
    assert script("echo $1", "hi; id", name="a.sh").stdout == "hi; id\n"
    assert script("#!/bin/sh\necho ran", name="tool").stdout == "ran\n"
    assert "no runnable script" in script("x", name="a.exe").refused


def test_refused_where_the_network_cannot_be_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jail = tmp_path / "jail.py"
    text = sandbox._JAIL.read_text().replace('sys.platform != "linux"', "True", 1)
    jail.write_text(text)
    monkeypatch.setattr(sandbox, "_JAIL", jail)
    result = script("print('ran')")
    assert result.exit_code is None
    assert "network namespaces" in result.refused
    open_rules = ScriptRules(mode="allow", without_isolation=True)
    allowed = script("print('ran')", rules=open_rules)
    assert allowed.stdout == "ran\n"
    assert not allowed.isolated


CALL = ScriptCall("s", "d" * 64, "scripts/a.py", ("x",))


@dataclass
class Says:
    verdict: str
    allowed: bool = False
    rule: str = "managed.tools"
    reason: str = "The operator says so."

    def tool(self, name: str, arguments: Any = None) -> Says:
        assert name == "skill:s/scripts/a.py"
        return self


def test_decisions() -> None:
    assert decide(CALL, ScriptRules()).action == "refuse"
    assert decide(CALL, ScriptRules(mode="ask")).action == "ask"
    assert decide(CALL, ScriptRules(mode="ask", trusted=frozenset({CALL.digest}))).action == "run"
    assert decide(CALL, ALLOW).action == "run"
    assert decide(CALL, ALLOW, Says("deny")).action == "refuse"
    assert decide(CALL, ALLOW, Says("approve")).action == "ask"
    assert decide(CALL, ALLOW, Says("allow", allowed=True)).action == "run"
    assert decide(CALL, ScriptRules(), Says("allow", allowed=True)).action == "refuse"


@pytest.mark.parametrize(
    "path",
    ["../a.py", "/bin/sh", "scripts/../SKILL.md", "SKILL.md", "scripts//a.py", "scripts/a\0.py"],
)
def test_paths_outside_scripts_are_refused(path: str) -> None:
    assert decide(ScriptCall("s", "d", path, ()), ALLOW).action == "refuse"


def test_arguments_are_bounded() -> None:
    for arguments in (("x",) * 65, ("x" * 9_000,), ("a\0b",)):
        assert decide(ScriptCall("s", "d", "scripts/a.py", arguments), ALLOW).action == "refuse"


def test_an_approval_is_tied_to_digest_and_arguments() -> None:
    answer = approval_request(CALL)["answer"]
    assert approved(CALL, answer)
    for other in (
        ScriptCall("s", "e" * 64, "scripts/a.py", ("x",)),
        ScriptCall("s", "d" * 64, "scripts/a.py", ("y",)),
        ScriptCall("s", "d" * 64, "scripts/b.py", ("x",)),
    ):
        assert not approved(other, answer)
    for bad in (True, "yes", None, {"approve": True}, {**answer, "approve": "yes"}):
        assert not approved(CALL, bad)
    assert sys.executable

"""The series of trials: a process of its own forks the runs, kills them and judges."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from plumbgraph.errors import PlumbError, SettingsError
from plumbgraph.testing.crash import child
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.testing.crash.oracle import effects, facts_of, run_again
from plumbgraph.testing.crash.target import load
from plumbgraph.testing.crash.values import Kill, Report, Setting, Trial, kills_of

_RUNS = 12
_LOOK_S = 0.002


def crashtest(setting: Setting) -> Report:
    """Run a series and judge it.

    The series runs in a process of its own, which imports the graph once and forks every run:
    threads and connections of the caller are not in the way.

    Raises:
        SettingsError: The graph cannot be loaded, or does not even run when nobody kills it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "plumbgraph.testing.crash.run"],
        input=setting.to_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SettingsError(f"The crash test did not run: {done.stderr[-2000:]}") from None
    if "error" in told:
        raise SettingsError(told["error"])
    trials = [Trial(**each) for each in told["trials"]]
    return Report(setting, trials, told["reference"], told["unharmed"])


def series(setting: Setting) -> Report:
    """Run a series in this process, which should have no threads."""
    target = load(setting.graph)
    home = Path(tempfile.mkdtemp(prefix="crashtest-"))
    try:
        reference = _reference(target, setting, home / "reference")
        report = Report(setting, reference=reference)
        for number in range(setting.first, setting.first + setting.kills):
            trial = _Trial(target, setting, home / str(number), number, reference).run()
            report.trials.append(trial)
            report.unharmed += not trial.kills
        return report
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _reference(target: Any, setting: Setting, home: Path) -> dict[str, Any]:
    """What the graph does when nobody kills it, and how long that takes."""
    with _schema(setting) as schema:
        home.mkdir()
        begun = time.monotonic()
        _wait([child.fork(target, setting, home, schema, None)], setting.timeout_s)
        took = time.monotonic() - begun
        results = _results(home)
        if not results or results[0]["failed"] or results[0]["messages_invalid"]:
            why = results[0]["failed"] or results[0]["messages_invalid"] if results else "no end"
            raise SettingsError(f"The graph does not run even unharmed: {why}")
        return {
            "seen": results[0]["seen"],
            "took_s": took,
            "ledger": Ledger(home / "ledger").lines(),
            "files": facts_of(home / "work"),
        }


class _Trial:
    """One thread from its first run to its end, with kills in between."""

    def __init__(
        self, target: Any, setting: Setting, home: Path, number: int, reference: dict[str, Any]
    ) -> None:
        self._target = target
        self._setting = setting
        self._home = home
        self._reference = reference
        self._trial = Trial(number)

    def run(self) -> Trial:
        self._home.mkdir()
        with _schema(self._setting) as schema:
            kills = kills_of(self._setting, self._trial.number, self._reference["seen"])
            for kill in [*kills, *[None] * _RUNS]:
                both = self._setting.double_resume and self._trial.runs > 0
                if self._once(schema, kill, 2 if both else 1):
                    break
            else:
                self._trial.failed = f"no end after {self._trial.runs} runs"
        self._judge()
        shutil.rmtree(self._home, ignore_errors=True)
        return self._trial

    def _once(self, schema: str, kill: Kill | None, processes: int) -> bool:
        """One run (or two at once); whether the graph came to its end."""
        self._trial.runs += 1
        for old in self._home.glob("result-*.json"):
            old.unlink()
        pids = [
            child.fork(self._target, self._setting, self._home, schema, kill)
            for _ in range(processes)
        ]
        after = kill.share * self._reference["took_s"] if kill and kill.point == "random" else None
        killed = _wait(pids, self._setting.timeout_s, after)
        if killed:
            assert kill is not None
            self._trial.kills.append(f"{kill.point}#{kill.nth}@{kill.share:.2f}")
        return self._ended(_results(self._home), alone=processes == 1)

    def _ended(self, results: list[dict[str, Any]], *, alone: bool) -> bool:
        for result in results:
            self._trial.asked += result["asked"]
            self._trial.asked_in_vain += result["asked_in_vain"]
            self._trial.asked_outside += result["asked_outside"]
            # One of two that resume at once is refused, and that is right.
            if result["failed"] and alone:
                self._trial.failed = result["failed"]
                return True
        ends = [result for result in results if not result["failed"]]
        if not ends:
            return False
        self._trial.messages_invalid = ends[0]["messages_invalid"]
        return True

    def _judge(self) -> None:
        ledger = Ledger(self._home / "ledger")
        expected = Counter(self._reference["ledger"])
        self._trial.doubled, self._trial.missing = effects(expected, ledger.counts())
        self._trial.again = run_again(ledger.lines())
        self._trial.files_differ = facts_of(self._home / "work") != self._reference["files"]


def _wait(pids: list[int], timeout_s: float, kill_after_s: float | None = None) -> bool:
    """Wait for children, killing them when it is time; whether any was killed."""
    begun = time.monotonic()
    left, killed = list(pids), False
    while left:
        for pid in list(left):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                left.remove(pid)
                killed |= os.WIFSIGNALED(status)
        passed = time.monotonic() - begun
        due = kill_after_s is not None and passed >= kill_after_s
        if left and (due or passed > timeout_s):
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            if not due:
                raise PlumbError(f"A run did not end within {timeout_s:g} s.")
        time.sleep(_LOOK_S)
    return killed


def _results(home: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(home.glob("result-*.json"))]


@contextlib.contextmanager
def _schema(setting: Setting) -> Any:
    name = f"crash_{secrets.token_hex(6)}"
    with psycopg.connect(setting.database, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    try:
        yield name
    finally:
        with psycopg.connect(setting.database, autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(f'DROP SCHEMA "{name}" CASCADE')


def main() -> None:
    """Read a setting from standard input, write the report to standard output."""
    setting = Setting.from_json(sys.stdin.read())
    try:
        report = series(setting)
    except PlumbError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return
    told = {
        "trials": [asdict(trial) for trial in report.trials],
        "reference": report.reference,
        "unharmed": report.unharmed,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

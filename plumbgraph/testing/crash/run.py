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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from plumbgraph.errors import PlumbError, SettingsError
from plumbgraph.testing.crash import child
from plumbgraph.testing.crash.ledger import Ledger
from plumbgraph.testing.crash.oracle import effects, facts_of, run_again, torn
from plumbgraph.testing.crash.server import Restart, restartable
from plumbgraph.testing.crash.target import load
from plumbgraph.testing.crash.values import RESTART, Kill, Report, Setting, Trial, kills_of

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
        with restartable(setting, home / "servers") as (used, restart):
            reference = _reference(target, used, home / "reference")
            report = Report(setting, reference=reference)
            for number in range(setting.first, setting.first + setting.kills):
                place = _Place(target, used, home / str(number), reference, restart)
                trial = _Trial(place, number).run()
                report.trials.append(trial)
                report.unharmed += not trial.kills and not trial.restarts
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


@dataclass(frozen=True, slots=True)
class _Place:
    """What a trial works with."""

    target: Any
    setting: Setting
    home: Path
    reference: dict[str, Any]
    restart: Restart | None


class _Trial:
    """One thread from its first run to its end, with kills in between."""

    def __init__(self, place: _Place, number: int) -> None:
        self._place = place
        self._setting = place.setting
        self._home = place.home
        self._reference = place.reference
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
            child.fork(self._place.target, self._setting, self._home, schema, kill)
            for _ in range(processes)
        ]
        after = kill.share * self._reference["took_s"] if kill and kill.timed else None
        restart = self._place.restart if kill and kill.point == RESTART else None
        harm = _wait(pids, self._setting.timeout_s, after, restart)
        if harm == "killed":
            self._trial.kills.append(str(kill))
        self._trial.restarts += harm == "restarted"
        # A run that lost its server may fail, and so may one of two that resume at once.
        return self._ended(_results(self._home), fails=processes > 1 or harm == "restarted")

    def _ended(self, results: list[dict[str, Any]], *, fails: bool) -> bool:
        for result in results:
            self._trial.asked += result["asked"]
            self._trial.asked_in_vain += result["asked_in_vain"]
            self._trial.asked_outside += result["asked_outside"]
            if result["failed"] and not fails:
                self._trial.failed = result["failed"]
                return True
        ends = [result for result in results if not result["failed"]]
        if not ends:
            # Both of two may be refused while the claim of a killed one still stands.
            time.sleep(child.CLAIM_S / 4 if results and fails else 0)
            return False
        self._trial.messages_invalid = ends[0]["messages_invalid"]
        return True

    def _judge(self) -> None:
        ledger = Ledger(self._home / "ledger")
        expected = Counter(self._reference["ledger"])
        self._trial.doubled, self._trial.missing = effects(expected, ledger.counts())
        self._trial.again = run_again(ledger.lines())
        self._trial.torn = torn(ledger.lines())
        self._trial.files_differ = facts_of(self._home / "work") != self._reference["files"]


def _wait(
    pids: list[int],
    timeout_s: float,
    after_s: float | None = None,
    restart: Restart | None = None,
) -> Literal["", "killed", "restarted"]:
    """Wait for children, killing them or restarting their server when it is time; what was done."""
    begun = time.monotonic()
    left = list(pids)
    done: Literal["", "killed", "restarted"] = ""
    while left:
        for pid in list(left):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                left.remove(pid)
                done = "killed" if os.WIFSIGNALED(status) else done
        passed = time.monotonic() - begun
        if left and passed > timeout_s:
            _kill(left)
            raise PlumbError(f"A run did not end within {timeout_s:g} s.")
        if left and after_s is not None and passed >= after_s:
            after_s = None
            done = _harm(left, restart)
        time.sleep(_LOOK_S)
    return done


def _harm(pids: list[int], restart: Restart | None) -> Literal["", "restarted"]:
    if restart is None:
        _kill(pids)
        return ""
    try:
        restart()
    except BaseException:
        _kill(pids)
        raise
    return "restarted"


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


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

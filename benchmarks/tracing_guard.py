"""Loop detection on real tool-using trajectories: false alarms, polling, cycles, drift."""

from __future__ import annotations

import argparse
import gzip
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import machine, median, print_table, write_json
from plumbgraph.tracing.loops import Call, Rules, examine, fingerprint

Detector = Callable[[Sequence[Call]], bool]
WITHIN = 12


def trajectories(folder: Path) -> list[list[Call]]:
    """The tool calls of each recorded run."""
    with gzip.open(folder / "loops" / "tau_airline_gpt4o.json.gz", "rt") as file:
        runs = json.load(file)
    return [calls for calls in (list(_calls(run["traj"])) for run in runs) if calls]


def _calls(messages: Sequence[dict[str, Any]]) -> Iterator[Call]:
    asked = {}
    for message in messages:
        for call in message.get("tool_calls") or []:
            asked[call["id"]] = call["function"]
        if message["role"] == "tool":
            made = asked.get(message["tool_call_id"], {"name": "tool", "arguments": "{}"})
            text = message["content"] or ""
            yield Call(made["name"], _args(made["arguments"]), text, text.startswith("Error"))


def _args(text: str) -> dict[str, Any]:
    try:
        args: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return {"text": text}
    return args


def ours(calls: Sequence[Call]) -> bool:
    """Call and result together, in windows of calls without news."""
    return examine([fingerprint(call) for call in calls], Rules()) is not None


def _asked(call: Call) -> str:
    return json.dumps([call.name, call.args], sort_keys=True, default=str)


def deerflow_like(calls: Sequence[Call]) -> bool:
    """The same call five times among the last twenty, results not looked at."""
    counts = Counter(map(_asked, calls[-20:]))
    return max(counts.values(), default=0) >= 5


def gemini_like(calls: Sequence[Call]) -> bool:
    """A cycle of up to five calls, five times over, results not looked at."""
    keys = [_asked(call) for call in calls]
    return any(
        len(keys) >= 5 * period
        and all(keys[-index] == keys[-index - period] for index in range(1, 4 * period + 1))
        for period in range(1, 6)
    )


def openhands_like(calls: Sequence[Call]) -> bool:
    """Four equal (call, result) pairs, or two that alternate over six."""
    keys = [(_asked(call), call.result) for call in calls]
    same = len(keys) >= 4 and len(set(keys[-4:])) == 1
    alternating = len(keys) >= 6 and keys[-6:-4] == keys[-4:-2] == keys[-2:]
    return same or alternating


DETECTORS: dict[str, Detector] = {
    "plumbgraph": ours,
    "DeerFlow-like": deerflow_like,
    "Gemini-like": gemini_like,
    "OpenHands-like": openhands_like,
}


def first_alarm(detect: Detector, before: Sequence[Call], after: Sequence[Call]) -> int | None:
    """How many calls of `after` it took."""
    for count in range(1, len(after) + 1):
        if detect([*before, *after[:count]]):
            return count
    return None


def _cycle(run: Sequence[Call], period: int) -> list[Call]:
    """The run's last calls as a loop that has not been seen before."""
    tail = run[-period:]
    return [Call(c.name, {**c.args, "again": "yes"}, c.result, c.failed) for c in tail] * 12


def _drift(run: Sequence[Call], seed: random.Random) -> list[Call]:
    last = run[-1]
    nonce = (uuid.UUID(int=seed.getrandbits(128)).hex[:8] for _ in range(WITHIN))
    return [Call(last.name, {**last.args, "nonce": each}, last.result) for each in nonce]


def _polls(run: Sequence[Call]) -> list[Call]:
    last = run[-1]
    return [Call(last.name, last.args, f"{last.result} {turn}") for turn in range(20)]


def _recall(detect: Detector, cases: Sequence[tuple[list[Call], list[Call]]]) -> dict[str, Any]:
    found = [first_alarm(detect, before, after[:WITHIN]) for before, after in cases]
    hits = [count for count in found if count]
    return {"recall": len(hits) / len(found), "median_calls": median(hits) if hits else None}


def measure(runs: list[list[Call]], detect: Detector) -> dict[str, Any]:
    """Every figure of one detector."""
    seed = random.Random(7)
    row: dict[str, Any] = {
        "false alarms": sum(first_alarm(detect, [], run) is not None for run in runs),
        "polls stopped": sum(first_alarm(detect, run, _polls(run)) is not None for run in runs),
    }
    for period in range(1, 9):
        cases = [(run, _cycle(run, period)) for run in runs if len(run) >= period]
        row[f"k={period}"] = round(_recall(detect, cases)["recall"], 3)
    row["drift"] = round(_recall(detect, [(run, _drift(run, seed)) for run in runs])["recall"], 3)
    return row


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of public data sets")
    runs = trajectories(parser.parse_args(argv).data)
    rows = [{"detector": name, **measure(runs, detect)} for name, detect in DETECTORS.items()]
    title = f"Loops: {len(runs)} tau-bench airline runs; recall within {WITHIN} calls"
    print_table(title, rows)
    payload = {"machine": machine("langgraph"), "runs": len(runs), "rows": rows}
    write_json("tracing_guard", payload)
    return payload


if __name__ == "__main__":
    main()

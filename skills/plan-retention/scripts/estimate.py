#!/usr/bin/env python3
"""Estimate the storage of checkpoints over time, for two kinds of saver.

Usage: estimate.py --threads-per-day N --steps N [--new-kb KB] [--state-kb KB] [--days D]
                   [--overhead 1.4]

`whole` writes the full state at every step; its mean over a thread is half of the final state.
`delta` writes each new element once and a small list of references for each step.
"""

from __future__ import annotations

import argparse

_REFERENCES_KB = 0.6
_UNITS = ("KB", "MB", "GB", "TB")


def shown(kilobytes: float) -> str:
    """A size with a fitting unit."""
    for unit in _UNITS:
        if kilobytes < 1024 or unit == _UNITS[-1]:  # noqa: PLR2004 - a unit's size
            return f"{kilobytes:.1f} {unit}"
        kilobytes /= 1024
    return ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads-per-day", type=float, required=True)
    parser.add_argument("--steps", type=float, required=True)
    parser.add_argument("--new-kb", type=float, default=2.0)
    parser.add_argument("--state-kb", type=float, default=0.0)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--overhead", type=float, default=1.4)
    given = parser.parse_args()
    if min(given.threads_per_day, given.steps, given.days, given.overhead) <= 0:
        parser.error("numbers must be above zero")
    final = given.state_kb or given.steps * given.new_kb
    per_thread = {
        "whole": given.steps * (final / 2) * given.overhead,
        "delta": (final + given.steps * _REFERENCES_KB) * given.overhead,
    }
    print("saver  a thread    a day       kept")
    for name, size in per_thread.items():
        day = size * given.threads_per_day
        print(f"{name:6} {shown(size):>10}  {shown(day):>10}  {shown(day * given.days):>10}")
    ratio = per_thread["whole"] / per_thread["delta"]
    print(f"whole / delta = {ratio:.1f}")
    print("retention problem" if ratio < 3 else "saver problem: write less before deleting more")  # noqa: PLR2004 - a rule of thumb


if __name__ == "__main__":
    main()

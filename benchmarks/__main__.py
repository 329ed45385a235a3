"""`python -m benchmarks [NAME …] [--data FOLDER]`: run all benchmarks, or the named ones."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from benchmarks.setting import servers_up

HERE = Path(__file__).parent
PARTS = {"__init__", "__main__", "page", "setting", "tables"}


def names() -> list[str]:
    """Every benchmark that can be run by itself, by module name."""
    stems = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in PARTS)
    return [stem for stem in stems if "_" not in stem]


def main() -> int:
    """Run what was asked for; a benchmark that fails is named and the rest still run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"any of: {', '.join(names())}")
    parser.add_argument("--data", help="folder of public data sets, for the parts that use them")
    asked, rest = parser.parse_known_args()
    unknown = set(asked.names) - set(names())
    if unknown:
        parser.error(f"no benchmark named {sorted(unknown)}; there are: {', '.join(names())}")
    with servers_up():
        failed = [name for name in asked.names or names() if not _ran(name, asked.data, rest)]
    if failed:
        print(f"Failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _ran(name: str, data: str | None, rest: list[str]) -> bool:
    module = importlib.import_module(f"benchmarks.{name}")
    options = ["--data", data] if data and hasattr(module, "USES_DATA") else []
    print(f"== {name}", flush=True)
    try:
        module.main([*options, *rest])
    except Exception:  # noqa: BLE001 - one failing benchmark must not hide the rest
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())

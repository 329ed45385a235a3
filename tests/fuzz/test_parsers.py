"""Hostile input to every parser: only typed errors come out, quickly, in bounded memory."""

from __future__ import annotations

import json
import logging
import os
import sys
import tracemalloc
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).with_name("targets.py")


logging.getLogger("plumbgraph.skill").setLevel(logging.ERROR)  # says each time that it is down


def loaded() -> Any:
    spec = spec_from_file_location("fuzz_targets", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["fuzz_targets"] = module
    spec.loader.exec_module(module)
    return module


TARGETS: dict[str, Any] = loaded().TARGETS
EXAMPLES = int(os.environ.get("PLUMBGRAPH_FUZZ_EXAMPLES", "60"))
MOST_BYTES = 64 * 2**20

WORDS = [
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", "²".encode(), "٣".encode(), "İ".encode()),
    *(b"9" * 5000, b"1e999", b"-1", b"NaN", b"Infinity", b"0x", b"1.0", b"99999999999999999999"),
    *(b"null", b"true", b"[]", b"{}", b'""', b"[[", b"}}", b'"', b"'", b"\\", b"#", b"%zz"),
    *(b"../", b"/", b"//", b"~", b"\r\n", b"\n", b"\t", b"\xe2\x80\xae", b"\xef\xbb\xbf"),
    *(b"&a [*a, *a]", b"!!python/object/apply:os.system [x]", b"2020-99-99", b"<<: *x", b"? ["),
    *(b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\x28\xb5\x2f\xfd"),
]
NASTY: list[Any] = [
    *(None, True, -1, 2**70, 1e308, float("nan"), "", "\ud800", "../x", "x" * 300, [], {}, [[]]),
    *({"": None}, {"version": 2}, ["a", "f", -1, 0, ""], 253402300800 * 1000, -(2**40)),
]


@st.composite
def changed(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A valid input with some damage, or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = draw(st.sampled_from(seeds))
    if draw(st.booleans()) and (other := _other_value(draw, data)) is not None:
        return other
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 2, 8, len(data)]))
        data = data[:at] + draw(st.sampled_from(WORDS)) + data[at + gone :]
    return data


def _other_value(draw: st.DrawFn, data: bytes) -> bytes | None:
    """JSON in which one value became another."""
    lines = data.splitlines()
    try:
        trees = [json.loads(line) for line in lines]
    except ValueError:
        return None
    if not trees:
        return None
    number = draw(st.integers(0, len(trees) - 1))
    trees[number] = _replaced(draw, trees[number])
    return "\n".join(json.dumps(tree) for tree in trees).encode()


def _replaced(draw: st.DrawFn, tree: Any) -> Any:
    if isinstance(tree, dict) and tree and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(tree)))
        return {**tree, key: _replaced(draw, tree[key])}
    if isinstance(tree, list) and tree and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(tree) - 1))
        return [*tree[:at], _replaced(draw, tree[at]), *tree[at + 1 :]]
    return draw(st.sampled_from(NASTY))


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_are_valid(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TARGETS)
def test_only_typed_errors_come_out(name: str) -> None:
    target = TARGETS[name]

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    @given(changed(target.seeds))
    def fuzz(data: bytes) -> None:
        target(data)

    fuzz()


def bombs() -> dict[str, bytes]:
    """Small or middling inputs that are meant to cost much."""
    laughs = "a0: &a0 x\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    zeros = zstandard.ZstdCompressor().compress(bytes(2**31 - 2**20))
    return {
        "deep lists": b"[" * 200_000,
        "deep objects": b'{"a":' * 200_000,
        "deep YAML": b"a:\n" + b"".join(b" " * i + b"- \n" for i in range(2000)),
        "flow YAML": b"---\nname: " + b"[" * 100_000 + b"\n---\n",
        "laughs": b"---\n" + laughs.encode() + b"---\n",
        "many laughs": laughs.encode() + b"version: 1\ntools: {deny: *a11}\n",
        "a long line": b'{"v":1,' + b"x" * 20_000_000,
        "many lines": b"- x\n" * 20_000,
        "a long number": b'{"score": ' + b"1" * 1_000_000 + b"}",
        "zeros": b"\x01" + zeros,
        "a claimed length": b"\xdf\xff\xff\xff\xff",
        "msgpack that is deep": b"\x91" * 100_000,
        "many hashes": b"#" * 100_000,
        "many slashes": b"https://a/" + b"../" * 100_000,
        "many percents": b"https://a/" + b"%41" * 100_000,
        "spaces": b"---\nname:" + b" " * 200_000 + b"x\n---\n",
    }


BOMBS = bombs()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_bombs_are_refused_in_bounded_memory(name: str) -> None:
    for title, data in BOMBS.items():
        if title == "zeros" and TARGETS[name].sized:
            continue
        tracemalloc.start()
        try:
            TARGETS[name](data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST_BYTES + 40 * len(data), f"{title}: {peak / 2**20:.0f} MiB"


@pytest.mark.skipif(find_spec("atheris") is None, reason="pip install atheris")
@pytest.mark.parametrize("name", TARGETS)
def test_some_seconds_of_atheris(name: str) -> None:
    done = run(
        [sys.executable, str(SOURCE), name, "-max_total_time=10"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]

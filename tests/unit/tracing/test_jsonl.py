from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from plumbgraph.tracing import JsonLog, read_log
from plumbgraph.tracing.encode import MAX_LINE_BYTES, digest_of
from plumbgraph.tracing.reader import LogReader

WRITER = """
import sys
from plumbgraph.tracing import JsonLog
log = JsonLog(sys.argv[1], rotate_bytes=int(sys.argv[3]), keep=50)
for number in range(int(sys.argv[2])):
    log.write({"v": 1, "event": "test.line", "writer": sys.argv[4], "n": number, "pad": "x" * 300})
print("done", flush=True)
"""
ENDLESS = """
import sys
from plumbgraph.tracing import JsonLog
log = JsonLog(sys.argv[1])
number = 0
while True:
    log.write({"v": 1, "event": "test.line", "n": number})
    number += 1
    print(number, flush=True)
"""


def line(number: int, **more: Any) -> dict[str, Any]:
    return {"v": 1, "event": "test.line", "n": number, **more}


def numbers(path: Path) -> list[int]:
    return [record["n"] for record in read_log(path)]


def test_each_record_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    log = JsonLog(path)
    log.write(line(1))
    assert json.loads(path.read_text()) == line(1)
    assert path.stat().st_mode & 0o777 == 0o600
    log.close()


def test_every_acknowledged_line_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(200)][-1]
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.wait()
    child.stdout.close()
    acknowledged = max([acknowledged, *(int(word) for word in rest[:-1])])
    assert numbers(path)[:acknowledged] == list(range(acknowledged))


def test_two_processes_share_a_log_through_its_rotations(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    count = 1500
    children = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count), "100000", writer])
        for writer in "ab"
    ]
    assert [child.wait(60) for child in children] == [0, 0]
    assert (tmp_path / "run.jsonl.2").exists()
    for writer in "ab":
        mine = [record["n"] for record in read_log(path) if record["writer"] == writer]
        assert sorted(mine) == list(range(count))


def test_old_files_beyond_keep_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with JsonLog(path, rotate_bytes=2000, keep=2) as log:
        for number in range(200):
            log.write(line(number, pad="x" * 100))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "run.jsonl",
        "run.jsonl.1",
        "run.jsonl.2",
    ]
    kept = numbers(path)
    assert kept == list(range(kept[0], 200))


def test_a_log_moved_away_by_others_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with JsonLog(path, rotate_bytes=1000) as log:
        log.write(line(0))
        path.rename(tmp_path / "moved")
        for number in range(1, 60):
            log.write(line(number))
    assert numbers(path)[-1] == 59


def test_a_full_disk_is_counted_shown_and_reported_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.jsonl"
    path.symlink_to("/dev/full")
    log = JsonLog(path)
    for number in range(3):
        log.write(line(number))
    assert log.lost == 3
    assert caplog.text.count("ENOSPC") == 1
    log.close()
    path.unlink()
    log._retry_at = 0.0
    log.write(line(3))
    lost, kept = read_log(path)
    assert (lost["event"], lost["count"], kept["n"]) == ("trace.lost", 3, 3)
    log.close()


def test_an_unwritable_path_costs_lines_and_never_raises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    log = JsonLog(blocker / "run.jsonl")
    log.write(line(1))
    assert log.lost == 1
    assert "cannot write the event log" in caplog.text


def test_a_line_cut_by_a_crash_waits_and_a_torn_one_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"v":1,"event":"a","n":0}\n{"v":1,"eve{"v":1,"n":1}\ngarbage\n{"v":1,"n')
    reader = LogReader(path)
    assert [record["n"] for record in reader.read()] == [0, 1]
    assert reader.torn == 2
    assert reader.unfinished
    with path.open("ab") as file:
        file.write(b'":2}\n')
    assert [record["n"] for record in reader.read()] == [2]
    assert not reader.unfinished


def test_newer_versions_are_handed_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"v":9,"event":"later","n":1,"unheard":[1]}\n')
    reader = LogReader(path)
    assert [record["unheard"] for record in reader.read()] == [[1]]
    assert reader.newer == 1


def test_reading_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no event log"):
        list(read_log(tmp_path / "none.jsonl"))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        b"\x00\xff" * 10,
        "\udc80 lone surrogate",
        {1: {"deep": {None: 2}}},
        {3, 4},
        object(),
        "x" * 5_000_000,
        ["y" * 4000] * 500,
        list(range(100_000)),
    ],
)
def test_any_value_becomes_one_bounded_valid_line(tmp_path: Path, value: object) -> None:
    path = tmp_path / "run.jsonl"
    with JsonLog(path) as log:
        log.write(line(1, value=value))
    data = path.read_bytes()
    assert len(data) <= MAX_LINE_BYTES
    assert data.count(b"\n") == 1
    assert json.loads(data)["n"] == 1


def test_a_cyclic_value_does_not_raise(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with JsonLog(tmp_path / "run.jsonl") as log:
        log.write(line(1, value=loop))
        assert log.lost == 0


def test_digests_ignore_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


async def test_writing_and_rotating_in_an_event_loop_does_not_block_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.jsonl"
    log = JsonLog(path, rotate_bytes=2000, keep=90)
    with blockbuster_ctx():
        for number in range(100):
            log.write(line(number, pad="x" * 100))
            await asyncio.sleep(0)
    await asyncio.to_thread(wait_for, Path(f"{path}.1"))
    assert await asyncio.to_thread(numbers, path) == list(range(100))
    log.close()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists()

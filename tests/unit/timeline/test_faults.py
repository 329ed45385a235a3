from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from plumbgraph.testing import (
    faults_crash,  # noqa: F401 - it registers its faults
    faults_domains,  # noqa: F401 - it registers its faults
    faults_rough,  # noqa: F401 - it registers its faults
)
from plumbgraph.testing.faults import FAULTS, Fault, Stage
from plumbgraph.timeline import Timeline
from plumbgraph.timeline.text import lines

EVERY = sorted(FAULTS)


@pytest.fixture(scope="module")
def one_schema() -> str:
    return f"t_{secrets.token_hex(6)}"


@pytest.fixture
def stage(tmp_path: Path, postgres_url: str, one_schema: str, redis_url: str) -> Stage:
    return Stage(tmp_path, postgres_url, one_schema, redis_url, secrets.token_hex(4))


def told(fault: Fault, timeline: Timeline) -> tuple[str, int]:
    assert timeline.verdict.text
    first = next(iter(lines(timeline)))
    assert first.startswith(fault.code)
    return timeline.verdict.code, timeline.verdict.step


@pytest.mark.parametrize("name", EVERY)
def test_the_verdict_names_the_fault_and_its_step(stage: Stage, name: str) -> None:
    fault = FAULTS[name]
    fault.play(stage)
    try:
        every = Timeline.load(stage.thread_id, sources=[stage.saver], log=stage.log)
        assert told(fault, every) == (fault.code, fault.step)
        if fault.log_only:
            alone = Timeline.load(stage.thread_id, log=stage.log)
            assert told(fault, alone) == (fault.code, fault.step)
    finally:
        stage.saver.close()


def test_there_are_thirty_of_them() -> None:
    assert len(FAULTS) >= 30
    assert len({fault.code for fault in FAULTS.values()}) >= 12

"""A real cluster: three primaries with a replica each, started and stopped by the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plumbgraph.testing.cluster import ValkeyCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ValkeyCluster]:
    with ValkeyCluster(tmp_path) as made:
        yield made

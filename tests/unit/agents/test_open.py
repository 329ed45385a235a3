from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plumbgraph.agents.open import open as opened
from plumbgraph.errors import SettingsError, StoreUnavailable


@pytest.fixture
def given(
    postgres_url: str, redis_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    monkeypatch.setenv("PLUMBGRAPH_SCHEMA", schema)
    return {"postgres_url": postgres_url, "redis_url": redis_url}


def test_nothing_happens_before_the_first_use(tmp_path: Path) -> None:
    plumbing = opened(tmp_path / "home")
    assert "not started" in repr(plumbing)
    assert str(tmp_path / "home") in repr(plumbing)
    plumbing.close()
    assert not (tmp_path / "home").exists()


def test_the_store_works_and_is_closed_at_the_end(given: dict[str, Any]) -> None:
    with opened(**given) as plumbing:
        plumbing.store.put(("people",), "ann", {"city": "Portland"})
        item = plumbing.store.get(("people",), "ann")
        assert item is not None
        assert item.value == {"city": "Portland"}
        assert plumbing.store is plumbing.store
    plumbing.close()
    assert "not started" in repr(plumbing)


async def test_in_a_loop_it_starts_and_stops_without_blocking(given: dict[str, Any]) -> None:
    async with opened(**given) as plumbing:
        await plumbing.store.aput(("people",), "bob", {"city": "Ghent"})
        item = await plumbing.store.aget(("people",), "bob")
        assert item is not None
    await plumbing.aclose()


def test_it_opens_again_after_it_was_closed(given: dict[str, Any]) -> None:
    plumbing = opened(**given)
    for _ in range(2):
        plumbing.store.put(("n",), "k", {"x": 1})
        plumbing.close()


def test_it_says_where_the_data_lives_and_never_a_password() -> None:
    plumbing = opened(
        postgres_url="postgresql://ann:secret@db.example:5432/x", redis_url="redis://:secret@r:6379"
    )
    for shown in (repr(plumbing), plumbing._repr_html_()):
        assert "db.example" in shown
        assert "secret" not in shown
        assert "delete the folder" not in shown


def test_keep_is_said(tmp_path: Path) -> None:
    assert "plumbgraph down" in repr(opened(tmp_path, keep=True))
    assert "soon after" in repr(opened(tmp_path))


def test_a_wrong_url_and_a_dead_server_are_told_at_first_use() -> None:
    with pytest.raises(SettingsError, match="POSTGRES_URL"):
        _ = opened(postgres_url="mysql://x").store
    plumbing = opened(postgres_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1")
    with pytest.raises(StoreUnavailable):
        _ = plumbing.store
    with pytest.raises(StoreUnavailable):
        asyncio.run(plumbing.__aenter__())

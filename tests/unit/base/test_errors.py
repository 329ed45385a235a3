from __future__ import annotations

import pickle

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from plumbgraph import errors
from plumbgraph.errors import PlumbError


def every_error() -> list[type[PlumbError]]:
    found, queue = [], [PlumbError]
    while queue:
        cls = queue.pop()
        found.append(cls)
        queue.extend(cls.__subclasses__())
    return found


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_errors_are_picklable_with_their_facts(cls: type[PlumbError]) -> None:
    error = cls("It went wrong.", thread_id="t1", found=3)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error)
    assert again.thread_id == "t1"
    assert again.facts == error.facts
    assert again.hint == error.hint


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_errors_survive_langgraphs_serializer(cls: type[PlumbError]) -> None:
    serde = JsonPlusSerializer()
    text = serde.loads_typed(serde.dumps_typed(cls("It went wrong.", thread_id="t1")))
    assert "It went wrong." in str(text)


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_has_a_code_and_a_next_step(cls: type[PlumbError]) -> None:
    error = cls("x")
    assert "." in error.code
    assert error.hint.endswith((".", "'"))


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in every_error()]
    assert len(codes) == len(set(codes))


def test_an_unknown_fact_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'thread_id'"):
        _ = errors.StaleWriter("x").thread_id


def test_the_expected_builtin_catches_it() -> None:
    with pytest.raises(ConnectionError):
        raise errors.StoreUnavailable("x")
    with pytest.raises(PermissionError):
        raise errors.PolicyDenied("x")

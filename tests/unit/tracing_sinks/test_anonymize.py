from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from plumbgraph.tracing.anonymize import anonymized
from plumbgraph.tracing.redact import redact

LONG = "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8"
SECRETS = [
    f"sk-{LONG}",
    f"sk-ant-api03-{LONG}",
    f"sk-proj-{LONG}",
    f"sk_live_{LONG}",
    f"lsv2_pt_{LONG}_abc",
    f"ghp_{LONG}",
    f"github_pat_{LONG}",
    f"glpat-{LONG}",
    f"hf_{LONG}",
    f"npm_{LONG}",
    f"xoxb-1234567890-{LONG}",
    "AKIAIOSFODNN7EXAMPLE",
    f"AIza{LONG}",
    f"ya29.{LONG}",
    f"Bearer {LONG}",
    f"eyJhbGciOiJIUzI1NiJ9.{LONG}.{LONG}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{LONG}\n-----END RSA PRIVATE KEY-----",
    f"postgresql://ann:{LONG}@db.example/app",
    f"https://hooks.slack.com/services/{LONG}",
    f"API_KEY={LONG}",
    f'{{"password": "{LONG}"}}',
    f"client_secret: {LONG}",
    f"Authorization: {LONG}",
]


@dataclass
class Login:
    user: str
    password: str


class Note(BaseModel):
    text: str


def written(value: Any) -> str:
    return orjson.dumps(anonymized(value), option=orjson.OPT_NON_STR_KEYS).decode()


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_left_in_text_or_anywhere_in_a_payload(secret: str) -> None:
    told = f"here it is:\n{secret}\nplease"
    assert LONG not in redact(told)
    assert "IOSFODNN" not in redact(told)
    message = HumanMessage(told)
    payload = {
        "plain": told,
        told: 1,
        "messages": [message, dumpd(message), (told, {told})],
        "note": Note(text=told),
        "login": Login(told, "x"),
        "text": json.dumps({"inner": told}),
    }
    assert LONG not in written(payload)
    assert "IOSFODNN" not in written(payload)


def test_what_stands_under_a_telling_name_goes_as_a_whole() -> None:
    told = anonymized({"password": "hunter2", "openai_api_key": "abc", "input_tokens": 12})
    assert told == {"password": "[secret]", "openai_api_key": "[secret]", "input_tokens": 12}
    assert "hunter2" not in written(Login("ann", "hunter2"))


def test_harmless_text_stays_as_it_is() -> None:
    text = "The risk-assessment_of_the_task is a keystone; tokens: many. Mail goes at 3:30."
    assert redact(text) == text
    assert anonymized({"a": [text * 100, None, 1.5, True]}) == {"a": [text * 100, None, 1.5, True]}


def test_a_message_that_changes_is_written_anew() -> None:
    message = AIMessage("first")
    assert "first" in written([message])
    message.content = "second"
    assert "second" in written([message])
    message.usage_metadata = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    assert '"total_tokens":3' in written([message])


def test_values_that_json_does_not_know() -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError

    found = json.loads(written({"big": 2**70, "half": "\udc80", 3: {"x"}, "bytes": HumanMessage}))
    assert found["big"] == str(2**70)
    assert found["3"] == ["x"]
    assert json.loads(written([HumanMessage("\udc80 half")]))
    assert anonymized({"odd": Odd()})["odd"]

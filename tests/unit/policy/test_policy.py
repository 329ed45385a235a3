from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from plumbgraph.errors import PolicyDenied, SettingsError
from plumbgraph.policy import ModelFacts, Policy, Verdict, managed
from plumbgraph.policy.documents import parse_rules

SONNET = ModelFacts(name="anthropic:claude-sonnet-4-5", region="eu", tags=frozenset({"zdr"}))


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The managed file, named by the environment."""
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\n")
    monkeypatch.setenv(managed.ENVIRONMENT, str(path))
    monkeypatch.setattr(managed, "SYSTEM_PATH", tmp_path / "none" / "policy.yaml")
    return path


def test_without_rules_everything_is_allowed_and_no_rule_is_named(operator: Path) -> None:
    operator.unlink()
    operator.write_text("version: 1")
    decision = Policy().model(SONNET)
    assert (decision.verdict, decision.rule) == (Verdict.ALLOW, "default")


def test_a_managed_rule_wins_over_a_recommended_one(operator: Path) -> None:
    operator.write_text("version: 1\nmodels: {deny: ['openai:*']}\ntools: {approve: ['send_*']}")
    policy = Policy({"version": 1, "models": {"allow": ["*"]}, "tools": {"allow": ["*"]}})
    refused = policy.model(ModelFacts(name="openai:gpt-5"))
    assert refused.verdict is Verdict.DENY
    assert refused.rule == "managed.models.deny[0] 'openai:*'"
    assert refused.policy_digest == policy.digest
    assert policy.tool("send_mail").verdict is Verdict.APPROVE


def test_a_run_may_narrow_but_not_widen(operator: Path) -> None:
    operator.write_text("version: 1\nmodels: {allow: ['anthropic:*']}")
    policy = Policy({"version": 1, "models": {"allow": ["*haiku*", "openai:*"]}})
    assert policy.model(ModelFacts(name="anthropic:claude-haiku-4-5")).allowed
    assert policy.model(SONNET).rule.startswith("recommended.models.allow")
    assert policy.model(ModelFacts(name="openai:gpt-5")).rule.startswith("managed.models.allow")
    assert not policy.narrowed({"version": 1, "models": {"allow": []}}).model(SONNET).allowed


def test_data_classes_regions_tags_and_prices(operator: Path) -> None:
    operator.write_text(
        """
version: 1
models:
  max_output_usd_per_mtok: 20
  data_classes:
    personal: {regions: [eu], tags: [zdr]}
"""
    )
    policy = Policy()
    here = ModelFacts(name="a:b", region="eu", tags=frozenset({"zdr"}), output_usd_per_mtok=15)
    there = replace(here, region="us")
    assert policy.model(here, data_classes=["personal"]).allowed
    assert policy.model(there).allowed
    assert "personal.regions" in policy.model(there, data_classes=["personal"]).rule
    bare = replace(here, tags=frozenset())
    assert "personal.tags" in policy.model(bare, data_classes=["personal"]).rule
    unknown = policy.model(ModelFacts(name="a:b"))
    assert "unknown price" in unknown.reason
    assert not policy.model(ModelFacts(name="a:b", output_usd_per_mtok=25.0)).allowed


def test_declared_arguments_are_judged_as_addresses(operator: Path) -> None:
    operator.write_text(
        """
version: 1
tools: {url_arguments: {'fetch*': [url]}}
web: {URLBlocklist: ['*'], URLAllowlist: [docs.python.org]}
"""
    )
    policy = Policy()
    assert policy.tool("fetch_page", {"url": "https://docs.python.org/3/"}).allowed
    refused = policy.tool("fetch_page", {"url": ["https://docs.python.org", "http://evil.org"]})
    assert refused.rule == "managed.web.URLBlocklist[0] '*'"
    assert policy.tool("other", {"url": "http://evil.org"}).allowed
    assert not policy.tool("other", {"to": "http://evil.org"}, url_arguments=["to"]).allowed
    assert policy.tool("fetch_page", {"url": "not an address"}).rule == "web.unreadable"


def test_require_raises_with_the_rule(operator: Path) -> None:
    operator.write_text("version: 1\ntools: {deny: [shell]}")
    policy = Policy()
    with pytest.raises(PolicyDenied) as caught:
        policy.require(policy.tool("shell"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.rule == "managed.tools.deny[0] 'shell'"
    policy.require(policy.tool("other"))


def test_the_digest_names_the_rules_and_not_their_spelling(operator: Path) -> None:
    first = Policy().digest
    operator.write_text('{"version": 1, "tools": {}}')
    assert Policy().digest == first
    operator.write_text("version: 1\ntools: {deny: [x]}")
    assert Policy().digest != first


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("version: 1\nmodels: {denied: [x]}", "denied"),
        ("models: {}", "version"),
        ("version: 2", "version"),
        ("version: 1\ntools: {deny: shell}", "tools.deny"),
        ("version: 1\nweb: {URLBlocklist: ['*.x']}", "host"),
        ("{", "cannot be read"),
        ("- a", "not valid|cannot be read|dictionary"),
    ],
)
def test_a_policy_that_cannot_be_understood_stops_everything(
    operator: Path, text: str, word: str
) -> None:
    operator.write_text(text)
    with pytest.raises(SettingsError, match=word):
        Policy()


def test_a_missing_file_that_is_named_stops_everything(operator: Path) -> None:
    operator.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        Policy()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_refused(operator: Path, mode: int) -> None:
    operator.chmod(mode)
    with pytest.raises(SettingsError, match="group or others") as caught:
        Policy()
    assert "chmod go-w" in caught.value.hint


def test_a_folder_that_others_may_write_is_refused(operator: Path) -> None:
    operator.parent.chmod(0o777)
    with pytest.raises(SettingsError, match="group or others"):
        Policy()
    operator.parent.chmod(0o700)


def test_a_file_of_another_user_is_refused(operator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "SYSTEM_PATH", operator)
    monkeypatch.delenv(managed.ENVIRONMENT)
    me = operator.stat().st_uid
    with pytest.raises(SettingsError, match="belongs to user"):
        managed._read(operator, owners=(me + 1,))


def test_the_environment_does_not_displace_the_systems_file(
    operator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "SYSTEM_PATH", operator)
    monkeypatch.setenv(managed.ENVIRONMENT, str(tmp_path / "mine.yaml"))
    with pytest.raises(SettingsError, match="beside the managed"):
        Policy()


def test_a_relative_path_is_refused(operator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(managed.ENVIRONMENT, "policy.yaml")
    with pytest.raises(SettingsError, match="relative"):
        Policy()


def test_rules_from_a_mapping_and_from_text_are_equal() -> None:
    text = parse_rules("version: 1\nmodels: {allow: [a]}", source="text")
    assert text == parse_rules({"version": 1, "models": {"allow": ["a"]}}, source="mapping")

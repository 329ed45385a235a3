from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plumbgraph.policy import ModelFacts, ModelRules, Policy, Rules, ToolRules, Verdict, WebRules
from plumbgraph.policy.judge import Layer

NAMES = ["openai:a", "openai:b", "anthropic:a", "google:c"]
patterns = st.lists(st.sampled_from([*NAMES, "openai:*", "*:a", "*", "a"]), max_size=3).map(tuple)
models = st.builds(
    ModelRules,
    allow=st.none() | patterns,
    deny=patterns,
    regions=st.none() | st.lists(st.sampled_from(["eu", "us", "*"]), max_size=2).map(tuple),
    max_input_usd_per_mtok=st.none() | st.floats(0, 10),
)
tools = st.builds(ToolRules, allow=st.none() | patterns, deny=patterns, approve=patterns)
hosts = st.lists(st.sampled_from(["*", "a.b", ".a.b", "c.a.b/x", "http://a.b"]), max_size=3)
web = st.builds(WebRules, blocklist=hosts.map(tuple), allowlist=hosts.map(tuple))
rules = st.builds(Rules, models=models, tools=tools, web=web)
facts = st.builds(
    ModelFacts,
    name=st.sampled_from(NAMES),
    region=st.sampled_from(["", "eu", "us"]),
    input_usd_per_mtok=st.none() | st.floats(0, 10),
)
ORDER = [Verdict.ALLOW, Verdict.APPROVE, Verdict.DENY]


@given(
    rules, rules, facts, st.sampled_from(NAMES), st.sampled_from(["http://a.b", "http://c.a.b/x"])
)
def test_more_rules_never_allow_more(
    first: Rules, second: Rules, model: ModelFacts, tool: str, url: str
) -> None:
    one = Policy(first)
    both = one.narrowed(second)
    pairs = [
        (one.model(model), both.model(model)),
        (one.tool(tool), both.tool(tool)),
        (one.url(url), both.url(url)),
    ]
    for before, after in pairs:
        assert ORDER.index(after.verdict) >= ORDER.index(before.verdict)
        if after.verdict == before.verdict and before.rule != "default":
            assert after.rule == before.rule


@given(rules, facts)
def test_a_denied_name_is_never_allowed(layer: Rules, model: ModelFacts) -> None:
    decision = Policy(layer).model(model)
    judged = Layer("recommended", layer)
    denied = any(judged._matches(p, model.name) for p in layer.models.deny)
    assert not (denied and decision.allowed)

"""One layer of rules, made ready: what it says about a model, a tool or an address."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Any, NamedTuple

from plumbgraph.policy.rules import ModelFacts, ModelRules, ModelScope, Rules, Verdict
from plumbgraph.policy.urls import Address, deciding, parse_filter


class Finding(NamedTuple):
    """What one layer says, if it says anything."""

    verdict: Verdict
    rule: str
    reason: str


class Layer:
    """The rules of one layer with their patterns compiled."""

    def __init__(self, name: str, rules: Rules) -> None:
        self.name = name
        self.rules = rules
        web = rules.web
        self._filters = [
            *(parse_filter(text, allow=False) for text in web.blocklist),
            *(parse_filter(text, allow=True) for text in web.allowlist),
        ]
        self._patterns: dict[str, re.Pattern[str]] = {}

    def model(self, facts: ModelFacts, data_classes: Collection[str]) -> Finding | None:
        """The first rule that refuses the model for this data, else `None`."""
        models = self.rules.models
        scopes: list[tuple[str, ModelScope]] = [("models", models)]
        scopes += [
            (f"models.data_classes.{name}", models.data_classes[name])
            for name in sorted(data_classes)
            if name in models.data_classes
        ]
        for path, scope in scopes:
            if finding := self._scope(path, scope, facts):
                return finding
        return self._price(models, facts)

    def tool(self, name: str) -> Finding | None:
        """Whether the tool is refused or needs a person, else `None`."""
        tools = self.rules.tools
        if finding := self._listed("tools", tools.allow, tools.deny, name, "the tool"):
            return finding
        hit = self._first(tools.approve, name)
        if hit is None:
            return None
        reason = f"The tool {name!r} needs a person's approval."
        return Finding(Verdict.APPROVE, self._rule("tools.approve", tools.approve, hit), reason)

    def url_arguments(self, name: str) -> set[str]:
        """Which arguments of the tool are web addresses."""
        declared = self.rules.tools.url_arguments
        return {
            argument
            for pattern, arguments in declared.items()
            if self._matches(pattern, name)
            for argument in arguments
        }

    def address(self, address: Address) -> Finding | None:
        """The most specific filter, where it blocks; else `None`."""
        found = deciding(self._filters, address)
        if found is None or found.allow:
            return None
        position = self.rules.web.blocklist.index(found.text)
        rule = f"{self.name}.web.URLBlocklist[{position}] {found.text!r}"
        return Finding(Verdict.DENY, rule, f"The address {str(address)!r} is blocked.")

    def _scope(self, path: str, scope: ModelScope, facts: ModelFacts) -> Finding | None:
        name = facts.name
        if finding := self._listed(path, scope.allow, scope.deny, name, "the model"):
            return finding
        if scope.regions is not None and self._first(scope.regions, facts.region) is None:
            return Finding(
                Verdict.DENY,
                f"{self.name}.{path}.regions {list(scope.regions)!r}",
                f"The model {name!r} computes in {facts.region or 'an unknown region'!r}.",
            )
        if missing := sorted(set(scope.tags) - facts.tags):
            return Finding(
                Verdict.DENY,
                f"{self.name}.{path}.tags {missing!r}",
                f"The model {name!r} lacks the tags {missing!r}.",
            )
        return None

    def _price(self, rules: ModelRules, facts: ModelFacts) -> Finding | None:
        for key, ceiling, price in (
            ("max_input_usd_per_mtok", rules.max_input_usd_per_mtok, facts.input_usd_per_mtok),
            ("max_output_usd_per_mtok", rules.max_output_usd_per_mtok, facts.output_usd_per_mtok),
        ):
            if ceiling is not None and (price is None or price > ceiling):
                told = "an unknown price" if price is None else f"${price:g}"
                reason = f"The model {facts.name!r} costs {told} a million tokens."
                return Finding(Verdict.DENY, f"{self.name}.models.{key} {ceiling:g}", reason)
        return None

    def _listed(
        self, path: str, allow: Sequence[str] | None, deny: Sequence[str], name: str, what: str
    ) -> Finding | None:
        hit = self._first(deny, name)
        if hit is not None:
            reason = f"{what.capitalize()} {name!r} is denied."
            return Finding(Verdict.DENY, self._rule(f"{path}.deny", deny, hit), reason)
        if allow is not None and self._first(allow, name) is None:
            reason = f"{what.capitalize()} {name!r} is not among those allowed."
            return Finding(Verdict.DENY, f"{self.name}.{path}.allow {list(allow)!r}", reason)
        return None

    def _rule(self, path: str, patterns: Sequence[str], position: int) -> str:
        return f"{self.name}.{path}[{position}] {patterns[position]!r}"

    def _first(self, patterns: Iterable[str], name: str) -> int | None:
        return next((i for i, p in enumerate(patterns) if self._matches(p, name)), None)

    def _matches(self, pattern: str, name: str) -> bool:
        compiled = self._patterns.get(pattern)
        if compiled is None:
            compiled = re.compile(translate(pattern), re.IGNORECASE)
            self._patterns[pattern] = compiled
        if compiled.match(name):
            return True
        return ":" not in pattern and compiled.match(name.partition(":")[2]) is not None


def addresses_in(value: Any) -> list[str]:
    """The strings in an argument that is declared to hold addresses, at any depth."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, Iterable):
        return [text for item in value for text in addresses_in(item)]
    return []

"""`Policy`: the operator's rules and a run's own, asked about models, tools and addresses."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from plumbgraph.errors import PolicyDenied
from plumbgraph.policy.documents import parse_rules
from plumbgraph.policy.events import PolicyRefused
from plumbgraph.policy.judge import Finding, Layer, addresses_in
from plumbgraph.policy.managed import Managed, read_managed
from plumbgraph.policy.rules import Decision, ModelFacts, Rules, Verdict
from plumbgraph.policy.urls import parse_address
from plumbgraph.tracing import emit

_SEVERITY = {Verdict.ALLOW: 0, Verdict.APPROVE: 1, Verdict.DENY: 2}
_REMEMBERED = 1_000
_Named: TypeAlias = tuple[list[Finding | None], frozenset[str]]
_NOTHING = Finding(Verdict.ALLOW, "default", "No rule forbids it.")


class Policy:
    """Says what an agent may use, and which rule says so.

    Two layers are asked. The managed one is the operator's file (see `docs/policy.md`); it is
    read when a policy is made and no argument leaves it out. The recommended ones come with a
    run; they may forbid more and never less, so a managed rule always wins. Of several rules
    that speak the strictest decides, and of equally strict ones the managed one is named.

    Args:
        recommended: Rules of the run: values, a document as a mapping, or the path of a file.

    Raises:
        SettingsError: The managed file or the recommended rules cannot be used.
    """

    def __init__(self, recommended: Rules | Mapping[str, Any] | str | Path | None = None) -> None:
        self._managed = read_managed()
        self._layers = [Layer("managed", self._managed.rules)]
        if recommended is not None:
            self._layers.append(Layer("recommended", _as_rules(recommended)))
        self._models: dict[tuple[ModelFacts, frozenset[str]], Decision] = {}
        self._tools: dict[str, _Named] = {}
        self.digest = self._digest()

    @classmethod
    async def aload(
        cls, recommended: Rules | Mapping[str, Any] | str | Path | None = None
    ) -> Policy:
        """A policy, made without blocking the loop; `Policy(…)` reads files where it is called."""
        return await asyncio.to_thread(cls, recommended)

    @property
    def managed(self) -> Managed:
        """The operator's rules and the file they stand in."""
        return self._managed

    @property
    def rules(self) -> dict[str, Rules]:
        """The rules by layer, in the order they are asked."""
        return {layer.name: layer.rules for layer in self._layers}

    def narrowed(self, recommended: Rules | Mapping[str, Any]) -> Policy:
        """This policy with one more recommended layer; it can only forbid more."""
        policy = object.__new__(Policy)
        policy._managed = self._managed
        name = f"recommended{len(self._layers)}" if len(self._layers) > 1 else "recommended"
        policy._layers = [*self._layers, Layer(name, _as_rules(recommended))]
        policy._models, policy._tools = {}, {}
        policy.digest = policy._digest()
        return policy

    def model(self, facts: ModelFacts, *, data_classes: Collection[str] = ()) -> Decision:
        """Whether a model may see data of these classes."""
        key = (facts, frozenset(data_classes))
        known = self._models.get(key)
        if known is None:
            if len(self._models) >= _REMEMBERED:
                self._models.clear()
            findings = [layer.model(facts, data_classes) for layer in self._layers]
            known = self._models[key] = self._decide(findings)
        return known

    def tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        url_arguments: Collection[str] = (),
    ) -> Decision:
        """Whether a tool may be called with these arguments.

        Args:
            name: The tool's name; a skill's script is `skill:NAME/PATH`.
            arguments: The call's arguments, needed wherever some are declared to be addresses.
            url_arguments: Which arguments are addresses, beyond what the rules declare.
        """
        said, declared = self._named(name)
        findings = list(said)
        for argument in sorted(declared.union(url_arguments)):
            for url in addresses_in((arguments or {}).get(argument, ())):
                findings += self._address(url)
        return self._decide(findings)

    def url(self, url: str) -> Decision:
        """Whether a web address may be visited; one that cannot be read for certain may not."""
        return self._decide(self._address(url))

    def require(self, decision: Decision) -> None:
        """Return where the decision allows; else record the refusal.

        Raises:
            PolicyDenied: The decision denies, or asks for an approval nobody gave.
        """
        if decision.allowed:
            return
        emit(PolicyRefused(rule=decision.rule, verdict=decision.verdict, digest=self.digest))
        raise PolicyDenied(decision.reason, rule=decision.rule, policy_digest=self.digest)

    def _named(self, tool: str) -> _Named:
        """What the layers say of a tool by its name alone, and which arguments are addresses."""
        known = self._tools.get(tool)
        if known is None:
            if len(self._tools) >= _REMEMBERED:
                self._tools.clear()
            declared = frozenset().union(*(layer.url_arguments(tool) for layer in self._layers))
            known = [layer.tool(tool) for layer in self._layers], declared
            self._tools[tool] = known
        return known

    def _address(self, url: str) -> list[Finding | None]:
        try:
            address = parse_address(url)
        except ValueError as error:
            return [Finding(Verdict.DENY, "web.unreadable", f"Not a plain address: {error}.")]
        return [layer.address(address) for layer in self._layers]

    def _decide(self, findings: Collection[Finding | None]) -> Decision:
        spoken = [finding for finding in findings if finding is not None]
        verdict, rule, reason = max(
            spoken, key=lambda finding: _SEVERITY[finding.verdict], default=_NOTHING
        )
        return Decision(verdict, rule, reason, self.digest)

    def _digest(self) -> str:
        layers = [[layer.name, layer.rules.digest] for layer in self._layers]
        return "sha256:" + hashlib.sha256(json.dumps(layers).encode()).hexdigest()

    def __repr__(self) -> str:
        where = self._managed.path or "no managed file"
        return f"Policy({str(where)!r}, layers={list(self.rules)}, digest={self.digest[:19]!r})"


def _as_rules(rules: Rules | Mapping[str, Any] | str | Path) -> Rules:
    if isinstance(rules, Rules):
        return rules
    if isinstance(rules, Mapping):
        return parse_rules(rules, source="recommended rules")
    return parse_rules(Path(rules).read_text("utf-8"), source=str(rules))

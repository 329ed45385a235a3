"""The values of a policy: rules for models, tools and addresses, and the decision they give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What a policy says: yes, only after a person agreed, or no."""

    ALLOW = "allow"
    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict with the rule that gave it.

    Attributes:
        verdict: What was decided.
        rule: The rule, as layer, path and pattern: `managed.tools.deny[0] 'shell'`; `default`
            where no rule spoke.
        reason: One sentence for the reader.
        policy_digest: Digest of the whole policy that was asked.
    """

    verdict: Verdict
    rule: str
    reason: str
    policy_digest: str

    @property
    def allowed(self) -> bool:
        """True where nothing stands in the way, not even a person's approval."""
        return self.verdict is Verdict.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a rule may ask about a model.

    Attributes:
        name: `provider:name`.
        region: Where it computes; `""` where that is not known.
        tags: Free labels, for example `zero-retention`.
        input_usd_per_mtok: Price of a million input tokens, `None` where unknown.
        output_usd_per_mtok: Price of a million output tokens, `None` where unknown.
    """

    name: str
    region: str = ""
    tags: frozenset[str] = frozenset()
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScope:
    """Which models: by name pattern, region and tag. `None` restricts nothing, `()` all.

    Name patterns are globs over `provider:name`, without regard to case; one without a colon
    speaks of any provider.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    regions: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRules(ModelScope):
    """Rules for models: a scope for every call, narrower ones by data class, and price ceilings."""

    data_classes: Mapping[str, ModelScope] = field(default_factory=dict)
    max_input_usd_per_mtok: float | None = None
    max_output_usd_per_mtok: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRules:
    """Rules for tools by name pattern; a skill's script is the tool `skill:NAME/PATH`.

    Attributes:
        allow: Only these may be called; `None` restricts nothing.
        deny: Never these.
        approve: Only after a person agreed.
        url_arguments: Which arguments of which tool are web addresses.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    url_arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRules:
    """Web addresses as in the Chromium enterprise policies of the same names.

    Source: https://www.chromium.org/administrators/url-blocklist-filter-format/
    """

    blocklist: tuple[str, ...] = ()
    allowlist: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One layer of a policy. The empty layer restricts nothing."""

    models: ModelRules = field(default_factory=ModelRules)
    tools: ToolRules = field(default_factory=ToolRules)
    web: WebRules = field(default_factory=WebRules)

    @property
    def digest(self) -> str:
        """The same for the same rules, wherever they were read from."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

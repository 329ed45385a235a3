"""Policy files: their schema, and how a file's text becomes rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from plumbgraph.errors import SettingsError
from plumbgraph.policy.rules import ModelRules, ModelScope, Rules, ToolRules, WebRules
from plumbgraph.policy.urls import parse_filter

_MAX_FILTERS = 1000
Patterns = tuple[Annotated[str, Field(min_length=1)], ...]
_DEEPEST = 50
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Scope(_Strict):
    allow: Patterns | None = None
    deny: Patterns = ()
    regions: Patterns | None = None
    tags: Patterns = ()


class _Models(_Scope):
    data_classes: dict[str, _Scope] = {}
    max_input_usd_per_mtok: Dollars | None = None
    max_output_usd_per_mtok: Dollars | None = None


class _Tools(_Strict):
    allow: Patterns | None = None
    deny: Patterns = ()
    approve: Patterns = ()
    url_arguments: dict[str, Patterns] = {}


class _Web(_Strict):
    blocklist: Patterns = Field(default=(), alias="URLBlocklist", max_length=_MAX_FILTERS)
    allowlist: Patterns = Field(default=(), alias="URLAllowlist", max_length=_MAX_FILTERS)


class _Document(_Strict):
    version: Literal[1]
    models: _Models = _Models()
    tools: _Tools = _Tools()
    web: _Web = _Web()


def parse_rules(text: str | Mapping[str, Any], *, source: str) -> Rules:
    """The rules a policy document states, from YAML or JSON text or from a mapping.

    Args:
        text: The document; `version: 1` is required, so that a later form is never misread.
        source: What to call it in an error.

    Raises:
        SettingsError: It does not follow the schema; the message names every wrong field. An
            unknown key is an error, because a misspelt `deny` would forbid nothing.
    """
    try:
        document = _Document.model_validate(_load(text, source))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'document'}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(f"The policy {source!r} is not valid: {faults}.") from error
    rules = _to_rules(document)
    for allow, filters in ((False, rules.web.blocklist), (True, rules.web.allowlist)):
        for text_of_filter in filters:
            parse_filter(text_of_filter, allow=allow)
    return rules


def _load(text: str | Mapping[str, Any], source: str) -> object:
    if not isinstance(text, str):
        return dict(text)
    try:
        return json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"The policy {source!r} cannot be read: {error}.") from error


def _yaml(text: str) -> object:
    """A YAML document; nothing as deep as no policy is may cost time or the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, the C one where it is


def _to_rules(document: _Document) -> Rules:
    models, tools, web = document.models, document.tools, document.web
    return Rules(
        models=ModelRules(
            **_scope(models),
            data_classes={k: ModelScope(**_scope(v)) for k, v in models.data_classes.items()},
            max_input_usd_per_mtok=models.max_input_usd_per_mtok,
            max_output_usd_per_mtok=models.max_output_usd_per_mtok,
        ),
        tools=ToolRules(**tools.model_dump()),
        web=WebRules(**web.model_dump()),
    )


def _scope(scope: _Scope) -> dict[str, Any]:
    return scope.model_dump(include=set(_Scope.model_fields))

"""Frontmatter as strings, lists and mappings with their lines, built from YAML events.

Nothing is resolved: `version: 1.0` stays `"1.0"` and `name: on` stays `"on"`. Anchors, aliases
and tags are refused by their event, before anything could be expanded or constructed, and the
walk keeps its own stack, so that deep nesting ends in a diagnostic and not in a crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WIDE = "\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd"
_PAIR = re.compile(
    r"([A-Za-z][A-Za-z-]*): +"
    rf"(?:([A-Za-z0-9][ -~{_WIDE}]*)|\"([ !#-\[\]-~{_WIDE}]*)\" *|'((?:[ -&(-~{_WIDE}]|'')*)' *)"
)
MAX_DEPTH = 8
MAX_NODES = 2_000

Tree: TypeAlias = "str | list[Any] | dict[str, Any]"


class YamlRefused(ValueError):
    """The text is not YAML we read; `code`, `line` (from 1) say what and where."""

    def __init__(self, code: str, message: str, line: int) -> None:
        super().__init__(message)
        self.code, self.message, self.line = code, message, line


@dataclass(slots=True)
class Frontmatter:
    """A parsed frontmatter block.

    Attributes:
        tree: The top node.
        lines: Line of each top-level key, counted from the block's first line as 1.
        flow_line: Line of the first flow collection (`[…]`, `{…}`), or 0.
        ragged_line: Line of a nested mapping indented unlike its sibling, or 0.
        literal_spans: Character spans of quoted and block scalars, where tabs are text.
    """

    tree: Tree
    lines: dict[str, int]
    flow_line: int = 0
    ragged_line: int = 0
    literal_spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """A collection under construction."""

    node: list[Any] | dict[str, Any]
    line: int
    key: str | None = None
    column: int | None = None


def parse(text: str) -> Frontmatter:
    """The first document of `text`.

    Raises:
        YamlRefused: With code `skills.yaml`, `skills.yaml_anchor`, `skills.yaml_tag`,
            `skills.yaml_duplicate_key`, `skills.yaml_key` or `skills.yaml_too_deep`.
    """
    if (simple := _plain_pairs(text)) is not None:
        return simple
    walk = _Walk()
    try:
        for event in _events(text):
            walk.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark else 1
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise YamlRefused("skills.yaml", f"not valid YAML: {reason}", line) from error
    return walk.done


def _plain_pairs(text: str) -> Frontmatter | None:
    """The common case, a few `key: words` or `key: "words"` lines, without a parser; else None."""
    tree: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n"), 1):
        found = _PAIR.fullmatch(line)
        if found is None:
            return None
        key, value, double, single = found.groups()
        if key in tree:
            return None
        if value is None:
            value = double if double is not None else single.replace("''", "'")
        elif ": " in value or " #" in value or (value := value.rstrip(" ")).endswith(":"):
            return None
        tree[key], lines[key] = value, number
    return Frontmatter(tree, lines)


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Walk:
    """Builds the tree event by event."""

    def __init__(self) -> None:
        self.done = Frontmatter(tree="", lines={})
        self._stack: list[_Open] = []
        self._nodes = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlRefused("skills.yaml", "more than one YAML document", _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            self._node(event)

    def _node(self, event: Any) -> None:
        _refuse_references(event)
        self._nodes += 1
        if self._nodes > MAX_NODES or len(self._stack) > MAX_DEPTH:
            raise YamlRefused("skills.yaml_too_deep", "too many or too deep nodes", _line(event))
        if isinstance(event, yaml.ScalarEvent):
            if event.style:
                self.done.literal_spans.append(_span(event))
            self._place(event.value, event)
            return
        node: list[Any] | dict[str, Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.flow_style:
            self.done.flow_line = self.done.flow_line or _line(event)
        elif isinstance(node, dict):
            self._indent(event)
        self._place(node, event)
        self._stack.append(_Open(node, _line(event)))

    def _indent(self, event: Any) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent is None or not isinstance(parent.node, dict):
            return
        if parent.column is None:
            parent.column = event.start_mark.column
        elif parent.column != event.start_mark.column:
            self.done.ragged_line = self.done.ragged_line or _line(event)

    def _place(self, value: Tree, event: Any) -> None:
        if not self._stack:
            self.done.tree = value
            return
        parent = self._stack[-1]
        if isinstance(parent.node, list):
            parent.node.append(value)
        elif parent.key is None:
            parent.key = self._key(parent, value, event)
        else:
            parent.node[parent.key] = value
            parent.key = None

    def _key(self, parent: _Open, value: Tree, event: Any) -> str:
        if not isinstance(value, str):
            raise YamlRefused("skills.yaml_key", "a key must be a plain string", _line(event))
        assert isinstance(parent.node, dict)
        if value in parent.node:
            raise YamlRefused(
                "skills.yaml_duplicate_key", f"key {value!r} appears twice", _line(event)
            )
        if len(self._stack) == 1:
            self.done.lines[value] = _line(event)
        return value


def _refuse_references(event: Any) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise YamlRefused("skills.yaml_anchor", "anchors and aliases are not read", _line(event))
    if event.tag is not None:
        raise YamlRefused("skills.yaml_tag", f"tag {event.tag!r} is not read", _line(event))


def _span(event: Any) -> tuple[int, int]:
    return int(event.start_mark.index), int(event.end_mark.index)


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1

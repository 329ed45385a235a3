"""From the bytes of a `SKILL.md` to frontmatter and body, with a diagnostic for every oddity."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from plumbgraph.skills.values import Diagnostic, Level
from plumbgraph.skills.yaml_tree import Frontmatter, YamlRefused, parse

_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)
_PLAIN_PAIR = re.compile(r"^(?P<key>[A-Za-z][\w-]*):[ \t]+(?P<value>[^\s'\"|>\[{&*!#%@`].*)$")
MAX_FRONTMATTER_CHARS = 64 << 10


@dataclass(slots=True)
class Parsed:
    """A `SKILL.md` taken apart.

    Attributes:
        fields: The frontmatter; `None` when it could not be read.
        lines: Line in the file of each top-level key.
        body: What follows the closing fence, stripped, with LF line ends.
        diagnostics: Everything odd; an `error` among them means the skill must not load.
    """

    path: str
    fields: dict[str, object] | None = None
    lines: dict[str, int] = field(default_factory=dict)
    body: str = ""
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def note(self, code: str, message: str, line: int | None = None, level: Level = "note") -> None:
        """Record a diagnostic about this file."""
        self.diagnostics.append(Diagnostic(f"skills.{code}", message, self.path, line, level))

    @property
    def refused(self) -> bool:
        """Whether an error was recorded."""
        return any(d.level == "error" for d in self.diagnostics)


def read_frontmatter(data: bytes, path: str) -> Parsed:
    """`data` taken apart the way a sensible reader would; never raises."""
    parsed = Parsed(path)
    text = decode(data, parsed)
    if text is None:
        return parsed
    block = _split(text, parsed)
    if block is None:
        return parsed
    frontmatter = _parse_or_repair(block, parsed)
    if frontmatter is None:
        return parsed
    if not isinstance(frontmatter.tree, dict):
        parsed.note("frontmatter_shape", "the frontmatter is not a mapping", 2, "error")
        return parsed
    parsed.fields = dict(frontmatter.tree)
    offset = text[: text.index("---")].count("\n") + 1
    parsed.lines = {key: line + offset for key, line in frontmatter.lines.items()}
    return parsed


def read_body(data: bytes) -> str:
    """What follows the frontmatter, which is not read; empty when there is none."""
    parsed = Parsed("")
    text = decode(data, parsed)
    if text is not None:
        _split(text, parsed)
    return parsed.body


def decode(data: bytes, parsed: Parsed) -> str | None:
    """The text with LF line ends and without a byte order mark, or None with an error noted."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        parsed.note("not_utf8", "the file is UTF-16; save it as UTF-8", 1, "error")
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        parsed.note("bom", "a byte order mark was skipped", 1)
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        parsed.note(
            "not_utf8",
            f"byte {data[error.start]:#04x} is not UTF-8; save it as UTF-8",
            line,
            "error",
        )
        return None
    if "\0" in text:
        parsed.note("not_text", "the file holds NUL characters", _line_of(text, "\0"), "error")
        return None
    if "\r" in text:
        parsed.note("crlf", "line ends other than LF were read as LF", 1)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def _split(text: str, parsed: Parsed) -> str | None:
    start = len(text) - len(text.lstrip())
    opening = _FENCE.match(text, start)
    if opening is None:
        message = "the file does not begin with a `---` line"
        parsed.note("fence_missing", message, 1, "error")
        return None
    if start:
        parsed.note("leading_space", "blank space before the frontmatter was skipped", 1)
    closing = _FENCE.search(text, opening.end())
    if closing is None:
        line = text[:start].count("\n") + 1
        parsed.note("fence_open", "the frontmatter has no closing `---` line", line, "error")
        return None
    if closing.end() == len(text):
        parsed.note("body_empty", "nothing follows the frontmatter", None)
    parsed.body = text[closing.end() :].strip()
    block = text[opening.end() + 1 : closing.start()]
    if len(block) > MAX_FRONTMATTER_CHARS:
        parsed.note("frontmatter_too_large", f"{len(block)} characters of frontmatter", 1, "error")
        return None
    return block


def _parse_or_repair(block: str, parsed: Parsed) -> Frontmatter | None:
    try:
        return parse(block)
    except YamlRefused as refused:
        if refused.code == "skills.yaml":
            repaired = _repair(block, parsed)
            if repaired is not None:
                return repaired
        line = refused.line + 1
        parsed.diagnostics.append(
            Diagnostic(refused.code, refused.message, parsed.path, line, "error")
        )
        return None


def _repair(block: str, parsed: Parsed) -> Frontmatter | None:
    """Quote plain one-line values (`key: a: b`) and turn tabs into spaces, if that is enough."""
    lines = block.split("\n")
    notes: list[tuple[str, str, int]] = []
    for number, line in enumerate(lines):
        found = _PLAIN_PAIR.match(line)
        if found and ": " in found["value"] + " ":
            quoted = found["value"].rstrip().replace("'", "''")
            lines[number] = f"{found['key']}: '{quoted}'"
            notes.append(
                ("unquoted_colon", f"the value of {found['key']!r} needs quotes", number + 2)
            )
        elif line.lstrip(" ").startswith("\t") or "\t" in line.split("#")[0]:
            lines[number] = line.expandtabs(2)
            notes.append(("tab", "tabs were read as spaces", number + 2))
    if not notes:
        return None
    try:
        frontmatter = parse("\n".join(lines))
    except YamlRefused:
        return None
    for code, message, line_number in notes:
        parsed.note(code, message, line_number, "warning")
    return frontmatter


def _line_of(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1

"""The strict reading of a skill: the same verdicts as the standard's reference validator.

The reference (`skills-ref`) reads YAML without flow collections, anchors, tags, duplicate keys or
tabs. Where it fails with an exception of its own (UTF-16, Latin-1, a folder named `SKILL.md`), a
diagnostic is given instead.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from plumbgraph.skills.record import (
    KNOWN_FIELDS,
    MAX_COMPATIBILITY,
    MAX_DESCRIPTION,
    name_faults,
)
from plumbgraph.skills.values import Diagnostic
from plumbgraph.skills.yaml_tree import Frontmatter, YamlRefused, parse

_COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)


def check_strict(folder: Path | str) -> list[Diagnostic]:
    """What the standard has against the skill in `folder`; empty when it is valid."""
    folder = Path(folder)
    if not folder.is_dir():
        return [_fault("not_a_folder", "there is no such folder", folder)]
    path = next((p for n in ("SKILL.md", "skill.md") if (p := folder / n).exists()), None)
    if path is None:
        return [_fault("file_missing", "there is no SKILL.md", folder)]
    if not path.is_file():
        return [_fault("not_a_file", "SKILL.md is not a file", path)]
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return [_fault("not_utf8", f"not UTF-8 at byte {error.start}", path, 1)]
    return strict_faults(text, folder.name, str(path))


def strict_faults(text: str, folder: str, path: str) -> list[Diagnostic]:
    """What the standard has against this text in a folder of this name."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.startswith("---"):
        return [_fault("fence_missing", "the file must start with `---`", path, 1)]
    parts = text.split("---", 2)
    if len(parts) < 3:  # noqa: PLR2004 - opening fence, block, body
        return [_fault("fence_open", "the frontmatter is not closed with `---`", path, 1)]
    block = parts[1]
    try:
        frontmatter = parse(block)
        _refuse_lenient(frontmatter, block)
    except YamlRefused as refused:
        return [Diagnostic(refused.code, refused.message, path, refused.line, "error")]
    if not isinstance(frontmatter.tree, dict):
        return [_fault("frontmatter_shape", "the frontmatter is not a mapping", path, 1)]
    return _field_faults(frontmatter.tree, frontmatter.lines, folder, path)


def _refuse_lenient(frontmatter: Frontmatter, block: str) -> None:
    if frontmatter.flow_line:
        raise YamlRefused(
            "skills.yaml_flow", "flow collections are not strict", frontmatter.flow_line
        )
    if frontmatter.ragged_line:
        line = frontmatter.ragged_line
        raise YamlRefused("skills.yaml_indent", "mappings are indented unevenly", line)
    masked = list(block)
    for start, end in frontmatter.literal_spans:
        masked[start:end] = [c if c == "\n" else "_" for c in block[start:end]]
    bare = _COMMENT.sub("", "".join(masked))
    if "\t" in bare:
        line = bare[: bare.index("\t")].count("\n") + 1
        raise YamlRefused("skills.yaml_tab", "a tab stands outside quotes", line)


def _field_faults(
    fields: dict[str, object], lines: dict[str, int], folder: str, path: str
) -> list[Diagnostic]:
    faults = [
        _fault("unknown_field", f"the standard has no field {key!r}", path, lines.get(key))
        for key in sorted(set(fields) - KNOWN_FIELDS)
    ]
    if "name" not in fields:
        faults.append(_fault("name_missing", "there is no name", path))
    else:
        faults += _name_faults(fields["name"], folder, path, lines["name"])
    if "description" not in fields:
        faults.append(_fault("description_missing", "there is no description", path))
    else:
        value, line = fields["description"], lines["description"]
        faults += _text_faults(value, "description", MAX_DESCRIPTION, path, line)
    value = fields.get("compatibility", "")
    if not isinstance(value, str) or value.strip():
        line = lines["compatibility"]
        faults += _text_faults(value, "compatibility", MAX_COMPATIBILITY, path, line)
    return faults


def _name_faults(value: object, folder: str, path: str, line: int) -> list[Diagnostic]:
    if not isinstance(value, str) or not value.strip():
        return [_fault("name_missing", "the name is not a non-empty string", path, line)]
    name = unicodedata.normalize("NFKC", value.strip())
    faults = [
        _fault("name_format", f"the name {name!r} {why}", path, line) for why in name_faults(name)
    ]
    if unicodedata.normalize("NFKC", folder) != name:
        message = f"the name {name!r} is not that of its folder {folder!r}"
        faults.append(_fault("name_mismatch", message, path, line))
    return faults


def _text_faults(value: object, key: str, most: int, path: str, line: int) -> list[Diagnostic]:
    if not isinstance(value, str) or not value.strip():
        return [_fault(f"{key}_missing", f"the {key} is not a non-empty string", path, line)]
    if len(value) > most:
        message = f"the {key} has {len(value)} characters, more than {most}"
        return [_fault(f"{key}_long", message, path, line)]
    return []


def _fault(code: str, message: str, path: Path | str, line: int | None = None) -> Diagnostic:
    return Diagnostic(f"skills.{code}", message, str(path), line, "error")

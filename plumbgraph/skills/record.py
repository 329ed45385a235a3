"""From frontmatter to a `SkillRecord`: what the standard asks, read leniently and diagnosed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping

from plumbgraph.skills.frontmatter import Parsed
from plumbgraph.skills.values import SkillRecord

KNOWN_FIELDS = frozenset(
    {"name", "description", "license", "allowed-tools", "metadata", "compatibility"}
)
MAX_NAME, MAX_DESCRIPTION, MAX_COMPATIBILITY = 64, 1024, 500
_TOOL = re.compile(r"[^\s,(]+(?:\([^)]*\))?")
_SOUND = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_REQUIRES = ("requires_tools", "requires-tools", "include_tools", "adk_additional_tools")
_RESTRICTS = ("restrict_tools", "restrict-tools")
_MAX_LISTED = 200


def make_record(
    parsed: Parsed, *, source: str, location: str, folder: str, fingerprint: str = ""
) -> SkillRecord | None:
    """The record of a parsed `SKILL.md`, or None with an error in `parsed.diagnostics`."""
    fields = parsed.fields
    if fields is None or parsed.refused:
        return None
    name = _name(fields.get("name"), folder, parsed)
    description = _description(fields.get("description"), parsed)
    if name is None or description is None:
        return None
    for key in sorted(set(fields) - KNOWN_FIELDS):
        message = f"the standard has no field {key!r}"
        parsed.note("unknown_field", message, parsed.lines.get(key), "warning")
    metadata = _metadata(fields.get("metadata"), parsed)
    return SkillRecord(
        name=name,
        source=source,
        location=location,
        description=description,
        license=_text(fields.get("license"), "license", parsed),
        compatibility=_compatibility(fields.get("compatibility"), parsed),
        metadata=metadata,
        allowed_tools=_allowed(fields.get("allowed-tools"), parsed),
        requires_tools=_named_tools(fields.get("metadata"), _REQUIRES),
        restrict_tools=_named_tools(fields.get("metadata"), _RESTRICTS),
        version=metadata.get("version", ""),
        fingerprint=fingerprint,
        body_chars=len(parsed.body),
        diagnostics=tuple(parsed.diagnostics),
    )


def split_tools(text: str) -> tuple[str, ...]:
    """Tool names of a space or comma separated list; `Bash(git log:*)` stays one."""
    return tuple(_TOOL.findall(text)[:_MAX_LISTED])


def unsafe_name(name: str) -> str:
    """Why `name` must not stand in a path or a prompt, or an empty string."""
    if any(unicodedata.category(c) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"} for c in name):
        return "holds control or invisible characters"
    if any(c in name for c in "/\\<>&\"'`{}"):
        return "holds characters of paths or markup"
    if name.strip(". ") == "" or ".." in name or name.startswith("."):
        return "could be read as a path"
    if len(name) > 2 * MAX_NAME:
        return f"is {len(name)} characters long"
    return ""


def name_faults(name: str) -> list[str]:
    """What the standard has against an NFKC-normalised name."""
    faults = []
    if len(name) > MAX_NAME:
        faults.append(f"is longer than {MAX_NAME} characters")
    if name != name.lower():
        faults.append("is not lowercase")
    if name.startswith("-") or name.endswith("-"):
        faults.append("starts or ends with a hyphen")
    if "--" in name:
        faults.append("holds a double hyphen")
    if not all(c.isalnum() or c == "-" for c in name):
        faults.append("holds characters other than letters, digits and hyphens")
    return faults


def _name(value: object, folder: str, parsed: Parsed) -> str | None:
    line = parsed.lines.get("name", 1)
    if value is None or (isinstance(value, str) and not value.strip()):
        parsed.note(
            "name_missing", f"no name; the folder's name {folder!r} is used", line, "warning"
        )
        value = folder
    if not isinstance(value, str):
        parsed.note("name_shape", "the name is not a string", line, "error")
        return None
    if value == folder and len(value) <= MAX_NAME and _SOUND.fullmatch(value):
        return value
    name = unicodedata.normalize("NFKC", value.strip())
    if why := unsafe_name(name):
        parsed.note("name_unsafe", f"the name {name[:80]!r} {why}", line, "error")
        return None
    for fault in name_faults(name):
        parsed.note("name_format", f"the name {name!r} {fault}", line, "warning")
    if folder and unicodedata.normalize("NFKC", folder) != name:
        message = f"the name {name!r} is not that of its folder {folder!r}"
        parsed.note("name_mismatch", message, line, "warning")
    return name


def _description(value: object, parsed: Parsed) -> str | None:
    line = parsed.lines.get("description", 1)
    if isinstance(value, list):
        value = " ".join(str(part) for part in value)
        parsed.note("description_shape", "a list was joined to one text", line, "warning")
    if not isinstance(value, str) or not value.strip():
        parsed.note(
            "description_missing", "no description, so no reader can choose it", line, "error"
        )
        return None
    if len(value) > MAX_DESCRIPTION:
        message = f"{len(value)} characters, more than {MAX_DESCRIPTION}"
        parsed.note("description_long", message, line, "warning")
    if "<" in value and ">" in value:
        parsed.note("description_markup", "holds markup; it is shown escaped", line)
    return value.strip()


def _compatibility(value: object, parsed: Parsed) -> str:
    text = _text(value, "compatibility", parsed)
    if len(text) > MAX_COMPATIBILITY:
        message = f"{len(text)} characters, more than {MAX_COMPATIBILITY}"
        parsed.note("compatibility_long", message, parsed.lines.get("compatibility"), "warning")
    return text


def _text(value: object, key: str, parsed: Parsed) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip()
    parsed.note(f"{key}_shape", f"{key} is not a string", parsed.lines.get(key), "warning")
    return json.dumps(value, ensure_ascii=False)


def _metadata(value: object, parsed: Parsed) -> dict[str, str]:
    if value is None or value == "":
        return {}
    if not isinstance(value, Mapping):
        line = parsed.lines.get("metadata")
        parsed.note("metadata_shape", "metadata is not a mapping", line, "warning")
        return {}
    return {str(key): _flat(item) for key, item in value.items()}


def _flat(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _allowed(value: object, parsed: Parsed) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return split_tools(value)
    line = parsed.lines.get("allowed-tools")
    parsed.note("allowed_tools_shape", "allowed-tools is not one string", line, "warning")
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _named_tools(metadata: object, keys: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(metadata, Mapping):
        return ()
    named: dict[str, None] = {}
    for key in keys:
        value = metadata.get(key)
        items = split_tools(value) if isinstance(value, str) else value
        named.update((str(item), None) for item in (items or ()))
    return tuple(named)

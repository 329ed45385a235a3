"""Text of strangers made harmless inside a prompt: one line, no markup, no invisible characters."""

from __future__ import annotations

import re
import unicodedata

_MARKUP = str.maketrans({"<": "\u2039", ">": "\u203a", "`": "'"})
_BLOCK_TAG = re.compile(
    r"<(?=\s*/?\s*(?:loaded_skills|available_skills|skill|skill_note|system|assistant|user|tool)\b)",
    re.IGNORECASE,
)
_DROPPED = {"Cc", "Cf", "Co", "Cs", "Cn"}


def one_line(text: str, limit: int = 200) -> str:
    """`text` on one line without markup, shortened with an ellipsis."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(_visible(character) for character in text)
    text = " ".join(text.split()).translate(_MARKUP)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def body_text(text: str) -> str:
    """A skill's instructions with tags that could close or fake our own blocks made inert.

    Other markup stays as it is: instructions may well hold HTML.
    """
    return _BLOCK_TAG.sub("\u2039", text)


def _visible(character: str) -> str:
    if character in "\n\r\t\v\f\x85\u2028\u2029":
        return " "
    return "" if unicodedata.category(character) in _DROPPED else character

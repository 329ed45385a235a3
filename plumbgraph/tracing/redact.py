"""Take secrets and mail addresses out of free text before any sink sees it."""

from __future__ import annotations

import re

_PATTERNS = (
    (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*KEY-----|\Z)", "[private key]"),
    (r"(://)[^\s:/@]*:[^\s@]+(?=@)", r"\1[password]"),
    (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", "[token]"),
    (r"\b(?:sk|pk|rk|lsv2|xox[a-z]|gh[a-z]|glpat|hf)[-_][\w-]{14,}", "[key]"),
    (r"\b(?:AIza|AKIA|ASIA)\w{14,}", "[key]"),
    (r"(?i)\b(bearer )[\w.~+/=-]{8,}", r"\1[token]"),
    (
        (
            r"(?i)(api[-_]?key|passwd|password|pwd|secret|token)(['\"]?\s*[=:]\s*['\"]?)"
            r"[^\s'\",;&}\]]{4,}"
        ),
        r"\1\2[secret]",
    ),
    (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "[email]"),
)
_RULES = [(re.compile(pattern, re.DOTALL), instead) for pattern, instead in _PATTERNS]


def redact(text: str) -> str:
    """`text` with keys, tokens, passwords and mail addresses replaced by what they were."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text

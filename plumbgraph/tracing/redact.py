"""Take secrets and mail addresses out of free text before any sink sees it."""

from __future__ import annotations

import re

_NAMES = r"api[-_]?key|access[-_]?key|private[-_]?key|passwd|password|pwd|secret|token"
# Text often comes as JSON within JSON, where a line begins behind the letter of `\n` and quotes
# have backslashes.
_START = r"(?:(?<!\w)|(?<=\\[nrtbf]))"
_IS = r"\\*['\"]?\s*[=:]\s*\\*['\"]?"
_PATTERNS = (
    (
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*KEY[A-Z ]*-----|\Z)",
        "[private key]",
    ),
    (r"(://)[^\s:/@]*:[^\s@]+(?=@)", r"\1[password]"),
    (r"(hooks\.slack\.com/services/)[\w/]+", r"\1[token]"),
    (_START + r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", "[token]"),
    (
        _START + r"(?:sk|pk|rk|lsv2|xox[a-z]|xapp|gh[a-z]|github_pat|glpat|hf|npm|pypi|ls_)"
        r"[-_][\w-]{14,}",
        "[key]",
    ),
    (_START + r"(?:AIza|AKIA|ASIA|ABIA|ACCA|A3T|SG\.|ya29\.)[\w.-]{14,}", "[key]"),
    (rf"(?i)({_START}(?:bearer|basic) )[\w.~+/=-]{{8,}}", r"\1[token]"),
    (rf"(?i)((?:{_NAMES}){_IS})[^\s'\",;&}}\]\\]{{4,}}", r"\1[secret]"),
    (rf"(?i)(authorization{_IS})(?!bearer |basic )[\w.~+/=-]{{8,}}", r"\1[secret]"),
    (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "[email]"),
)
_RULES = [(re.compile(pattern, re.DOTALL), instead) for pattern, instead in _PATTERNS]

SUSPECT = re.compile(
    r"@|://|slack|-----BEGIN|eyJ|AIza|AKIA|ASIA|ABIA|ACCA|A3T|SG\.|ya29"
    r"|(?:sk|pk|rk|hf|lsv2|xox[a-z]|xapp|gh[a-z]|pat|npm|pypi|ls_)[-_]"
    r"|key|passw|pwd|secret|token|bearer|basic |authoriz",
    re.IGNORECASE,
)
"""Found in every text that a rule could change: a quick look before the rules."""


def redact(text: str) -> str:
    """`text` with keys, tokens, passwords and mail addresses replaced by what they were."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text

"""Text to search terms: split, folded, stemmed, with spellings of the same word made one."""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache

import snowballstemmer

_STEMMER = snowballstemmer.stemmer("english")
_STEMMING = threading.Lock()
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\W_a-z0-9]+")
_WRITTEN = re.compile(r"[^\W_]++(?:['\u2019][^\W\d_]++)?")
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_MARKS = re.compile("[\u0300-\u036f]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_BRITISH = (
    (re.compile(r"is(e|es|ed|er|ers|ing|ation|ations)$"), r"iz\1"),
    (re.compile(r"yse(s|d|r|rs)?$"), r"yze\1"),
    (re.compile(r"(?<=[a-z]{2})our(s|ed|ing|ful)?$"), r"or\1"),
)
_KEPT = frozenset(
    """
    four your our hour hours rise rises wise noise raise exercise precise concise advise promise
    franchise supervise surprise enterprise expertise otherwise likewise premise praise cruise
    raised raising rising noised advised promised exercised supervised surprised praised
    disguise merchandise paradise treatise revise revised revising devise devised comprise
    comprised arise arising wiser riser advising promising supervising surprising tour pour
    """.split()  # noqa: SIM905 - a list of words reads better as words
)
STOP = frozenset(
    """
    a about above after again all also am an and any are as at be because been before being
    below between both but by can cannot could did do does doing done down during each either
    else etc ever every few for from further get gets getting give gives go goes got had has
    have having he her here hers him his how however i if in into is it its itself just know let
    lets like make makes making many may me might mine more most much must my need needs no nor
    not now of off on once one only onto or other our ours out over own please put same shall
    she should so some such take than thank thanks that the their theirs them then there these
    they thing things this those through to too try under until up upon us use used useful user
    users uses using very via want wants was way we well were what when where whether which
    while who whom whose why will with within without would yes yet you your yours im ive id
    youre theyre dont doesnt cant wont isnt arent didnt whats thats lets hes shes theres heres
    skill skills
    """.split()  # noqa: SIM905 - a list of words reads better as words
)
_APART = re.compile(
    r"\b(?:do not|don't|never|not)\s+(?:use|trigger|invoke|activate|load|apply)\b"
    r"|\bnot\s+(?:for|intended)\b",
    re.IGNORECASE,
)
_MAY_BE_APART = re.compile(r"not |n't |never ", re.IGNORECASE)
_SHORTEST_DOER = 6
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


def terms_of(text: str) -> list[str]:
    """The search terms of a text in order, stop words left out."""
    return [stem for word in split_words(text) if (stem := term(word))]


def raw_words(text: str) -> list[str]:
    """The words of a text as they are written, for `split_words`; one quick pass over the text."""
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _WRITTEN.findall(text)


def split_words(text: str) -> list[str]:
    """Lower-case words; `camelCase` and `kebab-case` are taken apart.

    Scripts without spaces (Chinese, Japanese, Korean) come as overlapping pairs of characters.
    """
    folded = _CAMEL.sub(" ", text).lower()
    if not text.isascii():
        folded = unicodedata.normalize("NFKC", folded).replace(_APOSTROPHE, "'")
    if folded.isascii():
        return _WORD.findall(folded)
    words: list[str] = []
    for word in _WORD.findall(_unaccented(folded)):
        if word.isascii() or not _without_spaces(word):
            words.append(word)
        else:
            words += [word[i : i + 2] for i in range(max(1, len(word) - 1))]
    return words


@lru_cache(maxsize=200_000)
def term(word: str) -> str:
    """The index term of a lower-case word, or an empty string for a stop word."""
    word = word.removesuffix("'s").replace("'", "")
    if word in STOP or (len(word) == 1 and word.isascii() and not word.isalpha()):
        return ""
    if not word.isascii():
        return word
    if word not in _KEPT:
        for pattern, american in _BRITISH:
            word = pattern.sub(american, word) if len(word) > 4 else word  # noqa: PLR2004 - short words have no such suffix
    with _STEMMING:
        return str(_STEMMER.stemWord(word))


def doers(stem: str) -> list[str]:
    """Index terms of who does what a term says, and of what such a one does.

    The stemmer keeps `build` and `builder` apart; skills are named after doers (`mcp-builder`) and
    people ask for deeds.
    """
    deed = [stem[:-2]] if stem.endswith(("er", "or")) and len(stem) >= _SHORTEST_DOER else []
    return [f"{stem}er", f"{stem}or", f"{stem}r", *deed]


def affirmative(description: str) -> str:
    """A description without the sentences that say what the skill is *not* for."""
    if not _MAY_BE_APART.search(description):
        return description
    sentences = _SENTENCE_END.split(description)
    return " ".join(sentence for sentence in sentences if not _APART.search(sentence))


def first_sentence(description: str) -> str:
    """What comes before the first sentence's end."""
    return _SENTENCE_END.split(description, maxsplit=1)[0]


def _unaccented(text: str) -> str:
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text)))


def _without_spaces(word: str) -> bool:
    return any("\u2e80" <= c <= "\uffdc" for c in word)

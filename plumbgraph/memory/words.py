"""Words for matching: split, lower case, stems, and what carries no meaning."""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache

import snowballstemmer

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?", re.UNICODE)
_ASCII_WORDS = {n: chr(n).lower() if chr(n).isalnum() else " " for n in range(128)}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_ENGLISH = (
    "a about above after again all also am an and any are as at be because been before being "
    "below between both but by can could did do does doing down during each few for from "
    "further get got had has have having he her here hers him his how i if in into is it its "
    "just let like me more most my no nor not now of off on once only or other our ours out "
    "over own same she should so some such than that the their theirs them then there these "
    "they this those through to too under until up us very was we were what when where which "
    "while who whom why will with would you your yours im ive dont didnt thats youre lets "
    "really"
)
_STOPS = {"english": frozenset(_ENGLISH.split())}
# every suffix that English Snowball looks for ends like this: other words are their own stems
_CHANGING = {"english": re.compile(r"(?:[seyil]|e[dr]|ing|or|ion|ic|[ae]nt|ism|ogist)$|'")}
_ANY = re.compile("")
_MOST_STEMS = 200_000
_CONTRACTIONS = re.compile(r"['\u2019](?:s|re|ve|ll|d|m|t)$")


def plain(text: str) -> str:
    """Text in one Unicode form and one case."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold()


def raw_words(text: str) -> list[str]:
    """The words of a text in order, lower case, contractions cut."""
    if text.isascii() and "'" not in text:
        return text.translate(_ASCII_WORDS).split()
    words = _WORD.findall(plain(text))
    if "'" in text or "\u2019" in text:
        return [_CONTRACTIONS.sub("", word) for word in words]
    return list(words)


def name_words(name: str) -> list[str]:
    """The words of a name such as `homeCity`, `home_city` or `Home city`."""
    return raw_words(_CAMEL.sub(" ", name).replace("_", " ").replace("-", " "))


class Stems(dict[str, str]):
    """The stem of each word met so far; empty for one that carries no meaning."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self._stem = _same if language == "none" else snowballstemmer.stemmer(language).stemWord
        self._stops = _STOPS.get(language, frozenset())
        self._changing = _CHANGING.get(language, _ANY)
        self._one_at_once = threading.Lock()

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_STEMS:
            self.clear()
        stem = self[word] = "" if word in self._stops else self.of(word)
        return stem

    def of(self, word: str) -> str:
        """The stem of any word."""
        if not self._changing.search(word):
            return word
        # a stemmer works on the word it holds: two threads in it would mix theirs
        with self._one_at_once:
            return str(self._stem(word))


@lru_cache(maxsize=16)
def stems(language: str) -> Stems:
    """The stems of a Snowball language; `none` leaves words as they are.

    Raises:
        KeyError: The language is unknown.
    """
    return Stems(language)


def _same(word: str) -> str:
    return word


def terms(text: str, language: str = "english") -> list[str]:
    """The stems of a text's words that carry meaning, in order, repeats kept."""
    known = stems(language)
    return [stem for word in raw_words(text) if (stem := known[word])]


def one_edit_apart(left: str, right: str) -> bool:
    """Whether one letter inserted, removed, replaced or swapped makes the words equal."""
    if left == right:
        return True
    if abs(len(left) - len(right)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    if start is None:
        return True
    a, b = left[start:], right[start:]
    if a[1:] == b[1:] or a[1:] == b or a == b[1:]:
        return True
    return len(a) > 1 and len(b) > 1 and a[0] == b[1] and a[1] == b[0] and a[2:] == b[2:]

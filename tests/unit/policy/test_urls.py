from __future__ import annotations

import pytest

from plumbgraph.errors import SettingsError
from plumbgraph.policy.urls import deciding, parse_address, parse_filter


def blocked(url: str, *, block: tuple[str, ...] = (), allow: tuple[str, ...] = ()) -> bool:
    filters = [parse_filter(f, allow=False) for f in block]
    filters += [parse_filter(f, allow=True) for f in allow]
    found = deciding(filters, parse_address(url))
    return found is not None and not found.allow


@pytest.mark.parametrize(
    ("pattern", "url", "expected"),
    [
        ("example.com", "http://example.com/", True),
        ("example.com", "https://www.example.com/a", True),
        ("example.com", "http://sub.www.example.com", True),
        ("example.com", "http://notexample.com", False),
        ("example.com", "http://example.com.evil.org", False),
        (".www.example.com", "http://www.example.com", True),
        (".www.example.com", "http://a.www.example.com", False),
        (".www.example.com", "http://example.com", False),
        ("http://example.com", "HTTP://Example.COM", True),
        ("http://example.com", "https://example.com", False),
        ("https://*", "https://anything.org", True),
        ("https://*", "http://anything.org", False),
        ("mail.example.com", "http://www.example.com", False),
        ("*", "http://any.host/x", True),
        ("*:8080", "http://any.host:8080/x", True),
        ("*:8080", "http://any.host/x", False),
        ("example.com:80", "http://example.com", True),
        ("example.com/stuff", "http://a.example.com/stuff/more", True),
        ("example.com/stuff", "http://example.com/stu", False),
        ("example.com/stuff", "http://example.com/Stuff", False),
        ("example.com/", "http://example.com/any", True),
        ("example.com.", "http://example.com/any", True),
        ("192.168.1.2", "http://192.168.1.2/", True),
        ("1.2", "http://192.168.1.2/", False),
        ("http://user:pass@ftp.example.com/pub", "http://ftp.example.com/pub/x.iso", True),
        ("example.com/a#frag", "http://example.com/a", True),
        ("*?v*", "http://a.b/?video=100", True),
        ("*?video*", "http://a.b/?video=100", True),
        ("*?video=*", "http://a.b/?video=100", True),
        ("*?video=100*", "http://a.b/?video=100", True),
        ("*?video=100*", "http://a.b/?video=10", False),
        ("*?a=1&b=2", "http://x.y/?b=2&a=1", True),
        ("*?a=1&b=2", "http://x.y/?a=1&c=3&b=2", True),
        ("*?a=1&b=2", "http://x.y/?a=1", False),
        ("youtube.com/watch?v=xyz", "https://youtube.com/watch?v=123&v=xyz", True),
        ("http://example.com/path?query=1", "http://example.com/path?Query=1", False),
        ("custom://*", "custom:app", True),
        ("custom:*", "custom:app", True),
        ("javascript:*", "javascript:alert(1)", True),
        ("file://*", "file:///etc/passwd", True),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]/", True),
    ],
)
def test_filters_match_as_documented(pattern: str, url: str, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert blocked(url, block=(pattern,)) is expected


def test_the_allowlist_needs_every_occurrence_of_a_key() -> None:
    rules = {
        "block": ("youtube.com",),
        "allow": ("youtube.com/watch?v=V1", "youtube.com/watch?v=V2"),
    }
    assert not blocked("https://youtube.com/watch?v=V2", **rules)
    assert not blocked("https://youtube.com/watch?v=V2&v=V2", **rules)
    assert blocked("https://youtube.com/watch?v=V1&v=V2", **rules)
    assert blocked("https://youtube.com/watch?v=V3", **rules)


def test_the_most_specific_filter_decides_and_allowing_wins_a_tie() -> None:
    rules = {"block": ("example.com", "*"), "allow": ("https://mail.example.com", ".example.com")}
    assert not blocked("https://mail.example.com/inbox", **rules)
    assert blocked("http://mail.example.com/inbox", **rules)
    assert not blocked("http://example.com/", **rules)
    assert blocked("http://www.example.com/", **rules)
    assert blocked("http://other.org/", **rules)
    assert not blocked("http://a.b/x", block=("a.b/x",), allow=("a.b/x",))
    assert blocked("http://a.b/x/y", block=("a.b/x/y",), allow=("a.b/x",))


@pytest.mark.parametrize(
    "spelling",
    [
        "http://example.com./stuff",
        "http://user@example.com/stuff",
        "http://EXAMPLE.com:80/stuff",
        "http://example.com/a/../stuff",
        "http://example.com/%73tuff",
        "http://example.com/./stuff",
    ],
)
def test_other_spellings_of_an_address_meet_the_same_filter(spelling: str) -> None:
    assert blocked(spelling, block=("example.com/stuff",))


@pytest.mark.parametrize("spelling", ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/"])
def test_number_forms_of_an_ip_address_are_one_address(spelling: str) -> None:
    assert str(parse_address(spelling)) == "http://127.0.0.1/"
    assert blocked(spelling, block=("127.0.0.1",))


@pytest.mark.parametrize(
    "url",
    [
        "http://good.org\\@evil.org/",
        "http://a.b/\tx",
        "http://a b/",
        "//a.b/",
        "http://",
        "http://1.2.3.4.5/",
    ],
)
def test_what_two_readers_could_read_differently_is_no_address(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the texts differ
        parse_address(url)


@pytest.mark.parametrize(
    "pattern", ["custom://app", "http://", "a.b:0", "a.b:99999", "*.b", "", "1a://b"]
)
def test_what_is_no_filter_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError, match="filter"):
        parse_filter(pattern, allow=False)

from __future__ import annotations

import pytest

from plumbgraph import html
from plumbgraph.errors import SettingsError


def test_text_is_escaped_and_fragments_are_not() -> None:
    made = html.tag("p", "<b>", html.tag("b", "x"), class_='a"b', id=None)
    assert made == '<p class="a&quot;b">&lt;b&gt;<b>x</b></p>'
    assert html.joined(["<", html.Safe("<br>"), None]) == "&lt;<br>"


def test_content_cannot_break_out_of_a_table() -> None:
    evil = "</td><script>alert(1)</script>"
    assert "<script" not in html.table((evil,), [(evil,), (None,)], caption=evil)
    assert "<script" not in html.facts({evil: evil})


def test_facts_leave_out_what_is_not_known() -> None:
    assert html.facts({"a": None}) == '<table class="plumb"></table>'


def test_void_elements_have_no_end() -> None:
    assert html.tag("br") == "<br>"


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", " JaVaScRiPt:x", "java\nscript:x", "data:text/html,x"]
)
def test_links_cannot_run_scripts(address: str) -> None:
    with pytest.raises(SettingsError, match="no address"):
        html.tag("a", "x", href=address)


@pytest.mark.parametrize("address", ["https://x.org/a?b=c:d", "#a", "./b", "mailto:a@b.c", "a/b:c"])
def test_links_lead_to_the_web_and_into_the_page(address: str) -> None:
    assert "href=" in html.tag("a", "x", href=address)


@pytest.mark.parametrize(
    "attributes", [{"onclick": "x"}, {"ONLOAD": "x"}, {"a b": "x"}, {"x>": "1"}]
)
def test_attributes_cannot_be_scripts(attributes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="no attribute"):
        html.tag("p", **attributes)


@pytest.mark.parametrize("name", ["script", "SCRIPT", "p onload=x", ""])
def test_elements_cannot_be_scripts(name: str) -> None:
    with pytest.raises(SettingsError, match="no element"):
        html.tag(name)


def test_a_style_holds_no_text_from_outside() -> None:
    with pytest.raises(SettingsError, match="no element"):
        html.tag("style", "</style>")
    assert html.tag("style", html.Safe("p{}")) == "<style>p{}</style>"


def test_fragments_show_themselves_in_notebooks() -> None:
    assert html.tag("b", "x")._repr_html_() == "<b>x</b>"

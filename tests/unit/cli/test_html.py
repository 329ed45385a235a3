from __future__ import annotations

from html.parser import HTMLParser

import pytest

from plumbgraph import html
from plumbgraph.errors import SettingsError


class Balanced(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in html._VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_text_is_escaped_and_fragments_are_not() -> None:
    made = html.tag("p", "<b>", html.tag("b", "x"), class_='a"b', hidden=True, id=None)
    assert made == '<p class="a&quot;b" hidden>&lt;b&gt;<b>x</b></p>'


def test_content_cannot_break_out_of_a_table() -> None:
    evil = "</td><script>alert(1)</script>"
    made = html.table(("a",), [(evil,), (1234,), (None,)])
    assert "<script" not in made
    assert '<td class="num">1,234</td>' in made


@pytest.mark.parametrize("address", ["javascript:alert(1)", " JaVaScRiPt:x", "data:text/html,x"])
def test_links_cannot_run_scripts(address: str) -> None:
    with pytest.raises(SettingsError, match="no address"):
        html.tag("a", "x", href=address)


@pytest.mark.parametrize("address", ["https://x.org/a?b=c:d", "#a", "./b", "mailto:a@b.c", "a/b"])
def test_links_lead_to_the_web_and_into_the_page(address: str) -> None:
    assert "href=" in html.tag("a", "x", href=address)


@pytest.mark.parametrize(
    "attributes", [{"onclick": "x"}, {"on_load": "x"}, {"a b": "x"}, {"x>": "1"}]
)
def test_attributes_cannot_be_scripts(attributes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="no attribute"):
        html.tag("p", **attributes)


@pytest.mark.parametrize("name", ["script", "style", "p onload=x", ""])
def test_elements_cannot_be_scripts(name: str) -> None:
    with pytest.raises(SettingsError, match="no element"):
        html.tag(name)


def test_a_page_is_whole_and_balanced() -> None:
    page = html.page("A & B", html.facts({"steps": 3, "by": "<me>"}), html.tag("br"))
    parsed = Balanced(page)
    assert parsed.stack == []
    assert "<title>A &amp; B</title>" in page
    assert "http" not in page
    assert "prefers-color-scheme:dark" in page


def test_fragments_show_themselves_in_notebooks() -> None:
    assert html.block("x")._repr_html_().endswith("x</div>")

"""What `check` lets pass of a page's prose is inert once the site's own Markdown has rendered it.

Python-Markdown decides what is code, a link or HTML; `check` reads lines. Where the two differ, a stranger could hide
markup in what only looks like code. Every page that passes is rendered here, and the HTML is looked at.
"""

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown import Markdown

from scripts.catalogue.cross_checks import _check_drawings, _check_page
from scripts.catalogue.load import Catalogue, Page
from scripts.catalogue.model import Technique
from tests.builders import REPOSITORY

TECHNIQUE = Technique.model_validate(
    {"title": "Systems", "summary": "Where weights live.", "order": 1, "saves": ["memory"], "costs": ["complexity"]}
    | {"limit": None, "survey": None}
)
_WORDS = "a abbr blockquote br code dd details div dl dt em h1 h2 h3 h4 h5 h6 hr li ol p pre span strong summary sup"
PROSE = frozenset(re.findall(r"\w+", f"{_WORDS} table tbody td th thead tr ul"))
"""What Markdown makes of words."""


def renderer() -> Markdown:
    configured = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))["markdown_extensions"]
    pairs = [(one, {}) if isinstance(one, str) else next(iter(one.items())) for one in configured]
    return Markdown(extensions=[name for name, _ in pairs], extension_configs=dict(pairs))


RENDER = renderer()


class Alive(HTMLParser):
    """Collects what could run, load or lead somewhere it should not."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in PROSE:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "src", "srcset", "action"):
                self.found.append(f"{tag} {name}={value}")
            if name == "href" and urlsplit((value or "").strip()).scheme not in ("", "http", "https", "paper"):
                self.found.append(f"{tag} {name}={value}")


def alive(body: str) -> list[str]:
    reader = Alive()
    reader.feed(RENDER.reset().convert(body))
    reader.close()
    return reader.found


def refused(body: str) -> list[str]:
    page = Page("systems", "techniques/systems/index.md", TECHNIQUE, body + "\n\n" + "word " * 90, 11)
    catalogue = Catalogue(REPOSITORY / "none", pages={"systems": page})
    return [found.message for found in (*_check_page(page, catalogue), *_check_drawings(catalogue))]


LIVE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![t](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "[x](< javascript:alert(1)>)",
    "[x](data:text/html,x)",
    "<javascript:alert(1)>",
    "*a*{: onclick=alert(1) }",
    "[r]: javascript:alert(1)",
]
AROUND = [
    "{}",
    "`x\n` {} `\ny`",
    "`x\n` {} `",
    "\\` {} `",
    "``x` {} `y``",
    "> {}",
    "> > {}",
    "- {}",
    "- a\n\n    {}",
    "1. {}",
    "!!! note\n    {}",
    "??? note\n    {}",
    "Term\n:   {}",
    "| a |\n|---|\n| {} |",
    "# {}",
    "```a```\n\n{}",
    "```\n`\n```\n` {} `",
    "~~~\n{}\n",
    "*a `b\n* c {} d` e",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("live", LIVE)
def test_what_would_live_is_refused_wherever_it_hides(live, around):
    body = around.format(live) + "\n\n[click][r]"
    assert not alive(body) or refused(body)


def test_each_of_them_lives_somewhere_and_plain_prose_passes():
    assert [live for live in LIVE if not alive(live + "\n\n[click][r]")] == []
    fine = "A token `<pad>` and [a page](#part), [b](https://example.org/).\n\n> quoted\n\n| a |\n|---|\n| `<b>` |"
    assert refused(fine) == []
    assert alive(fine) == []


SIGNS = [*"`[](){}<>!:\\\n ", "``", "```", "\n\n", "\n    ", "\n> ", "\n- ", "\n!!! a\n    ", "![", "](", "]: "]
WORDS = [
    "<script>",
    "x",
    "javascript:alert(1)",
    "https://a.example/",
    "[r]",
    "[click][r]",
    "`x`",
    "`<b>`",
    "#",
    "onclick=x",
]
PARTS = st.sampled_from([*LIVE, *SIGNS, *WORDS])


@settings(max_examples=200)
@given(st.lists(PARTS, min_size=1, max_size=14).map("".join))
@example("`x\n` <script>alert(1)</script> `\ny`")
def test_what_passes_is_inert(body):
    if not refused(body):
        assert alive(body) == []

"""What a string of a data file may hold. Entries come from strangers, so every string passes one of these rules.

Text is escaped again wherever it is shown; these rules make sure that nothing hidden, executable or of absurd size
gets into the catalogue in the first place, and that the contributor is told what to write instead.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

LINE_LIMIT = 500
PROSE_LIMIT = 4_000

# C0/C1 controls (newline is allowed in prose only), soft hyphens, zero-width and bidirectional controls, byte order
# mark, tag characters (which spell text that only a machine reads), and what YAML cannot hold.
_HIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKUP = re.compile(r"<[A-Za-z/!?]|\{\{|\{%|\{#|\$\{|&#?\w+;")
_ARXIV = re.compile(r"([0-9]{2})(0[1-9]|1[0-2])\.([0-9]{4}|[0-9]{5})")
_DOI = re.compile(r"10\.[0-9]{4,9}/[^\s\"<>{}\\^`|]+")
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.IGNORECASE)


def _plain(text: str, limit: int) -> str:
    if not text.isprintable() and (hidden := _HIDDEN.search(text)):
        name = unicodedata.name(hidden.group(), "unnamed")
        raise ValueError(f"holds the invisible character U+{ord(hidden.group()):04X} ({name.lower()}); delete it")
    if ("<" in text or "{" in text or "&" in text) and (markup := _MARKUP.search(text)):
        raise ValueError(
            f'holds markup, "{text[markup.start() : markup.start() + 12]}"; write plain text, a space after "<"'
        )
    if len(text) > limit:
        raise ValueError(f"is {len(text):,} characters long; {limit:,} at most")
    if not text.strip():
        raise ValueError("is empty; write it, or leave the field out")
    return text


def check_line(text: str) -> str:
    """One line of plain text."""
    if "\n" in text:
        raise ValueError("holds a line break; write it on one line, or fold it with `>-`")
    return _plain(text, LINE_LIMIT).strip()


def check_prose(text: str) -> str:
    """Paragraphs of plain text, separated by blank lines."""
    return _plain(text, PROSE_LIMIT).strip()


def check_url(url: str) -> str:
    """An absolute http(s) address with a public host name and neither credentials nor blanks."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f'is no address: {error}, in "{url[:80]}"; write https://…') from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f'expected an http(s) link, got "{url[:80]}"; write https://…')
    if not _HOST.fullmatch(host) or parts.username is not None or parts.password is not None or port == 0:
        raise ValueError(
            f'expected a link to a named host without credentials, got "{url[:80]}"; write https://host/path'
        )
    if len(url) > LINE_LIMIT or re.search(r"[\s\"'<>\\^`{|}]", url) or _HIDDEN.search(url):
        raise ValueError("holds a blank, quote, bracket or hidden character, or is too long; percent-encode it")
    return url


def check_arxiv(identifier: str) -> str:
    """An arXiv id of 2007 or later, without version."""
    if not _ARXIV.fullmatch(identifier):
        raise ValueError(
            f'expected an id such as "2401.08092", got "{identifier[:40]}"; four digits, a dot, four or five more'
        )
    return identifier


def check_doi(doi: str) -> str:
    """A bare DOI."""
    if not _DOI.fullmatch(doi) or len(doi) > 200 or not doi.isprintable():
        raise ValueError(f'expected a bare DOI such as 10.1145/3624743, got "{doi[:60]}"; leave out https://doi.org/')
    if doi.casefold().startswith("10.48550/arxiv"):
        raise ValueError("this DOI is arXiv's own; give the id under preprint.arxiv and leave the DOI out")
    return doi


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f'expected {expected}, got "{text[:80]}"; see CONTRIBUTING.md')
        return text

    return check


SLUG = r"[a-z0-9]+(-[a-z0-9]+)*"

Line = Annotated[str, AfterValidator(check_line), Field(json_schema_extra={"maxLength": LINE_LIMIT})]
Prose = Annotated[str, AfterValidator(check_prose), Field(json_schema_extra={"maxLength": PROSE_LIMIT})]
Url = Annotated[str, AfterValidator(check_url), Field(json_schema_extra={"pattern": "^https?://"})]
Arxiv = Annotated[str, AfterValidator(check_arxiv), Field(json_schema_extra={"pattern": f"^{_ARXIV.pattern}$"})]
Doi = Annotated[str, AfterValidator(check_doi), Field(json_schema_extra={"pattern": f"^{_DOI.pattern}$"})]
Key = Annotated[
    str,
    AfterValidator(
        _matching(rf"(?=.{{2,60}}$){SLUG}", "lower-case words of a-z and 0-9 joined by hyphens, 2 to 60 characters")
    ),
    Field(json_schema_extra={"pattern": f"^{SLUG}$"}),
]
TechniqueSlug = Annotated[
    str,
    AfterValidator(_matching(rf"(?=.{{2,120}}$){SLUG}(/{SLUG})*", "the path of a page under techniques/, without .md")),
    Field(json_schema_extra={"pattern": f"^{SLUG}(/{SLUG})*$"}),
]

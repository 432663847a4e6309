"""What the tests of the tools share: small checkouts, entries as text, and generated papers."""

from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

from scripts.catalogue.check import check
from scripts.catalogue.dump import SCHEMA_LINE
from scripts.catalogue.model import Author, Claim, Correction, Paper, Preprint, Publication
from scripts.catalogue.venues import VENUES
from scripts.catalogue.vocabulary import METRICS, RESOURCES

REPOSITORY = Path(__file__).parent.parent
WORK = "entries/2024/work.yaml"
_PAGE = """---
title: Systems
summary: Where weights live and when each piece of work runs.
order: 1
saves: [memory]
costs: [complexity]
limit: null
survey: null
---

"""


def entry(**fields: str | None) -> str:
    """An entry as text; each field is raw YAML, None leaves it out. The title stands in line 2, added fields from 6."""
    lines = {"title": "Paging weights to flash", "year": "2024", "techniques": "[systems]", "level": "listed"} | fields
    return SCHEMA_LINE + "".join(f"{name}: {value}\n" for name, value in lines.items() if value is not None)


def page(body: str = "", words: int = 100, **front: str) -> str:
    """A technique page as text; its body begins in line 11."""
    head = "".join(f"{name}: {value}\n" for name, value in front.items())
    return _PAGE.replace("---\n\n", f"{head}---\n\n") + body + "\n\n" + "word " * words + "\n"


def checkout(root: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A checkout with the one technique `systems` and the files given."""
    for name, content in ({"techniques/systems/index.md": page()} | dict(files or {})).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def complaints(root: Path, *paths: str) -> list[str]:
    """Every problem of a checkout as printed."""
    return [str(found) for found in check(root, paths, use_cache=False)[1]]


CLAIM = {
    "id": "faster",
    "says": "It is faster.",
    "metric": "latency",
    "form": "ratio",
    "value": 2.5,
    "against": "the baseline",
    "where": "table 1",
    "seen": "source",
}
PAPER = {"title": "Paging weights to flash", "year": 2024, "techniques": ["systems"], "level": "listed"}


# Letters of several scripts, and every sign that YAML, BibTeX or Markdown could take for its own.
_SIGNS = st.sampled_from(list("abcXYZ019 :#'\"-?!,[]{}&*|>%@`~\\/()=+.;_$^<€éßЖ漢字🙂"))
_SPECIAL = [
    "no",
    "yes",
    "null",
    "true",
    "~",
    "2401.10",
    "1e3",
    "0x1F",
    "2024-01-01",
    "- a",
    "a: b",
    "a #b",
    "=",
    "'",
    '"q"',
]


def _is_line(text: str) -> bool:
    return (
        bool(text.strip())
        and text == text.strip()
        and not any(mark in text for mark in ("<", "{{", "{%", "{#", "${", "&"))
    )


LINES = st.one_of(st.sampled_from(_SPECIAL), st.text(_SIGNS, min_size=1, max_size=150).filter(_is_line))
PROSE = st.lists(LINES, min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from(["\n", "\n\n", " "]).map(lambda gap: gap.join(parts))
)
SLUGS = st.from_regex(r"[a-z0-9]{2,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)
ARXIV = st.from_regex(r"(1[0-9]|2[0-5])(0[1-9]|1[0-2])\.[0-9]{5}", fullmatch=True)
DOIS = st.from_regex(r"10\.[0-9]{4,6}/[a-z0-9._;()/-]{1,20}[a-z0-9]", fullmatch=True)
URLS = st.from_regex(r"https://[a-z]{2,9}\.(org|com)/[a-z0-9_~%?=/-]{0,20}[a-z0-9]", fullmatch=True)
YEARS = st.integers(1990, 2025)
_NAME = st.from_regex(r"[A-ZÉŁÜ][a-zöéłø]{1,8}([-' ][A-Z][a-z]{1,6})?", fullmatch=True)
PEOPLE = st.builds(
    Author,
    family=_NAME | st.sampled_from(["van der Berg", "de la Cruz", "O'Neil", "King Jr.", "欧阳"]),
    given=_NAME | st.sampled_from(["J. K.", "Martin Luther, Jr.", "Jean-Luc", "A and B", "晓明"]),
) | st.builds(Author, family=_NAME | st.sampled_from(["DeepSeek-AI", "Barnes and Noble, Inc.", "01.AI", "R&D Lab"]))
"""Names as papers print them: BibTeX cannot carry every text."""
AUTHORS = st.builds(Author, family=LINES, given=st.none() | LINES)
_NUMBERS = st.integers(1, 10**20) | st.floats(1e-9, 1e18)
CLAIMS = st.builds(
    Claim,
    id=SLUGS,
    says=LINES,
    metric=st.sampled_from([*METRICS]),
    form=st.just("ratio"),
    value=_NUMBERS | st.sampled_from(["1/5.1", "1/3"]),
    to=st.none() | _NUMBERS,
    against=LINES,
    setting=st.none() | LINES,
    where=LINES,
    seen=st.just("source"),
)
PAPERS = st.builds(
    Paper,
    title=LINES,
    also_titled=st.lists(LINES, max_size=3),
    authors=st.lists(AUTHORS, min_size=1, max_size=4),
    authors_cut=st.booleans(),
    year=YEARS,
    published=st.none()
    | st.builds(
        Publication,
        venue=st.sampled_from([*VENUES]),
        year=st.none() | YEARS,
        doi=st.none() | DOIS,
        url=st.none() | URLS,
    ),
    preprint=st.none() | st.builds(Preprint, arxiv=ARXIV),
    url=st.none() | URLS,
    techniques=st.lists(SLUGS, min_size=1, max_size=3),
    saves=st.lists(st.sampled_from(RESOURCES), max_size=9),
    level=st.just("reviewed"),
    summary=PROSE,
    claims=st.lists(CLAIMS, max_size=3, unique_by=lambda claim: claim.id),
    checked=st.none() | st.dates(),
    sources=st.lists(LINES, max_size=3),
    note=st.none() | LINES,
    corrections=st.lists(st.builds(Correction, date=st.dates(), what=LINES, was=st.none() | LINES), max_size=2),
)

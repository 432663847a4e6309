"""The explorer: all papers as one compact table for the browser, the facets to choose by, and its first rows as HTML.

The table is one array a column: that is a seventh smaller, compressed, than one a row, since like stands beside like
(2,055 papers take 131 kB). `site/assets/js/explorer-table.js` reads it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.catalogue.load import Entry
from scripts.catalogue.model import Author
from scripts.catalogue.vocabulary import RESOURCES
from scripts.website.derive import effective_saves
from scripts.website.implementations import header_fields
from scripts.website.views import PaperRow, TechniqueView, Views

TABLE_HREF = "papers/table.json"
FIRST_ROWS = 40
"""Rows written into the page: what is seen before the table has come, and all that is seen without JavaScript."""

EVIDENCE = {
    "listed": "listed: facts only",
    "reviewed": "reviewed: with a summary",
    "claims": "claims typed, none tested",
    "tested": "claims tested here",
}
"""How far the evidence of a paper goes; each level includes those before it."""

CODE, IMPLEMENTED, AUTHORS_CUT = 1, 2, 4
"""Flags of a paper."""

HEADER_LENGTH = 4_000
"""Characters of a module in which its header stands."""

_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_TITLE = re.compile(r'"([^"]+)"')


@dataclass(frozen=True)
class Choice:
    """One value of a facet: what stands in the address, what is read, and how many papers have it."""

    value: str
    label: str
    count: int


@dataclass(frozen=True)
class ExplorerRow:
    """A paper in the explorer's table, as the browser shows it too."""

    paper: PaperRow
    evidence: str
    implemented: bool


@dataclass(frozen=True)
class ExplorerView:
    """Everything on the explorer's page but the rows beyond the first."""

    total: int
    first_year: int
    last_year: int
    tree: list[TechniqueView]
    saves: list[Choice]
    venues: list[Choice]
    evidence: list[Choice]
    has: list[Choice]
    rows: list[ExplorerRow]


class Explorer:
    """The explorer of one catalogue. `verdicts` gives the verdicts of an entry's claims."""

    def __init__(self, views: Views, tree: list[TechniqueView], verdicts: Callable[[Entry], Iterable[str]]) -> None:
        self.views, self.derived, self.tree = views, views.derived, tree
        self.implemented = implemented_papers(views.settings.root)
        self.evidence = {entry.key: evidence_level(entry, verdicts) for entry in self.derived.newest}
        self.implemented_keys = {entry.key for entry in self.derived.newest if self._implemented(entry)}
        self.tested_keys = {key for key, level in self.evidence.items() if level == "tested"}

    def view(self) -> ExplorerView:
        """What the page shows."""
        entries, levels = self.derived.newest, Counter(self.evidence.values())
        has = [
            Choice("code", "the authors' code", sum(entry.paper.code is not None for entry in entries)),
            Choice("implementation", "an implementation here", sum(self._implemented(entry) for entry in entries)),
        ]
        return ExplorerView(
            total=len(entries),
            first_year=min((entry.paper.year for entry in entries), default=0),
            last_year=max((entry.paper.year for entry in entries), default=0),
            tree=self.tree,
            saves=_choices(word for entry in entries for word in self._saves(entry)),
            venues=_choices(entry.paper.venue for entry in entries if entry.paper.venue),
            evidence=[Choice(level, label, levels[level]) for level, label in EVIDENCE.items()],
            has=has,
            rows=[
                ExplorerRow(self.views.rows[entry.key], self.evidence[entry.key], self._implemented(entry))
                for entry in entries[:FIRST_ROWS]
            ],
        )

    def table(self) -> str:
        """The file that the browser loads: names once, then the columns, newest paper first."""
        slugs = list(self.views.refs)
        venues = sorted({entry.paper.venue for entry in self.derived.newest if entry.paper.venue}, key=str.casefold)
        table = {
            "evidence": [*EVIDENCE],
            "saves": [*RESOURCES],
            "techniques": [[slug, self.views.refs[slug].title, self.views.refs[slug].hue] for slug in slugs],
            "venues": venues,
            "papers": self._columns(slugs, venues),
        }
        return json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n"

    def _columns(self, slugs: list[str], venues: list[str]) -> dict[str, list[Any]]:
        """techniques: numbers of slugs; venue: its number or -1; saves: a bit for each of RESOURCES; flags: above."""
        papers = [(entry, entry.paper) for entry in self.derived.newest]
        technique = {slug: number for number, slug in enumerate(slugs)}
        venue = {name: number for number, name in enumerate(venues)}
        level = {name: number for number, name in enumerate(EVIDENCE)}
        bit = {word: 1 << number for number, word in enumerate(RESOURCES)}
        return {
            "key": [entry.key for entry, _ in papers],
            "title": [paper.title for _, paper in papers],
            "authors": [authors_field(paper.authors) for _, paper in papers],
            "year": [paper.year for _, paper in papers],
            "venue": [venue[paper.venue] if paper.venue else -1 for _, paper in papers],
            "techniques": [[technique[slug] for slug in paper.techniques] for _, paper in papers],
            "saves": [sum(bit[word] for word in self._saves(entry)) for entry, _ in papers],
            "flags": [self._flags(entry) for entry, _ in papers],
            "evidence": [level[self.evidence[entry.key]] for entry, _ in papers],
            "arxiv": [paper.arxiv or "" for _, paper in papers],
            "doi": [paper.doi or "" for _, paper in papers],
        }

    def _flags(self, entry: Entry) -> int:
        paper = entry.paper
        return (
            CODE * (paper.code is not None) | IMPLEMENTED * self._implemented(entry) | AUTHORS_CUT * paper.authors_cut
        )

    def _saves(self, entry: Entry) -> list[str]:
        return effective_saves(entry, self.derived.catalogue.pages)[0]

    def _implemented(self, entry: Entry) -> bool:
        return bool({entry.paper.arxiv, entry.paper.title.casefold()} & self.implemented)


def evidence_level(entry: Entry, verdicts: Callable[[Entry], Iterable[str]]) -> str:
    """The highest level of EVIDENCE that the record reaches."""
    if entry.paper.claims:
        return "tested" if any(verdict != "untested" for verdict in verdicts(entry)) else "claims"
    return entry.paper.level


def authors_field(authors: Iterable[Author]) -> str:
    """All authors in one text: "Elias Frantar;Dan Alistarh". The family name is what follows the last plain space.

    A no-break space holds names of several words together: "Ludwig van\u00a0Beethoven", "Mistral\u00a0AI".
    """
    names = []
    for author in authors:
        family = author.family.replace(";", ",").replace(" ", "\u00a0")
        names.append(f"{author.given.replace(';', ',')} {family}" if author.given else family)
    return ";".join(names)


def implemented_papers(root: Path) -> frozenset[str]:
    """What the headers of reference_impls/ name as their paper: arXiv ids, and folded titles in quotation marks."""
    found: set[str] = set()
    for path in (root / "reference_impls").glob("*/*.py"):
        named = header_fields(path.read_text("utf-8")[:HEADER_LENGTH]).get("Paper", "")
        found.update(_ARXIV.findall(named), (title.casefold() for title in _TITLE.findall(named)))
    return frozenset(found)


def _choices(values: Iterable[str]) -> list[Choice]:
    """Values with their counts, commonest first."""
    counts = Counter(values)
    return [Choice(value, value, counts[value]) for value in sorted(counts, key=lambda v: (-counts[v], v.casefold()))]

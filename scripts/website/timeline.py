"""How a technique developed: its notable papers by year, beside how many there were."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from scripts.catalogue.addresses import paper_href
from scripts.catalogue.load import Entry

NOTABLE = 14
"""Papers on a timeline, besides the first of all."""
IN_A_YEAR = 4
"""Of one year, unless there is room."""
SHORTEST = 3
"""Papers that make a development."""
NAME_LENGTH = 34
"""Characters that the name before a title's colon may have; longer ones are words, not names."""


@dataclass(frozen=True)
class Milestone:
    """A paper on a timeline: its short name, and what its title adds."""

    name: str
    rest: str
    href: str
    is_reviewed: bool
    is_implemented: bool
    is_tested: bool


@dataclass(frozen=True)
class Year:
    """A year with its papers; `skipped` years before it have none at all."""

    year: int
    milestones: list[Milestone]
    others: int
    others_href: str
    skipped: int


def timeline(slug: str, entries: Iterable[Entry], implemented: set[str], tested: set[str]) -> list[Year]:
    """Years from the first to the last. `implemented` and `tested`: keys of papers with a module, with a verdict."""
    entries = list(entries)
    if len(entries) < SHORTEST:
        return []
    counts = Counter(entry.paper.year for entry in entries)
    chosen: dict[int, list[Entry]] = defaultdict(list)
    for entry in sorted(notable(entries, implemented), key=lambda entry: (entry.paper.arxiv or "", entry.key)):
        chosen[entry.paper.year].append(entry)
    years, last = [], min(counts) - 1
    for year in sorted(counts):
        milestones = [_milestone(entry, implemented, tested) for entry in chosen[year]]
        query = urlencode({"technique": slug, "from": year, "to": year})
        others = counts[year] - len(milestones)
        years.append(Year(year, milestones, others, f"papers/?{query}", year - last - 1))
        last = year
    return years


def notable(entries: list[Entry], implemented: set[str]) -> list[Entry]:
    """The first paper, then those implemented here, then reviewed ones, then the newest; few of any one year."""

    def rank(entry: Entry) -> tuple[bool, bool, int, str, str]:
        paper = entry.paper
        return entry.key in implemented, paper.level == "reviewed", paper.year, paper.arxiv or "", entry.key

    ranked = sorted(entries, key=rank, reverse=True)
    first = min(entries, key=lambda entry: (entry.paper.year, entry.paper.arxiv or "", entry.key))
    taken, in_year = [first], Counter([first.paper.year])
    for entry in ranked:
        if entry is not first and in_year[entry.paper.year] < IN_A_YEAR and len(taken) <= NOTABLE:
            taken.append(entry)
            in_year[entry.paper.year] += 1
    return taken


def _milestone(entry: Entry, implemented: set[str], tested: set[str]) -> Milestone:
    name, rest = split_title(entry.paper.title)
    is_reviewed = entry.paper.level == "reviewed"
    return Milestone(name, rest, paper_href(entry.key), is_reviewed, entry.key in implemented, entry.key in tested)


def split_title(title: str) -> tuple[str, str]:
    """The name that a title gives its method, and the rest; the whole title where it gives none."""
    name, colon, rest = title.partition(": ")
    return (name, rest.strip()) if colon and len(name) <= NAME_LENGTH else (title, "")

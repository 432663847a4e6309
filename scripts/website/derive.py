"""What follows from the catalogue and is stored nowhere: order, counts, savings, neighbours, claims in words."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import fsum, log

from scripts.catalogue.load import Catalogue, Entry, Page
from scripts.catalogue.model import Claim, as_number
from scripts.catalogue.vocabulary import METRICS

RELATED = 6
WINDOW = 60
"""How many contemporaries in its main technique a paper is compared with when its neighbours are sought."""

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

_COMMON = frozenset(
    "a an and are as at by can do for from how in into is it its large language llm llms model models not of on or"  # noqa: SIM905 a list would be forty lines
    " the to towards via with without your efficient".split()
)


@dataclass
class Derived:
    """The catalogue, arranged for reading. Every list of entries is newest first."""

    catalogue: Catalogue
    newest: list[Entry] = field(default_factory=list)
    own: dict[str, list[Entry]] = field(default_factory=dict)
    """Entries of a technique: slug -> entries that name it."""
    below: dict[str, list[Entry]] = field(default_factory=dict)
    """The same with everything below it in the tree, each entry once."""
    children: dict[str, list[str]] = field(default_factory=dict)
    """Slugs of the children in their order; the key "" holds the areas."""
    related: dict[str, list[str]] = field(default_factory=dict)
    combines: dict[str, list[str]] = field(default_factory=dict)
    """Techniques that go with one, whichever of the two pages says so, in the order of the tree."""
    conflicts: dict[str, list[str]] = field(default_factory=dict)


def derive(catalogue: Catalogue) -> Derived:
    """Arrange a catalogue; its cost grows in proportion to the number of entries."""
    newest = sorted(catalogue.entries.values(), key=age_key, reverse=True)
    result = Derived(catalogue, newest)
    own: dict[str, list[Entry]] = defaultdict(list)
    below: dict[str, list[Entry]] = defaultdict(list)
    for entry in newest:
        for slug in entry.paper.techniques:
            own[slug].append(entry)
        for slug in dict.fromkeys(part for named in entry.paper.techniques for part in lineage(named)):
            below[slug].append(entry)
    result.own = {slug: own[slug] for slug in catalogue.pages}
    result.below = {slug: below[slug] for slug in catalogue.pages}
    children: dict[str, list[str]] = defaultdict(list)
    for page in sorted(catalogue.pages.values(), key=lambda page: (page.technique.order, page.slug)):
        children[page.slug.rpartition("/")[0]].append(page.slug)
    result.children = dict(children)
    result.related = _related(result)
    pages = [(page.slug, page.technique) for page in catalogue.pages.values()]
    result.combines = _both_ways({slug: technique.combines for slug, technique in pages})
    result.conflicts = _both_ways({slug: technique.conflicts for slug, technique in pages})
    return result


def _both_ways(named: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each slug's partners: those it names and those that name it."""
    found: dict[str, set[str]] = {slug: set() for slug in named}
    for slug, others in named.items():
        for other in others:
            found[slug].add(other)
            found[other].add(slug)
    return {slug: sorted(others) for slug, others in found.items()}


def age_key(entry: Entry) -> tuple[int, str, str]:
    """Sorts by first public year, then by arXiv number where there is one, then by key."""
    return entry.paper.year, entry.paper.arxiv or "", entry.key


def lineage(slug: str) -> list[str]:
    """The slug and all above it, topmost first."""
    parts = slug.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def effective_saves(entry: Entry, pages: dict[str, Page]) -> tuple[list[str], bool]:
    """What a paper saves: its own word, else its main technique's; -> (resources, taken from the technique)."""
    if entry.paper.saves:
        return list(entry.paper.saves), False
    page = pages.get(entry.paper.techniques[0])
    return (list(page.technique.saves), True) if page else ([], False)


def per_year(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """(year, papers) for every year that has one, ascending."""
    return sorted(Counter(entry.paper.year for entry in entries).items())


def _related(derived: Derived) -> dict[str, list[str]]:
    """The closest papers: rare title words and authors in common, among contemporaries of the same technique.

    A window of contemporaries keeps the cost linear: comparing all pairs of a leaf with 270 papers is quadratic.
    """
    features = {entry.key: _features(entry) for entry in derived.newest}
    frequency = Counter(feature for found in features.values() for feature in found)
    weight = {feature: log(len(features) / n) for feature, n in frequency.items()}
    related: dict[str, list[str]] = {entry.key: [] for entry in derived.newest}
    for slug, neighbours in derived.own.items():
        for at, entry in enumerate(neighbours):
            if entry.paper.techniques[0] != slug:
                continue
            first = max(0, at - WINDOW // 2)
            scored = []
            for offset, other in enumerate(neighbours[first : at + WINDOW // 2 + 1]):
                shared = features[entry.key] & features[other.key]
                if other is not entry:
                    scored.append((fsum(map(weight.__getitem__, shared)), -abs(first + offset - at), other.key))
            related[entry.key] = [key for _, _, key in sorted(scored, reverse=True)[:RELATED]]
    return related


def _features(entry: Entry) -> set[str]:
    words = re.findall(r"[a-z0-9]{2,}", entry.paper.title.casefold())
    names = (f"{author.family}, {author.given}" for author in entry.paper.authors[:20])
    return {word for word in words if word not in _COMMON} | set(names) | set(entry.paper.techniques[1:])


def claim_value(claim: Claim) -> str:
    """A claim's figure in words: "up to 5.1× lower", "97.22 %", "20.14 percentage points higher"."""
    metric = METRICS[claim.metric]
    hedge = "" if claim.bound == "exact" else claim.bound.replace("_", " ") + " "
    values = [claim.value] if claim.to is None else [claim.value, claim.to]
    numbers = [as_number(value) for value in values]
    if claim.form == "absolute":
        return hedge + amount(numbers, metric.unit)
    if claim.form == "difference":
        direction = "higher" if numbers[0] >= 0 else "lower"
        return f"{hedge}{amount(sorted(map(abs, numbers)), difference_unit(metric.unit))} {direction}"
    lower = as_number(values[0]) < 1
    factors = [_factor(value) for value in values]
    return hedge + "–".join(sorted(factors, key=float)) + f"× {'lower' if lower else 'higher'}"


def amount(numbers: Iterable[float], unit: str) -> str:
    """Numbers of one unit, none below zero, as a range: "14,400 s", "5–7 %", "48 GB"."""
    numbers = list(numbers)
    scale, prefix = next((found for found in _PREFIXES if unit == "B" and max(numbers) >= found[0]), (1.0, ""))
    return "–".join(_figure(number / scale) for number in numbers) + ("" if unit == "1" else f" {prefix}{unit}")


def difference_unit(unit: str) -> str:
    """The unit of a difference of two values: of percentages, percentage points."""
    return "percentage points" if unit == "%" else unit


def _factor(value: int | float | str) -> str:
    """A ratio as the factor a reader expects, above one, with no more digits than the source has."""
    if isinstance(value, str):
        return value.partition("/")[2]
    digits = max(3, len(f"{value:.6g}".lstrip("0.").replace(".", "")))
    return _figure(value) if value >= 1 else f"{float(f'{1 / value:.{digits}g}'):.6g}"  # 1000, not 1e+03


def _figure(value: int | float | str) -> str:
    return f"{as_number(value):,.6g}"

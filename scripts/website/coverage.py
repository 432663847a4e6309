"""What is missing: the work list for whoever wants to help."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from scripts.catalogue.addresses import technique_href
from scripts.catalogue.load import Entry
from scripts.website.family import Families
from scripts.website.ledger import Ledger
from scripts.website.settings import Settings
from scripts.website.staleness import stale
from scripts.website.views import Views

SHOWN = 40
"""How many lines of a gap the page lists; the JSON file has all."""

NOT_TECHNIQUES = ("cost_model", "models")
"""Families that the others and the site stand on; they have cases of their own nowhere."""


@dataclass(frozen=True)
class Gap:
    """One kind of gap. lines: what is missing, where it is mended (a path in the site, or None), and a remark."""

    id: str
    title: str
    remedy: str
    lines: list[tuple[str, str | None, str]] = field(default_factory=list)

    @property
    def shown(self) -> list[tuple[str, str | None, str]]:
        """The first lines."""
        return self.lines[:SHOWN]


def make_coverage(views: Views, ledger: Ledger, families: Families, settings: Settings) -> list[Gap]:
    """Every gap that data can show, those that count most first."""
    return [
        _untested(ledger),
        _without_implementation(views, families),
        _never_run(families),
        _without_page(families),
        _stale(views, families, settings),
        _unchecked(views),
        _entries(
            views,
            "no-ids",
            "Papers without DOI and arXiv id",
            "Look the paper up and add preprint or published.doi; a record with an id can be cited and checked.",
            lambda entry: not (entry.paper.doi or entry.paper.arxiv),
        ),
        _entries(
            views,
            "no-authors",
            "Papers without authors",
            "Add authors in printed order.",
            lambda entry: not entry.paper.authors,
        ),
    ]


def _untested(ledger: Ledger) -> Gap:
    lines: list[tuple[str, str | None, str]] = [
        (f"{row.paper.key}: {row.claim.says}", f"{row.paper.href}#claim-{row.claim.id}", row.verdict.reason)
        for _, rows in ledger.untested
        for row in rows
    ]
    remedy = (
        "Name the benchmark case that tests it under `test`, or write one in the family's `bench.py`; where a claim "
        "waits for a run, record it: `python -m scripts.bench CASE`."
    )
    return Gap("untested", "Claims that are untested", remedy, lines)


def _without_implementation(views: Views, families: Families) -> Gap:
    """Leaves of the taxonomy for which reference_impls/ has no module, those with most papers first."""
    leaves = [
        views.technique(slug)
        for slug in views.pages
        if not views.derived.children.get(slug) and not ((view := families.view(slug)) and view.implementations)
    ]
    leaves.sort(key=lambda leaf: (-leaf.count, leaf.slug))
    remedy = (
        "Write `reference_impls/<family>/<technique>.py` with a test, and name the family in the page's front matter."
    )
    lines: list[tuple[str, str | None, str]] = [(leaf.title, leaf.href, f"{leaf.count} papers") for leaf in leaves]
    return Gap("no-implementation", "Techniques without an implementation", remedy, lines)


def _never_run(families: Families) -> Gap:
    run = {(point.run.suite, point.module) for points in families.points.values() for point in points}
    titles = {(family, one.name): one.title for family, found in families.listed.items() for one in found}
    lines: list[tuple[str, str | None, str]] = [
        (f"{family}.{name}", _family_href(families, family), titles.get((family, name), "no technique page shows it"))
        for family, names in sorted(families.modules.items())
        if family not in NOT_TECHNIQUES
        for name in names
        if (family, name) not in run
    ]
    remedy = "Add a case with a module to the family's `bench.py`, and record it: `python -m scripts.bench <family>`."
    return Gap("never-run", "Implementations without a recorded run", remedy, lines)


def _without_page(families: Families) -> Gap:
    """Code that no reader of the site finds."""
    lines: list[tuple[str, str | None, str]] = [
        (f"reference_impls/{family}", None, f"{len(names)} {'module' if len(names) == 1 else 'modules'}")
        for family, names in sorted(families.modules.items())
        if family not in NOT_TECHNIQUES and family not in families.listed
    ]
    remedy = "Name the family in the front matter of the technique's page; modules appear below it by themselves."
    return Gap("no-page", "Implementations that no technique page shows", remedy, lines)


def _family_href(families: Families, family: str) -> str | None:
    """The page that shows all of a family."""
    return technique_href(families.topmost(family)) + "#evidence" if family in families.listed else None


def _stale(views: Views, families: Families, settings: Settings) -> Gap:
    runs = sorted(views.derived.catalogue.runs.items())
    found = ((file, _family_href(families, run.suite), stale(settings.root, run)) for file, run in runs)
    lines: list[tuple[str, str | None, str]] = [(file, href, why) for file, href, why in found if why]
    remedy = "Run the suite again on that machine: `python -m scripts.bench <family>`."
    return Gap("stale", "Recorded runs older than their code", remedy, lines)


def _unchecked(views: Views) -> Gap:
    return _entries(
        views,
        "unchecked",
        "Reviewed papers that nobody compared with the source",
        "Compare each figure with the paper, set its seen: source and the entry's checked to the day.",
        lambda entry: entry.paper.level == "reviewed" and entry.paper.checked is None,
    )


def _entries(views: Views, name: str, title: str, remedy: str, is_missing: Callable[[Entry], bool]) -> Gap:
    found: Iterable[Entry] = (entry for entry in views.derived.newest if is_missing(entry))
    rows = (views.rows[entry.key] for entry in found)
    lines: list[tuple[str, str | None, str]] = [(row.title, row.href, f"{row.technique}, {row.year}") for row in rows]
    return Gap(name, title, remedy, lines)


def coverage_items(gaps: Iterable[Gap]) -> list[dict[str, Any]]:
    """The gaps for programs."""
    return [
        {
            "id": gap.id,
            "title": gap.title,
            "remedy": gap.remedy,
            "count": len(gap.lines),
            "lines": [{"what": what, "page": href, "remark": remark} for what, href, remark in gap.lines],
        }
        for gap in gaps
    ]

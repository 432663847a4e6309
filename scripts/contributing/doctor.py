"""What is missing or stale, as one list of work, what helps most readers first.

The gaps are those of the Coverage page. A line's value says how many papers, claims or measurements stand to gain; it
orders the list and means nothing beyond that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.catalogue.check import check
from scripts.catalogue.load import Catalogue
from scripts.website.coverage import Gap, make_coverage
from scripts.website.derive import derive
from scripts.website.errors import DataError
from scripts.website.family import Families
from scripts.website.ledger import make_ledger
from scripts.website.settings import read_settings
from scripts.website.views import Views

WEIGHTS = {
    "stale": 3.0,  # a number on the site may be wrong
    "no-page": 2.0,
    "no-implementation": 1.0,
    "never-run": 1.0,
    "unchecked": 1.0,
    "untested": 0.5,
    "no-authors": 0.2,
    "no-ids": 0.1,
}
"""Of one paper, claim or measurement that stands to gain."""


@dataclass(frozen=True)
class Work:
    """One thing to do."""

    value: float
    kind: str
    what: str
    remark: str
    remedy: str


def work_list(root: Path) -> list[Work]:
    """Everything there is to do, the most valuable first. Raises DataError where `check` finds errors."""
    catalogue, problems = check(root)
    if errors := [problem for problem in problems if problem.severity == "error"]:
        raise DataError(errors)
    settings = read_settings(root)
    derived = derive(catalogue)
    views = Views(derived, settings)
    gaps = make_coverage(views, make_ledger(views), Families(derived, settings), settings)
    found = [work for gap in gaps for work in _work(gap, catalogue)]
    return sorted(found, key=lambda work: (-work.value, work.kind, work.what))


def _work(gap: Gap, catalogue: Catalogue) -> Iterator[Work]:
    weight = WEIGHTS.get(gap.id, 1.0)
    for what, href, remark in gap.lines:
        yield Work(round(weight * _gain(what, href, remark, catalogue), 1), gap.id, what, remark, gap.remedy)


def _gain(what: str, href: str | None, remark: str, catalogue: Catalogue) -> int:
    """How many papers, claims or measurements a line is about."""
    if what in catalogue.runs:
        return len(catalogue.runs[what].measurements)
    if count := re.match(r"(\d+) (papers|modules?)$", remark):
        return int(count[1])
    key = re.match(r"papers/([a-z0-9-]+)/", href or "")
    entry = catalogue.entries.get(key[1]) if key else None
    return 1 + len(entry.paper.claims) if entry else 1

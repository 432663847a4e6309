"""The ledger: every claim of the catalogue, its verdict, what was measured, and in what the settings differ."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import Any

from scripts.catalogue.load import Entry
from scripts.catalogue.model import Claim, as_number
from scripts.website.verdicts import KINDS, Kind, Verdict
from scripts.website.views import ClaimView, PaperRow, Views, claim_view

LEDGER_HREF = "ledger/ledger.csv"
COLUMNS = (
    "paper",
    "claim",
    "says",
    "metric",
    "form",
    "value",
    "claimed",
    "verdict",
    "reason",
    "differs",
    "machine",
    "machine_verdict",
    "measured",
    "lo",
    "hi",
    "n",
    "converged",
    "run",
    "command",
    "stale",
    "where",
    "seen",
    "compared_by_a_person",
)


@dataclass(frozen=True)
class Row:
    """A claim in the ledger."""

    paper: PaperRow
    area: str
    claim: ClaimView
    stored: Claim
    verdict: Verdict
    is_compared: bool


@dataclass(frozen=True)
class Ledger:
    """All claims, those with a verdict first."""

    tested: list[Row]
    untested: list[tuple[PaperRow, list[Row]]]
    """By paper."""
    counts: dict[Kind, int]

    @property
    def rows(self) -> list[Row]:
        """Every claim in the order of the page."""
        return [*self.tested, *(row for _, rows in self.untested for row in rows)]


def make_ledger(views: Views) -> Ledger:
    """The ledger of a catalogue."""
    rows = [_row(entry, claim, views) for entry in views.derived.newest for claim in entry.paper.claims]
    tested = sorted((row for row in rows if row.verdict.kind != "untested"), key=_place)
    untested: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict.kind == "untested":
            untested.setdefault(row.paper.key, []).append(row)
    counts = Counter(row.verdict.kind for row in rows)
    return Ledger(
        tested, [(found[0].paper, found) for found in untested.values()], {kind: counts[kind] for kind in KINDS}
    )


def _row(entry: Entry, claim: Claim, views: Views) -> Row:
    view = claim_view(claim, views.verdict(claim), entry)
    area = views.refs[entry.paper.techniques[0]].slug.partition("/")[0]
    return Row(views.rows[entry.key], area, view, claim, views.verdict(claim), view.is_compared)


def _place(row: Row) -> tuple[int, str, str]:
    return KINDS.index(row.verdict.kind), row.paper.key, row.claim.id


def ledger_items(ledger: Ledger) -> list[dict[str, Any]]:
    """The ledger for programs: an item for each claim and machine, one without a machine where it is untested.

    `verdict` and `reason` are the claim's, `machine_verdict` and the figures those of one machine.
    """
    return [item for row in ledger.rows for item in _items(row)]


def _items(row: Row) -> list[dict[str, Any]]:
    claim = row.stored
    own = {
        "paper": row.paper.key,
        "claim": claim.id,
        "says": claim.says,
        "metric": claim.metric,
        "form": claim.form,
        "value": as_number(claim.value),
        "claimed": row.claim.value,
        "verdict": row.verdict.kind,
        "reason": row.verdict.reason,
        "differs": claim.test.differs if claim.test else None,
        "where": claim.where,
        "seen": claim.seen,
        "compared_by_a_person": row.is_compared,
    }
    measured = [
        {
            "machine": one.machine,
            "machine_verdict": one.kind,
            "measured": one.figure.value,
            "lo": one.figure.lo,
            "hi": one.figure.hi,
            "n": one.n,
            "converged": one.converged,
            "run": one.file,
            "command": one.command,
            "stale": one.stale,
        }
        for one in row.verdict.outcomes
    ]
    return [{name: (own | one).get(name) for name in COLUMNS} for one in measured or [{}]]


def ledger_csv(ledger: Ledger) -> str:
    """The same as a table."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(ledger_items(ledger))
    return stream.getvalue()

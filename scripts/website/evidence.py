"""Recorded runs as pages show them: medians, ratios with intervals, share of the physical limit. Nothing is stored.

The intervals are those of this project's own `reference_impls.measurement`, on the samples as recorded.
"""

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from statistics import median

from reference_impls.measurement.paired import Ratio
from scripts.catalogue.model import Measurement, Run
from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import settles, too_few
from scripts.website.plots import points
from scripts.website.plots.draw import machine_facts
from scripts.website.plots.text import number

OVER = "over 100 %"


@dataclass(frozen=True)
class RowView:
    """One implementation in one case."""

    name: str
    role: str
    effect: str
    value: str
    rounds: int
    converged: bool
    ratio: str | None
    """To the baseline, with its 95 % interval; None for the baseline and for exact values."""
    distinguishable: bool
    few: str
    """How few samples it or its baseline has, in words; empty where there are enough."""
    limit: str | None
    limit_formula: str | None
    quality: str | None
    note: str | None


@dataclass(frozen=True)
class CaseView:
    """One case on one machine, with everything that its numbers need beside them."""

    id: str
    metric: str
    better: str
    baseline: str
    workload: list[tuple[str, str]]
    rows: list[RowView]
    unavailable: list[tuple[str, str]]

    @property
    def anchor(self) -> str:
        """Its place on the page of its run."""
        return "case-" + re.sub(r"[^a-z0-9]+", "-", self.id.lower()).strip("-")


@dataclass(frozen=True)
class RunView:
    """A recorded run of a family's cases."""

    suite: str
    machine: str
    facts: str
    when: str
    command: str
    commit: str
    dirty: bool
    file: str
    cases: list[CaseView]
    stale: str | None = None
    """What changed in the code since, in words; None where nothing did."""

    @property
    def href(self) -> str:
        """The page with all its tables, from the site's root."""
        return f"records/{self.machine}-{self.suite.replace('_', '-')}/"

    def part(self, kept: Set[tuple[str, str]]) -> "RunView":
        """The run with these (case, implementation) pairs alone."""
        parts = [replace(case, rows=[row for row in case.rows if (case.id, row.name) in kept]) for case in self.cases]
        return replace(self, cases=[case for case in parts if case.rows])


def run_view(file: str, run: Run, stale: str | None = None) -> RunView:
    """A run with all its cases; those without a baseline, which cannot be compared, are left out."""
    by_case: dict[str, list[Measurement]] = {}
    for one in run.measurements:
        by_case.setdefault(one.case, []).append(one)
    compared = {name: found for name, found in by_case.items() if any(one.role == "baseline" for one in found)}
    return RunView(
        suite=run.suite,
        machine=run.machine.name,
        facts=machine_facts(run),
        when=run.started.date().isoformat(),
        command=run.command,
        commit=run.code.commit[:12],
        dirty=run.code.dirty,
        file=file,
        cases=[_case(run, name, found) for name, found in compared.items()],
        stale=stale,
    )


def _case(run: Run, name: str, found: list[Measurement]) -> CaseView:
    baseline = next(one for one in found if one.role == "baseline")
    metric = METRICS[baseline.metric]
    missing = [(one.implementation, one.reason) for one in run.unavailable if one.case == name]
    return CaseView(
        id=name,
        metric=metric.title,
        better=metric.better,
        baseline=baseline.implementation,
        workload=[(key.replace("_", " "), str(value)) for key, value in baseline.workload.items()],
        rows=[_row(one, baseline) for one in sorted(found, key=_order)],
        unavailable=missing,
    )


def _order(one: Measurement) -> tuple[int, str]:
    return ("baseline", "method", "peer").index(one.role), one.implementation


def _row(one: Measurement, baseline: Measurement) -> RowView:
    middle = median(one.samples)
    ratio = None if one is baseline or one.stop_reason == "deterministic" else points.ratio_to(one, baseline)
    share = None
    if one.limit:
        reached = middle / one.limit.value if one.better == "higher" else one.limit.value / middle
        share = f"{100 * reached:.0f} %" if reached <= 1 else OVER
    return RowView(
        name=one.implementation,
        role=one.role,
        effect=one.effect,
        value=number(middle, one.unit),
        rounds=one.rounds,
        converged=one.converged,
        ratio=f"{ratio.value:.3g}× [{ratio.lo:.3g}, {ratio.hi:.3g}]" if ratio else None,
        few=too_few((one, baseline)) if ratio else "",
        distinguishable=ratio is None or not settles(one, baseline) or ratio.verdict != "not distinguishable",
        limit=share,
        limit_formula=one.limit.formula if one.limit else None,
        quality=f"{METRICS[one.quality.metric].title} {one.quality.value:.4g}" if one.quality else None,
        note=one.note,
    )


def compare(samples: Iterable[float], baseline: Iterable[float]) -> Ratio:
    """Median ratio to the baseline over the rounds that both have, with its bootstrap interval."""
    return points.compare(tuple(samples), tuple(baseline))

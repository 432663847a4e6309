"""Recorded runs as pages show them: medians, ratios with intervals, share of the physical limit. Nothing is stored.

The intervals are those of this project's own `reference_impls.measurement`, on the samples as recorded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from reference_impls.measurement.paired import Config, Ratio, ratio_cis
from scripts.catalogue.model import Measurement, Run
from scripts.catalogue.vocabulary import METRICS

RESAMPLES = Config(resamples=500)
OVER = "over 100 %"
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


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


@dataclass(frozen=True)
class RunView:
    """A recorded run of a family's cases."""

    machine: str
    facts: str
    when: str
    command: str
    commit: str
    dirty: bool
    file: str
    cases: list[CaseView]


def run_views(runs: dict[str, Run], suite: str) -> list[RunView]:
    """Every run of a suite, by the file it is recorded in."""
    return [_run(file, run) for file, run in sorted(runs.items()) if run.suite == suite]


def _run(file: str, run: Run) -> RunView:
    machine = run.machine
    parts = [machine.gpu, machine.cpu, f"{machine.cores} cores", f"{machine.threads} thread", f"torch {machine.torch}"]
    load = f"load {machine.load_average[0]:.1f}" if machine.load_average else None
    by_case = groupby(run.measurements, key=lambda one: one.case)
    return RunView(
        machine=machine.name,
        facts=", ".join(part for part in [*parts, f"Python {machine.python}", load] if part),
        when=run.started.date().isoformat(),
        command=run.command,
        commit=run.code.commit[:12],
        dirty=run.code.dirty,
        file=file,
        cases=[_case(run, name, list(found)) for name, found in by_case],
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
    median = float(np.median(one.samples))
    ratio = None if one is baseline or one.stop_reason == "deterministic" else compare(one.samples, baseline.samples)
    share = None
    if one.limit:
        reached = median / one.limit.value if one.better == "higher" else one.limit.value / median
        share = f"{100 * reached:.0f} %" if reached <= 1 else OVER
    return RowView(
        name=one.implementation,
        role=one.role,
        effect=one.effect,
        value=_with_unit(median, one.unit),
        rounds=one.rounds,
        converged=one.converged,
        ratio=f"{ratio.value:.3g}× [{ratio.lo:.3g}, {ratio.hi:.3g}]" if ratio else None,
        distinguishable=ratio is None or ratio.verdict != "not distinguishable",
        limit=share,
        limit_formula=one.limit.formula if one.limit else None,
        quality=f"{METRICS[one.quality.metric].title} {one.quality.value:.4g}" if one.quality else None,
        note=one.note,
    )


def compare(samples: Iterable[float], baseline: Iterable[float]) -> Ratio:
    """Median ratio to the baseline over the rounds that both have, with its bootstrap interval."""
    a, b = np.asarray([*samples]), np.asarray([*baseline])
    rounds = min(len(a), len(b))
    return ratio_cis(a[:rounds], b[:rounds], RESAMPLES, np.random.default_rng(0))[0]


def _with_unit(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:.4g}" + ("" if unit == "1" else f" {unit}")
    scale, prefix = next(((s, p) for s, p in _PREFIXES if value >= s), _PREFIXES[-1])
    return f"{value / scale:.3g} {prefix}s"

"""How often a stopping rule is right at its stop, and what it costs: on series whose true percentiles are known.

Paper: arXiv 2306.01620 v1 asks the question on recorded functions; here the truth is exact.
Idea: let every rule watch the same seeded series. A trial is a success when all the percentiles of what was seen are
    within `error_bound` of the truth; what the rule believes of itself (its intervals) is counted apart.
Symbols: r = error_bound.
Simplified: trials come in batches of `trials`; a batch is one sample of a record, so that a record stays small and its
    samples still say how sure the figure is.
Differs: the published measure is a similarity with runs that contain the sample; see `replay` for that one.
Cost: trials times the cost of the rule.
Checked against: closed forms for the fixed count, and hand-made rules that stop where told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement.batches import BatchRule, check_percentiles, check_share
from reference_impls.measurement.replay import RuleMaker
from reference_impls.measurement.superflow import collect
from reference_impls.measurement.synthetic import Shape

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """What counts as right, how long a series may become, and how many trials make a batch."""

    error_bound: float = 0.02
    percentiles: tuple[float, ...] = (25, 50, 75)
    max_n: int = 1000
    trials: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("error_bound", self.error_bound)
        check_percentiles(self.percentiles)
        if min(self.max_n, self.trials) < 1:
            raise ValueError(f"max_n and trials must be at least 1, got {self.max_n} and {self.trials}")


@dataclass(frozen=True)
class Trial:
    """One rule on one series.

    error: largest relative error of a percentile at the stop; held, intervals: of the intervals that the rule ended
    with, how many hold the true percentile, and how many there are; cut: the cap ended it.
    """

    runs: int
    error: float
    held: int
    intervals: int
    cut: bool


@dataclass(frozen=True)
class Batch:
    """Trials summed up: runs is a mean, worst_error a largest value, the others are shares from 0 to 1.

    held is None for a rule that states no interval.
    """

    runs: float
    within: float
    worst_error: float
    held: float | None
    cut: float


def run_trial(rule: BatchRule, series: Array, truth: Sequence[float], config: Config) -> Trial:
    """Let a rule, made anew, watch a series.

    series: (max_n,); truth: the true value of each of `config.percentiles`
    """
    report = collect(series.tolist(), rule)
    seen = np.percentile(rule.sample.ordered, list(config.percentiles))
    true = dict(zip(config.percentiles, truth, strict=True))
    stated = [(e.lo, true[e.percentile], e.hi) for e in rule.estimates if e.lo is not None and e.hi is not None]
    return Trial(
        runs=report.n,
        error=float(np.max(np.abs(seen / np.asarray(truth) - 1))),
        held=sum(lo <= value <= hi for lo, value, hi in stated if lo is not None and hi is not None),
        intervals=len(stated),
        cut=report.reason in ("max_n", "exhausted"),
    )


def run_batch(make: RuleMaker, shape: Shape, number: int, config: Config) -> Batch:
    """Batch `number` of trials. Rules with the same seed and number see the same series, so they can be paired."""
    truth = [shape.quantile(p / 100) for p in config.percentiles]
    trials = [
        run_trial(make(), shape.draw(np.random.default_rng([config.seed, number, trial]), config.max_n), truth, config)
        for trial in range(config.trials)
    ]
    intervals = sum(trial.intervals for trial in trials)
    return Batch(
        runs=float(np.mean([trial.runs for trial in trials])),
        within=float(np.mean([trial.error <= config.error_bound for trial in trials])),
        worst_error=max(trial.error for trial in trials),
        held=sum(trial.held for trial in trials) / intervals if intervals else None,
        cut=float(np.mean([trial.cut for trial in trials])),
    )


def value(metric: str, batches: Sequence[Batch]) -> float:
    """Batches summed up: `repetitions` in runs, the others in %. Raises ValueError where no interval was stated."""
    if metric == "repetitions":
        return float(np.mean([batch.runs for batch in batches]))
    if metric == "worst_error":
        return 100 * max(batch.worst_error for batch in batches)
    if metric == "stop_coverage":
        return 100 * float(np.mean([batch.within for batch in batches]))
    if metric != "interval_coverage":
        raise ValueError(f"a batch has repetitions, worst_error, stop_coverage and interval_coverage, not {metric}")
    held = [batch.held for batch in batches if batch.held is not None]
    if not held:
        raise ValueError("interval_coverage: the rule stated no interval at any stop")
    return 100 * float(np.mean(held))

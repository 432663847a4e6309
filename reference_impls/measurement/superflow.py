"""SuperFlow: stop repeating a measurement when its quartiles are pinned down, and already were one batch ago.

Paper: arXiv 2306.01620 v1 (renamed SCOPE in TOSEM 2025, doi 10.1145/3717609); steps as in the released
    `determineStopRun`.
Idea: after every `interval` runs, the confidence interval of each percentile must lie within `error_bound` of the
    sample percentile (accuracy), and must have done so without the last `interval` runs too (stability).
Symbols: n = runs so far, p = percentile as a share, m = sample percentile, r = error_bound, l and u = ranks (from 1).
Simplified: nothing of the rule; where its data come from (deployments, cold starts) is left to the caller.
Differs: the released code uses the ranks l and u, counted from 1, as indices from 0, so both ends sit one place too
    high; here they are l-1 and u-1, and there is no interval while l < 1 or u > n. z is the exact normal quantile
    (1.95996, not 1.96). The stability check keeps the verdict of the preceding check instead of computing it again:
    it is the same sample (a bootstrap would only draw anew). Blocks are drawn from all positions and make up n runs
    (theirs leave out the last block and come out shorter). Ours, all off by default or outside the rule: warm-up
    removal, `correlation_limit`, `drift_p`, `stability=False`, budgets of runs and seconds that are never a pass.
Cost: O(log n) comparisons a run, O(1) a check; O(resamples n) a check with a bootstrap. Checking after every batch is
    optional stopping: `confidence` is not the coverage at the stop (`confidence_sequence` gives a rule where it is).
Checked against: brute-force binomial coverage of the ranks, a slow version that recomputes both samples,
    theory's block length for an autoregression (and arch 8.0 by hand), and seeded studies of the error at the stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from reference_impls.measurement import Decision, Estimate, Reason
from reference_impls.measurement.batches import BatchRule, Check, check_budget, check_percentiles, check_share
from reference_impls.measurement.diagnostics import correlated, half_difference_p, half_shift, lag1_correlation
from reference_impls.measurement.intervals import KINDS, Kind, percentile_ci, percentile_cis, ranks, sorted_percentile
from reference_impls.measurement.warmup import Config as WarmUpConfig
from reference_impls.measurement.warmup import WarmUp

__all__ = ["Config", "StopReport", "Stopper", "collect", "measure", "percentile_ci", "ranks", "timed", "timer_overhead"]

Clock = Callable[[], float]
UNTIL_STABLE = WarmUpConfig()


@dataclass(frozen=True)
class Config:
    """The rule's parameters; the defaults are the paper's, and the rest of them switch an extension on."""

    interval: int = 5
    confidence: float = 0.95
    error_bound: float = 0.01
    percentiles: tuple[float, ...] = (25, 50, 75)
    ci: Kind = "general"
    max_n: int = 1000
    max_seconds: float | None = None
    resamples: int = 1000
    seed: int = 0
    stability: bool = True
    correlation_limit: float | None = (
        None  # above this lag-1 correlation, use the block bootstrap (0.2 is a good value)
    )
    drift_p: float | None = None  # not converged while the halves differ at this level (0.01 is a good value)

    def __post_init__(self) -> None:
        check_budget(self.interval, self.max_n)
        check_share("confidence", self.confidence)
        check_share("error_bound", self.error_bound)
        check_percentiles(self.percentiles)
        if self.ci not in KINDS:
            raise ValueError(f"ci must be one of {', '.join(KINDS)}, got {self.ci}")
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be above 0, or None for no limit, got {self.max_seconds}")
        if self.correlation_limit is not None:
            check_share("correlation_limit", self.correlation_limit)
        if self.drift_p is not None:
            check_share("drift_p", self.drift_p)


class Stopper(BatchRule):
    """The rule, fed one latency at a time."""

    def __init__(self, config: Config | None = None, rng: np.random.Generator | None = None) -> None:
        self.config = config or Config()
        super().__init__(self.config.interval, self.config.max_n)
        self.rng = rng or np.random.default_rng(self.config.seed)
        self.kind: Kind = self.config.ci
        self.was_narrow = False

    def check(self) -> Reason:
        """Steps 2 to 4: accuracy now, accuracy one interval ago, then the extensions."""
        self.estimates = self.estimate()
        narrow = all(estimate.relative_error < self.config.error_bound for estimate in self.estimates)
        was_narrow, self.was_narrow = self.was_narrow, narrow
        if any(estimate.lo is None for estimate in self.estimates):
            return "too few runs"
        if not narrow:
            return "too wide"
        if self.config.stability and not was_narrow:
            return "not stable"
        return "drifting" if self.drifting() else "converged"

    def estimate(self) -> tuple[Estimate, ...]:
        """Every percentile of the sample as it is, with the interval of the kind that suits it."""
        config, ordered, arrival = self.config, self.sample.ordered, self.sample.arrival
        limit = config.correlation_limit
        dependent = limit is not None and correlated(self.sample.as_array(), limit)
        self.kind = "block_bootstrap" if dependent else config.ci
        shares = [p / 100 for p in config.percentiles]
        cis = percentile_cis(arrival, ordered, shares, config.confidence, self.kind, config.resamples, self.rng)
        values = [sorted_percentile(ordered, share) for share in shares]
        bounds = [ci or (None, None) for ci in cis]
        return tuple(Estimate(p, v, *ci) for p, v, ci in zip(config.percentiles, values, bounds, strict=True))

    def drifting(self) -> bool:
        """Whether the two halves differ, where the configuration asks."""
        level = self.config.drift_p
        return level is not None and half_difference_p(self.sample.as_array()) < level


@dataclass(frozen=True)
class StopReport:
    """Everything a number needs beside it: every run in order, the intervals, and why measuring ended.

    Not converged is a result: `estimates` then hold the interval reached, and `converged` is False.
    """

    stopped: bool
    n: int
    reason: Reason
    converged: bool
    estimates: dict[str, dict[str, float | None]]
    history: tuple[Check, ...]
    ci: Kind | None
    samples: tuple[float, ...]
    warm_up: tuple[float, ...]
    warm_up_settled: bool | None  # None: no warm-up was asked for
    lag1_correlation: float | None
    half_shift: float | None
    config: dict[str, object] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def make_report(rule: BatchRule, decision: Decision, warm: WarmUp | None = None) -> StopReport:
    """Sum up a rule and its last decision; any rule that works in batches has what it takes."""
    samples = rule.sample.as_array()
    shift = half_shift(samples) if len(samples) > 1 else math.nan
    return StopReport(
        stopped=decision.stop,
        n=decision.n,
        reason=decision.reason,
        converged=decision.converged,
        estimates={f"{e.percentile:g}": {"value": e.value, "lo": e.lo, "hi": e.hi} for e in rule.estimates},
        history=tuple(rule.history),
        ci=rule.kind if isinstance(rule, Stopper) else None,
        samples=tuple(rule.sample.arrival),
        warm_up=tuple(warm.runs) if warm else (),
        warm_up_settled=warm.settled if warm else None,
        lag1_correlation=lag1_correlation(samples) if len(samples) > 1 else None,
        half_shift=shift if math.isfinite(shift) else None,
        config=asdict(rule.config) if isinstance(rule, Stopper) else {},
    )


def collect(
    latencies: Iterable[float],
    rule: BatchRule,
    warm_up: WarmUpConfig | None = None,
    max_seconds: float | None = None,
    clock: Clock = time.perf_counter,
) -> StopReport:
    """Feed latencies from anywhere (a clock, GPU events, a recording) until the rule or a budget ends it."""
    warm = WarmUp(warm_up) if warm_up else None
    started = clock()
    decision = Decision("collecting", 0)
    for latency in latencies:
        if warm and not warm.done:
            warm.update(latency)
        else:
            decision = rule.update(latency)
        if decision.stop:
            break
        if max_seconds is not None and clock() - started >= max_seconds:
            decision = replace(decision, reason="max_seconds")
            break
    else:
        decision = replace(decision, reason="exhausted")
    return make_report(rule, decision, warm)


def timed(fn: Callable[[], object], clock: Clock) -> Iterator[float]:
    """Call again and again; each item is the time of one call."""
    while True:
        before = clock()
        fn()
        yield clock() - before


def timer_overhead(clock: Clock = time.perf_counter, runs: int = 1001) -> float:
    """Median time of an empty call, to be reported beside a result and never subtracted from it."""
    empty = timed(lambda: None, clock)
    return sorted(next(empty) for _ in range(runs))[runs // 2]


def measure(
    fn: Callable[[], object],
    config: Config | None = None,
    *,
    rule: BatchRule | None = None,
    warm_up: WarmUpConfig | None = UNTIL_STABLE,
    clock: Clock = time.perf_counter,
    rng: np.random.Generator | None = None,
) -> StopReport:
    """Time calls of `fn`: warm up until stable, then repeat until the rule stops (SuperFlow, or the one given)."""
    config = config or Config()
    return collect(timed(fn, clock), rule or Stopper(config, rng), warm_up, config.max_seconds, clock)

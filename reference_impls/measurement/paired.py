"""Which of two variants is faster, and by how much: interleaved runs, stopped on the interval of the ratio.

Paper: none; the rule is SuperFlow's (arXiv 2306.01620: narrow now and one batch ago) applied to a ratio, with the
    percentile bootstrap of Efron and Tibshirani.
Idea: A and B take turns, so that whatever disturbs the machine disturbs both; rounds are resampled as pairs. Two
    ratios are kept: of the medians, and the median of the rounds' own ratios. Where disturbance is shared the second
    is the steadier one.
Symbols: A, B = the two variants; the ratio is A / B, below 1 where A is faster.
Simplified: rounds are resampled as if independent of each other.
Differs: nothing to differ from.
Cost: O(resamples n) a check.
Checked against: hand-worked ratios, and seeded coverage with a common disturbance (tests/measurement).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement import Decision, Estimate, Reason
from reference_impls.measurement.batches import Sample, check_budget, check_share
from reference_impls.measurement.superflow import Clock, timed

Array = NDArray[np.float64]
Verdict = Literal["A is faster", "B is faster", "not distinguishable"]


@dataclass(frozen=True)
class Config:
    """As SuperFlow's, counted in rounds (one run of each); error_bound is that of the ratio."""

    interval: int = 5
    confidence: float = 0.95
    error_bound: float = 0.02
    max_n: int = 1000
    max_seconds: float | None = None
    warm_up: int = 5
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.interval, self.max_n)
        check_share("confidence", self.confidence)
        check_share("error_bound", self.error_bound)
        if self.warm_up < 0 or self.resamples < 1:
            raise ValueError(f"warm_up must be at least 0 and resamples at least 1, got {self}")


@dataclass(frozen=True)
class Ratio:
    """A / B with its interval."""

    value: float
    lo: float
    hi: float

    @property
    def relative_error(self) -> float:
        """How far the further end lies from the value, as a share of the value."""
        return max(self.value - self.lo, self.hi - self.value) / self.value

    @property
    def verdict(self) -> Verdict:
        """A difference is only claimed when the interval leaves 1 out."""
        if self.hi < 1:
            return "A is faster"
        return "B is faster" if self.lo > 1 else "not distinguishable"


def ratio_cis(a: Array, b: Array, config: Config, rng: np.random.Generator) -> tuple[Ratio, Ratio]:
    """-> the ratio of the medians, and the median of the paired ratios.

    a, b: (rounds,), of the same rounds
    """
    rounds = rng.integers(0, len(a), size=(config.resamples, len(a)))
    of_medians = np.median(a[rounds], axis=1) / np.median(b[rounds], axis=1)
    of_pairs = np.median((a / b)[rounds], axis=1)
    values = (float(np.median(a) / np.median(b)), float(np.median(a / b)))
    tail = (1 - config.confidence) / 2
    ends = [np.quantile(draws, [tail, 1 - tail]) for draws in (of_medians, of_pairs)]
    first, second = (Ratio(value, float(lo), float(hi)) for value, (lo, hi) in zip(values, ends, strict=True))
    return first, second


class RatioStopper:
    """Fed one round at a time; stops when both intervals are narrow, and were one batch ago."""

    def __init__(self, config: Config | None = None, rng: np.random.Generator | None = None) -> None:
        self.config = config or Config()
        self.rng = rng or np.random.default_rng(self.config.seed)
        self.a, self.b = Sample(), Sample()
        self.ratios: tuple[Ratio, Ratio] | None = None
        self.was_narrow = False

    def update(self, a: float, b: float) -> Decision:
        """Take the two runs of a round."""
        if a == 0 or b == 0:
            raise ValueError(f"round {len(self.a) + 1}: a ratio needs latencies above 0, got {a} and {b}")
        self.a.add(a)
        self.b.add(b)
        n = len(self.a)
        reason: Reason = "collecting" if n % self.config.interval else self.check()
        if reason != "converged" and n >= self.config.max_n:
            reason = "max_n"
        estimates = tuple(Estimate(50, ratio.value, ratio.lo, ratio.hi) for ratio in self.ratios or ())
        return Decision(reason, n, estimates)

    def check(self) -> Reason:
        """Accuracy and stability of both ratios."""
        self.ratios = ratio_cis(self.a.as_array(), self.b.as_array(), self.config, self.rng)
        narrow = all(ratio.relative_error < self.config.error_bound for ratio in self.ratios)
        was_narrow, self.was_narrow = self.was_narrow, narrow
        if not narrow:
            return "too wide"
        return "converged" if was_narrow else "not stable"


@dataclass(frozen=True)
class RatioReport:
    """The two ratios, what may be said of them, and every run."""

    n: int
    reason: Reason
    converged: bool
    of_medians: Ratio | None
    of_pairs: Ratio | None
    verdict: Verdict
    a: tuple[float, ...]
    b: tuple[float, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def make_report(stopper: RatioStopper, decision: Decision) -> RatioReport:
    """A difference is claimed only where both ratios show it."""
    of_medians, of_pairs = stopper.ratios or (None, None)
    verdicts = {ratio.verdict for ratio in stopper.ratios or ()}
    return RatioReport(
        n=decision.n,
        reason=decision.reason,
        converged=decision.converged,
        of_medians=of_medians,
        of_pairs=of_pairs,
        verdict=verdicts.pop() if len(verdicts) == 1 else "not distinguishable",
        a=tuple(stopper.a.arrival),
        b=tuple(stopper.b.arrival),
    )


def compare(
    a: Callable[[], object], b: Callable[[], object], config: Config | None = None, clock: Clock = time.perf_counter
) -> RatioReport:
    """Time the two in turn, the first of a round drawn at random, until the rule or a budget ends it."""
    config = config or Config()
    stopper = RatioStopper(config)
    order = np.random.default_rng([config.seed, 1])  # apart from the bootstrap's draws
    runs = timed(a, clock), timed(b, clock)
    started = clock()
    for _ in range(config.warm_up):
        next(runs[0]), next(runs[1])
    while True:
        first = int(order.integers(2))
        latency = {first: next(runs[first]), 1 - first: next(runs[1 - first])}
        decision = stopper.update(latency[0], latency[1])
        if decision.stop:
            break
        if config.max_seconds is not None and clock() - started >= config.max_seconds:
            decision = replace(decision, reason="max_seconds")
            break
    return make_report(stopper, decision)

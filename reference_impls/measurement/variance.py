"""How every result reports its spread, and how many runs its statistic would have needed.

Paper: arXiv 2305.04309 (Empirical Software Engineering 2025, doi 10.1007/s10664-025-10615-3); range_ratio and the
    first-n rule as pinned down from the released data.
Idea: identical runs differ; a statistic of the first n runs is unreliable when it lies outside the confidence interval
    of that statistic over all runs.
Symbols: p = the statistic as a share (median 0.5, p90 0.9), q = its value, F = share of runs below, z = normal
    quantile, r = error bound.
Simplified: the order-statistic interval is used whether or not the sample looks normal (it holds either way); the
    normality p is reported beside it.
Differs: the paper's rule has one draw a series (its first n runs) and a reference that contains it; beside it are
    random subsets, and a reference half that shares no run with them.
Cost: O(n log n); the curve O(draws n log n) a point.
Checked against: closed forms on tiny arrays, numpy's percentiles, `scipy.stats.shapiro`, and laws (the curve falls
    with n, does not see order; the first-n rule does).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reference_impls.measurement.batches import check_share
from reference_impls.measurement.diagnostics import half_shift, lag1_correlation
from reference_impls.measurement.intervals import order_statistic_ci, ranks
from reference_impls.measurement.normality import shapiro_wilk

Array = NDArray[np.float64]
STATISTICS = {"median": 0.5, "p25": 0.25, "p75": 0.75, "p90": 0.9}


@dataclass(frozen=True)
class Config:
    """What to report an interval for, how sure, and the error bounds for which to say how many runs are needed."""

    statistics: tuple[str, ...] = ("median", "p90")
    confidence: float = 0.95
    error_bounds: tuple[float, ...] = (0.01, 0.02, 0.05)

    def __post_init__(self) -> None:
        check_share("confidence", self.confidence)
        for bound in self.error_bounds:
            check_share("error_bounds", bound)
        for name in self.statistics:
            share_of(name)


@dataclass(frozen=True)
class VarianceReport:
    """Every field the study's readers, and ours, compare by; None where a field does not exist for the sample."""

    n: int
    min: float
    p25: float
    median: float
    p75: float
    p90: float
    max: float
    mean: float
    sd: float
    cv: float | None
    mad: float
    range_ratio: float | None
    intervals: dict[str, tuple[float, float] | None]
    normality_p: float | None
    lag1_correlation: float
    half_shift: float | None
    n_needed: dict[str, dict[str, int | None]]

    def as_dict(self) -> dict[str, object]:
        """Plain types only, ready for `json.dumps`."""
        return asdict(self)


def share_of(statistic: str) -> float:
    """The percentile a statistic's name stands for, as a share."""
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic}")
    return STATISTICS[statistic]


def latencies(samples: ArrayLike) -> Array:
    """-> (runs,): refused when fewer than 3 or when one is not a latency."""
    runs = np.asarray(samples, dtype=np.float64)
    if runs.ndim != 1 or len(runs) < 3:
        raise ValueError(f"a spread needs at least 3 runs in one row, got an array of shape {runs.shape}")
    broken = np.flatnonzero(~np.isfinite(runs) | (runs < 0))
    if len(broken):
        raise ValueError(f"run {broken[0] + 1}: a latency must be a finite number >= 0, got {runs[broken[0]]}")
    return runs


def runs_needed(samples: ArrayLike, statistic: str, error_bound: float, confidence: float = 0.95) -> int | None:
    """How many runs like these would give an interval within +-error_bound of the statistic.

    The interval reaches z sqrt(p (1-p) / n) to either side of p, in shares; it fits when that is no more than the
    share of runs between the statistic and the bound: n = p (1-p) (z / reach)**2. None when no run lies between, or
    the statistic is 0.
    """
    runs, p = latencies(samples), share_of(statistic)
    value = float(np.quantile(runs, p))
    above = float(np.mean(runs < value * (1 + error_bound))) - p
    below = p - float(np.mean(runs <= value * (1 - error_bound)))
    reach = min(above, below)
    if reach <= 1e-12 or value == 0:  # 1e-12: shares are sums of 1/n
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(smallest_with_ranks(p, confidence), math.ceil(p * (1 - p) * (z / reach) ** 2 - 1e-9))


def smallest_with_ranks(share: float, confidence: float = 0.95) -> int:
    """The fewest runs for which the interval exists."""
    return next(n for n in range(1, 100_000) if ranks(n, share, confidence))


def variance_report(samples: ArrayLike, config: Config | None = None) -> VarianceReport:
    """Everything about the spread of one series of runs, in order of arrival.

    samples: (runs,), at least 3
    """
    config = config or Config()
    runs = latencies(samples)
    ordered = np.sort(runs).tolist()
    low, p25, median, p75, p90, high = (float(v) for v in np.percentile(runs, [0, 25, 50, 75, 90, 100]))
    mean, sd, shift, normal = float(runs.mean()), float(runs.std(ddof=1)), half_shift(runs), shapiro_wilk(runs)
    return VarianceReport(
        n=len(runs),
        min=low,
        p25=p25,
        median=median,
        p75=p75,
        p90=p90,
        max=high,
        mean=mean,
        sd=sd,
        cv=sd / mean if mean > 0 else None,
        mad=float(np.median(np.abs(runs - median))),
        range_ratio=(high - low) / low if low > 0 else None,
        intervals={name: order_statistic_ci(ordered, share_of(name), config.confidence) for name in config.statistics},
        normality_p=normal[1] if normal else None,
        lag1_correlation=lag1_correlation(runs),
        half_shift=shift if math.isfinite(shift) else None,
        n_needed={
            name: {f"{bound:g}": runs_needed(runs, name, bound, config.confidence) for bound in config.error_bounds}
            for name in config.statistics
        },
    )


def reference_interval(runs: Array, statistic: str, confidence: float) -> tuple[float, float]:
    """runs: (runs,): the interval that a smaller sample's statistic should not leave."""
    interval = order_statistic_ci(np.sort(runs).tolist(), share_of(statistic), confidence)
    if interval is None:
        needed = smallest_with_ranks(share_of(statistic), confidence)
        raise ValueError(f"the {statistic} of {len(runs)} reference runs has no interval: at least {needed} are needed")
    return interval


def first_n_unreliable(samples: ArrayLike, n: int, statistic: str = "median", confidence: float = 0.95) -> bool:
    """The paper's rule: whether the statistic of the first n runs leaves the interval of all of them.

    samples: (runs,)
    """
    runs = latencies(samples)
    low, high = reference_interval(runs, statistic, confidence)
    return not low <= float(np.quantile(runs[:n], share_of(statistic))) <= high


def reliability_curve(
    samples: ArrayLike,
    rng: np.random.Generator,
    ns: Sequence[int] = (1, 3, 5, 10, 15, 20, 30, 40),
    draws: int = 1000,
    statistic: str = "median",
    split: bool = False,
    confidence: float = 0.95,
) -> dict[int, float]:
    """n -> share of random n-subsets whose statistic leaves the reference interval.

    The reference is all runs, as in the paper, or with `split` a random half that shares no run with the subsets.
    samples: (runs,). Sizes larger than the runs to draw from are left out.
    """
    runs = np.sort(latencies(samples))  # sorted: the same draws for any order of the same runs
    truth_size = len(runs) // 2 if split else 0
    shuffled = rng.permuted(np.tile(runs, (draws, 1)), axis=1)  # (draws, runs)
    truths = shuffled[:, :truth_size] if split else runs[None]  # (draws or 1, reference runs)
    ends = np.array([reference_interval(truth, statistic, confidence) for truth in truths])  # (draws or 1, 2)
    curve = {}
    for n in (n for n in ns if 1 <= n <= len(runs) - truth_size):
        values = np.quantile(shuffled[:, truth_size : truth_size + n], share_of(statistic), axis=1)  # (draws,)
        curve[n] = float(np.mean((values < ends[:, 0]) | (values > ends[:, 1])))
    return curve

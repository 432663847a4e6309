"""The stopping rules SuperFlow is compared with, behind the same face.

Paper: arXiv 2306.01620 v1, baselines as in the released code: PT4Cloud (He et al., FSE 2019), Metior (He et
    al., ASE 2021), CONFIRM (Maricq et al., OSDI 2018); and the fixed count.
Idea: `FixedCount` stops at a number; `median_only` when the median's interval is narrow; `Confirm` when the median's
    interval, averaged over random subsamples, is; `PT4Cloud` when the last batch hardly changed the distribution;
    `Metior` when it hardly changed the median.
Symbols: r = error_bound.
Simplified: CONFIRM tries subsample sizes in steps of `interval` (the released code in steps of 1), and the subsamples
    of one check are prefixes of the same `subsamples` shuffles.
Differs: CONFIRM is looked at after every `interval` = 5 runs (released: 20), with ranks counted from 1. Metior's blocks
    make up n runs, as in `intervals.resample`.
Cost: a check is O(n log n) for Metior and PT4Cloud (times resamples or 1000 cells), O(n**2 log n) for CONFIRM.
Checked against: hand-worked series, and the ordering of the published comparison on synthetic ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_impls.measurement import Estimate, Reason
from reference_impls.measurement.batches import BatchRule, check_budget, check_share
from reference_impls.measurement.intervals import block_length, order_statistic_ci, ranks, resample, sorted_percentile
from reference_impls.measurement.similarity import similarity
from reference_impls.measurement.superflow import Config as SuperFlowConfig
from reference_impls.measurement.superflow import Stopper


@dataclass(frozen=True)
class Config:
    """What the rules share; each reads what it needs."""

    interval: int = 5
    max_n: int = 1000
    confidence: float = 0.95
    error_bound: float = 0.03
    count: int = 50  # FixedCount
    threshold: float = 0.90  # PT4Cloud: similarity
    subsamples: int = 20  # CONFIRM: random subsamples of each size
    smallest: int = 10  # CONFIRM: smallest subsample
    resamples: int = 1000  # Metior
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.interval, self.max_n)
        for name in ("confidence", "error_bound", "threshold"):
            check_share(name, getattr(self, name))
        if min(self.count, self.subsamples, self.resamples) < 1 or self.smallest < 10:
            raise ValueError(f"count, subsamples and resamples must be at least 1 and smallest at least 10, got {self}")


def median_estimate(ordered: list[float], confidence: float) -> Estimate:
    """The median of sorted runs and its order-statistic interval."""
    lo, hi = order_statistic_ci(ordered, 0.5, confidence) or (None, None)
    return Estimate(50, sorted_percentile(ordered, 0.5), lo, hi)


def median_only(config: Config) -> Stopper:
    """The commonest home-made rule: the interval of the median alone, looked at once."""
    return Stopper(
        SuperFlowConfig(
            interval=config.interval,
            max_n=config.max_n,
            confidence=config.confidence,
            error_bound=config.error_bound,
            percentiles=(50,),
            stability=False,
        )
    )


class _Baseline(BatchRule):
    """Shares one generator and the configuration."""

    def __init__(self, config: Config | None = None, rng: np.random.Generator | None = None) -> None:
        self.config = config or Config()
        super().__init__(self.config.interval, self.config.max_n)
        self.rng = rng or np.random.default_rng(self.config.seed)

    def check(self) -> Reason:
        """Note the median, then ask the rule."""
        self.estimates = (median_estimate(self.sample.ordered, self.config.confidence),)
        return self.judge()

    def judge(self) -> Reason:
        raise NotImplementedError


class FixedCount(_Baseline):
    """Stops at a number, whatever was seen."""

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.interval = 1  # the count need not be a multiple of a batch

    def judge(self) -> Reason:
        """Count."""
        return "count" if len(self.sample) >= self.config.count else "collecting"


class PT4Cloud(_Baseline):
    """Stops when the sample with and without its last batch are alike."""

    def judge(self) -> Reason:
        """Compare the two densities."""
        samples = self.sample.as_array()
        before = samples[: -self.interval]
        if len(before) < 2:
            return "too few runs"
        return "converged" if similarity(before, samples) >= self.config.threshold else "not stable"


class Metior(_Baseline):
    """Stops when, 95 % of the time, the last batch changes the resampled median by no more than r."""

    def judge(self) -> Reason:
        """Compare resampled medians of the sample with and without its last batch, drawn apart."""
        samples = self.sample.as_array()
        before = samples[: -self.interval]
        if len(before) < 2:
            return "too few runs"
        length = block_length(before)
        old, new = (
            np.median(resample(part, self.config.resamples, self.rng, length), axis=1) for part in (before, samples)
        )
        excess = np.abs(old - new) - self.config.error_bound * new  # not divided by the median, which may be 0
        return "converged" if np.quantile(excess, self.config.confidence) <= 0 else "not stable"


class Confirm(_Baseline):
    """Stops when some subsample size gives, on average, a narrow interval of the median."""

    def judge(self) -> Reason:
        """Try sizes from large to small: the larger are the likelier to be narrow."""
        n = len(self.sample)
        if n < self.config.smallest:
            return "too few runs"
        shuffles = self.rng.permuted(np.tile(self.sample.as_array(), (self.config.subsamples, 1)), axis=1)
        sizes = range(n, self.config.smallest - 1, -self.interval)
        return "converged" if any(self.narrow(shuffles[:, :size]) for size in sizes) else "too wide"

    def narrow(self, subsamples: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
        """subsamples: (subsamples, size): whether mean bounds lie within r of the mean median."""
        places = ranks(subsamples.shape[1], 0.5, self.config.confidence)
        if places is None:
            return False
        low, high = np.sort(subsamples, axis=1)[:, [places[0] - 1, places[1] - 1]].mean(axis=0)
        middle = np.median(subsamples, axis=1).mean()
        reach = self.config.error_bound * middle
        return bool(low >= middle - reach and high <= middle + reach)

"""Group fairness: who is served worse, how sure that is, and whether a smaller model changed it.

Paper: arXiv 2308.02935 (fairness testing of detectors: gap and z-test); Newcombe, Statistics in Medicine 17, 873
    (1998); Holm, Scand. J. Statistics 6, 65 (1979); Benjamini and Hochberg, J. R. Stat. Soc. B 57, 289 (1995);
    McNemar, Psychometrika 12, 153 (1947); Mantel and Haenszel, J. Natl. Cancer Inst. 22, 719 (1959).
Idea: keep every item's outcome. A gap compares two groups of items; the effect of compression on it compares the same
    items twice, so what makes an item hard cancels.
Symbols: gap = EOD = recall(group 1) - recall(group 0); change = dEOD = gap of the smaller model - gap of the dense one.
Simplified: two groups at a time; strata by Mantel and Haenszel, no regression.
Differs: the paper has no pairs and no adjustment for many tests; clusters (images, templates) are resampled whole,
    with two imaginary ones, as Agresti and Min (Statistics in Medicine 24, 729) add half a pair to each cell.
Cost: O(resamples * clusters) for a change; the rest O(items).
Checked against: scipy, all permutations of a small table, and seeded studies whose truth is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement.batches import check_share

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
POWER = 0.8


@dataclass(frozen=True)
class Config:
    """How intervals of a change are found, and how sure they are."""

    confidence: float = 0.95
    resamples: int = 10_000
    seed: int = 0
    imaginary: bool = True
    """Two clusters more in every draw, in one of which group 1 gained an item and in one lost one. They cancel in the
    mean; without them, a study in which nothing happened to change would claim to be certain."""

    def __post_init__(self) -> None:
        check_share("confidence", self.confidence)
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")


@dataclass(frozen=True)
class Counts:
    """Hits of so many labels. Hits need not be whole: runs of one label are averaged before."""

    hits: float
    labels: int

    def __post_init__(self) -> None:
        if self.labels < 1 or not 0 <= self.hits <= self.labels:
            raise ValueError(f"expected 0 <= hits <= labels and a label at least, got {self.hits} of {self.labels}")

    @property
    def recall(self) -> float:
        """Share that was hit."""
        return self.hits / self.labels

    @property
    def miss_rate(self) -> float:
        """Share that was missed."""
        return 1 - self.recall


@dataclass(frozen=True)
class Outcomes:
    """What happened to each item of one model."""

    hit: Array  # (items,), 0 or 1; a mean where an item was run several times
    group: Integers  # (items,), 0 or 1
    cluster: Integers  # (items,): items of one image or template are not independent of each other

    def __post_init__(self) -> None:
        if not len(self.hit) == len(self.group) == len(self.cluster):
            raise ValueError(f"lengths differ: {len(self.hit)}, {len(self.group)}, {len(self.cluster)}")
        if set(self.group.tolist()) != {0, 1}:
            raise ValueError(f"groups must be 0 and 1, both present, got {sorted(set(self.group.tolist()))}")

    def counts(self, group: int) -> Counts:
        """Hits and labels of a group."""
        chosen = self.group == group
        return Counts(float(self.hit[chosen].sum()), int(chosen.sum()))


@dataclass(frozen=True)
class Test:
    """A statistic and its two-sided p-value."""

    statistic: float
    p: float


@dataclass(frozen=True)
class Change:
    """How the gap moved from one model to another on the same items, as a share (0.01 is one point)."""

    value: float
    lo: float
    hi: float
    standard_error: float
    p: float

    @property
    def margin(self) -> float:
        """Half the width of the interval."""
        return (self.hi - self.lo) / 2

    def detectable(self, power: float = POWER, alpha: float = 0.05) -> float:
        """The true change that a study of this standard error finds with this power."""
        return (_z(1 - alpha / 2) + _z(power)) * self.standard_error


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)


def average_runs(hits: Array) -> Array:
    """One outcome a label, whatever the number of runs: a run repeated is no new evidence. hits: (runs, items)"""
    averaged: Array = hits.mean(axis=0)
    return averaged


def gap(outcomes: Outcomes) -> float:
    """EOD: recall of group 1 minus that of group 0, -1 to 1."""
    return outcomes.counts(1).recall - outcomes.counts(0).recall


def two_proportion_test(one: Counts, zero: Counts) -> Test:
    """Pooled two-sided z-test of equal recalls; where all or none are hit, nothing differs and p = 1."""
    pooled = (one.hits + zero.hits) / (one.labels + zero.labels)
    error = sqrt(pooled * (1 - pooled) * (1 / one.labels + 1 / zero.labels))
    if error == 0:
        return Test(0.0, 1.0)
    z = (one.recall - zero.recall) / error
    return Test(z, erfc(abs(z) / sqrt(2)))


def wilson(counts: Counts, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a share."""
    z, n, p = _z((1 + confidence) / 2), counts.labels, counts.recall
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(one: Counts, zero: Counts, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of recall(one) - recall(zero) for independent groups, from both score intervals (his method 10)."""
    (low1, high1), (low0, high0) = wilson(one, confidence), wilson(zero, confidence)
    p1, p0 = one.recall, zero.recall
    down = sqrt((p1 - low1) ** 2 + (high0 - p0) ** 2)
    up = sqrt((high1 - p1) ** 2 + (p0 - low0) ** 2)
    return p1 - p0 - down, p1 - p0 + up


def odds_ratio(one: Counts, zero: Counts) -> float:
    """Odds of a hit in group 1 over those in group 0; half a count is added to each cell, so that it is finite."""
    cells = [value + 0.5 for c in (one, zero) for value in (c.hits, c.labels - c.hits)]
    return cells[0] * cells[3] / (cells[1] * cells[2])


def stratified_gap(outcomes: Outcomes, stratum: Integers) -> float:
    """Mantel and Haenszel's common difference: the gap among items of like stratum (box size, difficulty).

    stratum: (items,). Strata that hold one group only say nothing and carry no weight.
    """
    total = weights = 0.0
    for value in np.unique(stratum):
        inside = stratum == value
        n1, n0 = (int((inside & (outcomes.group == group)).sum()) for group in (1, 0))
        if not n1 or not n0:
            continue
        hits1, hits0 = (float(outcomes.hit[inside & (outcomes.group == group)].sum()) for group in (1, 0))
        total += (hits1 * n0 - hits0 * n1) / (n1 + n0)
        weights += n1 * n0 / (n1 + n0)
    if weights == 0:
        raise ValueError("no stratum holds both groups")
    return total / weights


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the chance of any false alarm stays below the level. -> as many, in the order given"""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort(kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped.clip(max=1)
    return [float(value) for value in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that the expected share of false alarms among all alarms stays below the level."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort(kind="stable")[::-1]  # largest first
    stepped = np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped.clip(max=1)
    return [float(value) for value in adjusted]


def mcnemar(before: Array, after: Array) -> Test:
    """Exact test of one group before and after, on the items that changed. before, after: (items,) of 0 and 1

    -> items lost less items won, and p
    """
    lost = int((before > after).sum())
    won = int((before < after).sum())
    changed = lost + won
    tail = sum(comb(changed, k) for k in range(min(lost, won) + 1)) / 2**changed
    return Test(float(lost - won), min(1.0, 2 * tail))


def minimum_detectable_gap(
    labels1: int, labels0: int, recall: float = 0.5, power: float = POWER, alpha: float = 0.05
) -> float:
    """The gap that a two-proportion test of these sizes finds with this power, near a common recall (0.5: worst)."""
    error = sqrt(recall * (1 - recall) * (1 / labels1 + 1 / labels0))
    return (_z(1 - alpha / 2) + _z(power)) * error


def change_of_gap(dense: Outcomes, smaller: Outcomes, config: Config | None = None) -> Change:
    """dEOD with its percentile bootstrap over clusters, both models' outcomes of an item drawn together."""
    config = config or Config()
    if not (np.array_equal(dense.group, smaller.group) and np.array_equal(dense.cluster, smaller.cluster)):
        raise ValueError("the two models must have the same items in the same order")
    moved, labels = _by_cluster(smaller.hit - dense.hit, dense)
    value = moved.sum(0) / labels.sum(0)
    if config.imaginary:
        moved = np.concatenate([moved, [[0, 1], [0, -1]]])
        labels = np.concatenate([labels, np.tile(labels.mean(0), (2, 1))])
    clusters = len(labels)
    rng = np.random.default_rng(config.seed)
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=config.resamples).astype(float)
    with np.errstate(invalid="ignore"):  # a draw without one of the groups has no gap
        recalls = (drawn @ moved) / (drawn @ labels)  # (resamples, group)
    draws = recalls[:, 1] - recalls[:, 0]
    draws = draws[np.isfinite(draws)]
    tail = (1 - config.confidence) / 2
    lo, hi = np.quantile(draws, [tail, 1 - tail])
    beyond = 1 + min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * float(beyond) / (len(draws) + 1))
    return Change(float(value[1] - value[0]), float(lo), float(hi), float(draws.std()), p)


def _by_cluster(values: Array, outcomes: Outcomes) -> tuple[Array, Array]:
    """-> sums and numbers of items, (clusters, group) each"""
    names, index = np.unique(outcomes.cluster, return_inverse=True)
    sums, labels = np.zeros((len(names), 2)), np.zeros((len(names), 2))
    np.add.at(sums, (index, outcomes.group), values)
    np.add.at(labels, (index, outcomes.group), 1)
    return sums, labels

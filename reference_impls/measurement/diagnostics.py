"""What makes an interval untrue although it is narrow: runs that depend on their neighbours, and drift."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def lag1_correlation(samples: Array) -> float:
    """Of each run with the next one; 0 for a constant or single run.

    samples: (runs,)
    """
    if np.ptp(samples) == 0:  # asked of the range: the mean of equal runs may differ from them in the last digit
        return 0.0
    centred = samples - samples.mean()
    return float(centred[1:] @ centred[:-1] / (centred @ centred))


def correlated(samples: Array, limit: float) -> bool:
    """Whether the lag-1 correlation is above the limit and above what independent runs show by chance (95 %).

    samples: (runs,)
    """
    return abs(lag1_correlation(samples)) > max(limit, 1.96 / math.sqrt(len(samples)))


def half_shift(samples: Array) -> float:
    """Median of the second half over that of the first, less 1; nan when the first is 0. The middle run is left out.

    samples: (runs,), at least 2
    """
    half = len(samples) // 2
    before, after = np.median(samples[:half]), np.median(samples[-half:])
    return float(after / before - 1) if before > 0 else math.nan


def average_ranks(values: Array) -> Array:
    """values: (runs,) -> (runs,): ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: Array = (2 * last - counts + 1) / 2
    return mean_rank[place]


def half_difference_p(samples: Array) -> float:
    """Probability of halves so different if nothing drifts: the rank-sum test, normal approximation, ties corrected.

    samples: (runs,), at least 2
    """
    half = len(samples) // 2
    pooled = np.concatenate([samples[:half], samples[-half:]])
    _, ties = np.unique(pooled, return_counts=True)
    n = 2 * half
    spread = half * half / 12 * (n + 1 - float((ties**3 - ties).sum()) / (n * (n - 1)))
    if spread <= 0:
        return 1.0
    surplus = float(average_ranks(pooled)[:half].sum()) - half * (n + 1) / 2
    distance = max(0.0, abs(surplus) - 0.5) / math.sqrt(spread)  # 0.5: a sum of ranks moves in whole steps
    return 2 * (1 - NormalDist().cdf(distance))

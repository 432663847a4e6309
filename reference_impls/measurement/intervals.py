"""Confidence intervals of a percentile: from order statistics, and from the plain and the moving-block bootstrap.

Order statistics need no assumption on the distribution, only independent runs. The number of runs below the true
percentile q is binomial, so q lies between the l-th and the u-th smallest run unless that number is below l or is u
or more. The ranks here are the binomial's normal approximation, counted from 1 as in the textbook formula; the
released code of SuperFlow uses them as indices from 0, which moves both ends up one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["general", "bootstrap", "block_bootstrap"]
KINDS: tuple[Kind, ...] = ("general", "bootstrap", "block_bootstrap")


def ranks(n: int, share: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """The l-th and u-th smallest of n, counted from 1, or None where one of them does not exist.

    l = rint(n p - z sqrt(n p (1 - p))), u = rint(1 + n p + z sqrt(n p (1 - p))).
    """
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(n * share * (1 - share))
    low, high = round(n * share - reach), round(1 + n * share + reach)
    return (low, high) if low >= 1 and high <= n else None


def sorted_percentile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest runs, as `numpy.percentile` does, without sorting again."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def order_statistic_ci(ordered: Sequence[float], share: float, confidence: float = 0.95) -> tuple[float, float] | None:
    """The runs at the two ranks, or None when there are too few runs."""
    places = ranks(len(ordered), share, confidence)
    return None if places is None else (ordered[places[0] - 1], ordered[places[1] - 1])


def resample(samples: Array, resamples: int, rng: np.random.Generator, block_length: int = 1) -> Array:
    """Draw runs with replacement in blocks of neighbours; blocks of 1 are the plain bootstrap.

    samples: (runs,) -> (resamples, runs)
    """
    n = len(samples)
    starts = rng.integers(0, n - block_length + 1, size=(resamples, math.ceil(n / block_length), 1))
    places = (starts + np.arange(block_length)).reshape(resamples, -1)[:, :n]  # blocks end to end, the last one cut
    drawn: Array = samples[places]
    return drawn


def bootstrap_ci(draws: Array, shares: Sequence[float], confidence: float = 0.95) -> list[tuple[float, float]]:
    """The middle `confidence` of the percentile over the resamples, for each share.

    draws: (resamples, runs)
    """
    tail = (1 - confidence) / 2
    percentiles = np.quantile(draws, list(shares), axis=1)  # (shares, resamples)
    low, high = np.quantile(percentiles, [tail, 1 - tail], axis=1)
    return [(float(lo), float(hi)) for lo, hi in zip(low, high, strict=True)]


def autocovariances(samples: Array, lags: int) -> Array:
    """samples: (runs,) -> (lags + 1,): at lags 0 .. lags, each divided by the number of runs."""
    centred = samples - samples.mean()
    n = len(samples)
    return np.array([centred[lag:] @ centred[: n - lag] / n for lag in range(lags + 1)])


def last_correlated_lag(correlations: Array, n: int) -> int:
    """The lag after which `quiet` correlations in a row are indistinguishable from 0 (Politis and White's m).

    correlations: (lags,), from lag 1
    """
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    loud = np.abs(correlations) > 2 * math.sqrt(math.log10(n) / n)
    for lag in range(len(loud) - quiet + 1):
        if not loud[lag : lag + quiet].any():
            return lag
    return max((lag + 1 for lag, is_loud in enumerate(loud.tolist()) if is_loud), default=0)


def block_length(samples: Array) -> int:
    """The optimum for circular blocks (Politis and White 2004, as corrected by Patton, Politis and White 2009).

    samples: (runs,). At least 1; 1 for a constant sample, or for one too short to see a correlation.
    """
    n = len(samples)
    lags = math.ceil(math.sqrt(n)) + max(5, math.ceil(math.sqrt(math.log10(max(n, 2)))))
    if n <= lags + 1 or np.ptp(samples) == 0:
        return 1
    gamma = autocovariances(samples, lags)
    reach = min(2 * max(last_correlated_lag(gamma[1:] / gamma[0], n), 1), lags)
    lag = np.arange(1, reach + 1)
    window = np.minimum(1.0, 2 * (1 - lag / reach))  # flat up to half the reach, then falling to 0
    slope = 2 * float((window * lag * gamma[1 : reach + 1]).sum())
    spectrum_at_0 = float(gamma[0] + 2 * (window * gamma[1 : reach + 1]).sum())
    if spectrum_at_0 <= 0:  # the window's estimate may be, on short samples; then nothing can be told
        return 1
    best: float = (2 * slope**2 / (4 / 3 * spectrum_at_0**2)) ** (1 / 3) * n ** (1 / 3)
    return max(1, math.ceil(min(best, 3 * math.sqrt(n), n / 3)))


def percentile_cis(
    arrival: Sequence[float] | Array,
    ordered: Sequence[float],
    shares: Sequence[float],
    confidence: float = 0.95,
    kind: Kind = "general",
    resamples: int = 1000,
    rng: np.random.Generator | None = None,
) -> list[tuple[float, float] | None]:
    """One interval per share, of the asked kind, over one sample (the bootstraps draw once for all shares).

    arrival: (runs,), in order of arrival; ordered: the same runs, sorted
    """
    if kind == "general":
        return [order_statistic_ci(ordered, share, confidence) for share in shares]
    if rng is None:
        raise ValueError(f"the {kind} interval draws at random: pass rng")
    samples = np.asarray(arrival, dtype=np.float64)
    length = block_length(samples) if kind == "block_bootstrap" else 1
    return [*bootstrap_ci(resample(samples, resamples, rng, length), shares, confidence)]


def percentile_ci(
    samples: Sequence[float] | Array,
    percentile: float,
    confidence: float = 0.95,
    kind: Kind = "general",
    resamples: int = 1000,
    rng: np.random.Generator | None = None,
) -> tuple[float, float] | None:
    """The interval of one percentile of a whole sample, given in order of arrival.

    samples: (runs,)
    """
    ordered = np.sort(samples).tolist()
    return percentile_cis(samples, ordered, [percentile / 100], confidence, kind, resamples, rng)[0]

"""Latencies of known shape, so that how often a stopping rule is right can be counted.

Each shape draws runs in order of arrival and knows its true percentiles. The last one is not of one distribution: its
truth is that of the runs from `SETTLED_AT` on, which is what a user who measures longer would find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]

SPREAD = 0.05
RHO = 0.6
SLOW_SHARE = 1 / 3
SETTLED_AT = 40
"""The run, counted from 1, that is the first which may be slow in `late_mode`."""


@dataclass(frozen=True)
class Shape:
    """One kind of noise. Latencies are in units of the typical one.

    draw: (rng, runs) -> (runs,); quantile: share -> the true percentile
    """

    title: str
    draw: Draw
    quantile: Callable[[float], float]


def normal(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): symmetric, coefficient of variation 5 %."""
    return rng.normal(1, SPREAD, runs)


def lognormal(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): skewed, coefficient of variation 10 %."""
    return np.exp(rng.normal(0, 2 * SPREAD, runs))


def bimodal(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): one run in three is slow, so the third quartile lies in the slow mode and the others do not."""
    return np.where(rng.random(runs) < SLOW_SHARE, rng.normal(1.4, SPREAD, runs), rng.normal(1, SPREAD, runs))


def late_mode(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): as `bimodal`, but no run before the 40th is slow."""
    latencies = bimodal(rng, runs)
    latencies[: SETTLED_AT - 1] = rng.normal(1, SPREAD, min(runs, SETTLED_AT - 1))
    return latencies


def autoregressive(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): the spread of `normal`, each run correlated by 0.6 with the one before; begun in its steady state."""
    noise = rng.normal(0, SPREAD, runs)
    level, series = float(noise[0]), np.empty(runs)
    for run in range(runs):
        level = level if run == 0 else RHO * level + (1 - RHO**2) ** 0.5 * float(noise[run])
        series[run] = 1 + level
    return series


def pareto(rng: np.random.Generator, runs: int) -> Array:
    """-> (runs,): a heavy tail; P(latency > x) = x ** -3 from 1 on."""
    return 1 + rng.pareto(3, runs)


def mixture_quantile(share: float) -> float:
    """The percentile of `bimodal`, by bisection on its distribution function."""
    fast, slow, low, high = NormalDist(1, SPREAD), NormalDist(1.4, SPREAD), 0.0, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        below = (1 - SLOW_SHARE) * fast.cdf(middle) + SLOW_SHARE * slow.cdf(middle)
        low, high = (middle, high) if below < share else (low, middle)
    return low


SHAPES: dict[str, Shape] = {
    "ar1": Shape("autoregressive, lag-1 correlation 0.6, spread 5 %", autoregressive, NormalDist(1, SPREAD).inv_cdf),
    "bimodal": Shape("two modes, one run in three 40 % slower", bimodal, mixture_quantile),
    "late-mode": Shape("two modes, the slow one only from run 40 on", late_mode, mixture_quantile),
    "lognormal": Shape(
        "log-normal, spread 10 %", lognormal, lambda p: float(np.exp(2 * SPREAD * NormalDist().inv_cdf(p)))
    ),
    "normal": Shape("normal, spread 5 %", normal, NormalDist(1, SPREAD).inv_cdf),
    "pareto": Shape("heavy tail, Pareto with exponent 3", pareto, lambda p: (1 - p) ** (-1 / 3)),
}

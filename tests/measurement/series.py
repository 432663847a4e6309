"""Seeded latencies of known shape, with the true percentiles of each, and fake clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np

Draw = Callable[[np.random.Generator, int], np.ndarray]
Z75 = NormalDist().inv_cdf(0.75)


def normal(rng, n):
    return rng.normal(1, 0.05, n)


def lognormal(rng, n):
    return np.exp(rng.normal(0, 0.1, n))


def bimodal(rng, n):
    """70 % around 1, 30 % around 1.3: the third quartile lies in the smaller mode."""
    return np.where(rng.random(n) < 0.7, rng.normal(1, 0.03, n), rng.normal(1.3, 0.03, n))


def correlated(rng, n, rho=0.6):
    """First-order autoregressive with the same spread as `normal`."""
    noise = rng.normal(0, 0.05, n)
    series = np.empty(n)
    series[0] = noise[0]
    for i in range(1, n):
        series[i] = rho * series[i - 1] + np.sqrt(1 - rho**2) * noise[i]
    return 1 + series


def pareto(rng, n):
    return 1 + rng.pareto(3, n)


def bimodal_quantile(share):
    """By bisection on the mixture's distribution function."""
    one, other, low, high = NormalDist(1, 0.03), NormalDist(1.3, 0.03), 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.7 * one.cdf(middle) + 0.3 * other.cdf(middle) < share else (low, middle)
    return low


SHAPES: dict[str, tuple[Draw, dict[int, float]]] = {
    "normal": (normal, {25: 1 - 0.05 * Z75, 50: 1.0, 75: 1 + 0.05 * Z75}),
    "lognormal": (lognormal, {25: np.exp(-0.1 * Z75), 50: 1.0, 75: np.exp(0.1 * Z75)}),
    "bimodal": (bimodal, {p: bimodal_quantile(p / 100) for p in (25, 50, 75)}),
    "correlated": (correlated, {25: 1 - 0.05 * Z75, 50: 1.0, 75: 1 + 0.05 * Z75}),
    "pareto": (pareto, {p: (1 - p / 100) ** (-1 / 3) for p in (25, 50, 75)}),
}


def feed(rule, latencies):
    """The last decision: the one that stopped, or the one at the end of the series."""
    for latency in latencies:
        decision = rule.update(float(latency))
        if decision.stop:
            break
    return decision


def ticking(durations) -> Callable[[], float]:
    """A clock for a function that takes the given times: each pair of readings is one call."""

    def readings() -> Iterator[float]:
        now = 0.0
        for duration in durations:
            yield now
            now += duration
            yield now

    steps = readings()
    return lambda: next(steps)

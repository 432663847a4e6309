"""The cheapest memory size within a latency target, found with few measurements.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names configuration as a direction; the
    searches are ours).
Idea: latency falls with memory, so the sizes that meet the target are the upper end of the list, found by bisection;
    cost is convex there, so a golden section finds its least. Or: fit t = a + b / cpu(m) to three sizes, take the best
    by the fit, and measure it; where the fit is wrong, search after all.
Symbols: t = latency, m = memory, a = seconds that do not depend on the share of a core, b = seconds on a whole core.
Simplified: latency that does not fall with memory, and cost with several valleys, are not found out.
Differs: no paper gives these searches; each size is measured until the SuperFlow rule stops.
Cost: the grid measures all n sizes, the golden section about 2.4 log2(n), the fit 5 where it is right.
Checked against: the grid, on 50 synthetic convex curves; targets that no size meets; curves that break the fit.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from reference_impls.measurement.superflow import Config as RuleConfig
from reference_impls.measurement.superflow import Stopper, collect
from reference_impls.serverless import cpu_share
from reference_impls.serverless.cost import Rates, cost_per_million

Latencies = Callable[[int], Iterable[float]]
"""Memory in MB -> latencies of one invocation after the other, for as long as they are asked for."""


@dataclass(frozen=True)
class Config:
    """The target, the prices, and how each size is measured.

    slo_s: the 95th percentile may be at most this; tolerance: how far a measurement may be from the fit.
    """

    slo_s: float = math.inf
    rates: Rates = field(default_factory=Rates)
    rule: RuleConfig = field(default_factory=lambda: RuleConfig(error_bound=0.05, max_n=100))
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if not self.slo_s > 0 or not self.tolerance > 0:
            raise ValueError(f"slo_s and tolerance must be above 0, got {self.slo_s} and {self.tolerance}")


@dataclass(frozen=True)
class Probe:
    """One size, measured."""

    memory_mb: int
    median_s: float
    p95_s: float
    cost: float  # of a million requests of the median duration
    runs: int
    converged: bool


@dataclass(frozen=True)
class Choice:
    """What a search found; without `best`, no size meets the target, and `probes` shows by how much."""

    best: Probe | None
    probes: tuple[Probe, ...]
    reason: str

    @property
    def feasible(self) -> bool:
        """Whether any size meets the target."""
        return self.best is not None


class Book:
    """Measures each size once and remembers it."""

    def __init__(self, latencies: Latencies, config: Config) -> None:
        self.latencies, self.config = latencies, config
        self.probes: dict[int, Probe] = {}

    def __call__(self, memory_mb: int) -> Probe:
        """The measurement of this size."""
        if memory_mb not in self.probes:
            self.probes[memory_mb] = self._measure(memory_mb)
        return self.probes[memory_mb]

    def _measure(self, memory_mb: int) -> Probe:
        report = collect(self.latencies(memory_mb), Stopper(self.config.rule))
        median, p95 = (float(np.percentile(report.samples, p)) for p in (50, 95))
        price = cost_per_million(median, memory_mb, self.config.rates)
        return Probe(memory_mb, median, p95, price, report.n, report.converged)

    def meets(self, memory_mb: int) -> bool:
        """Whether this size is within the target."""
        return self(memory_mb).p95_s <= self.config.slo_s

    def choice(self, reason: str) -> Choice:
        """The cheapest of the sizes that were measured and meet the target."""
        probes = tuple(self.probes[size] for size in sorted(self.probes))
        good = [probe for probe in probes if probe.p95_s <= self.config.slo_s]
        best = min(good, key=lambda probe: (probe.cost, probe.memory_mb), default=None)
        return Choice(best, probes, reason if best else f"infeasible: no size has a P95 within {self.config.slo_s} s")


def check_sizes(sizes: Sequence[int]) -> list[int]:
    """In ascending order, each once."""
    found = sorted(set(sizes))
    if not found or found[0] <= 0:
        raise ValueError(f"give at least one size above 0 MB, got {list(sizes)}")
    return found


def grid(latencies: Latencies, sizes: Sequence[int], config: Config | None = None) -> Choice:
    """Measure all of them."""
    book = Book(latencies, config or Config())
    for size in check_sizes(sizes):
        book(size)
    return book.choice("all sizes measured")


def golden_section(latencies: Latencies, sizes: Sequence[int], config: Config | None = None) -> Choice:
    """Bisect for the smallest size within the target, then search the sizes from there on for the least cost."""
    book, sizes = Book(latencies, config or Config()), check_sizes(sizes)
    return _search(book, sizes, "golden section")


def _search(book: Book, sizes: list[int], reason: str) -> Choice:
    if not book.meets(sizes[-1]):  # the largest is the fastest: if it is too slow, all are
        return book.choice(reason)
    low = _first_within(book, sizes) if book.config.slo_s < math.inf else 0
    _least_cost(book, sizes[low:])
    return book.choice(reason)


def _first_within(book: Book, sizes: list[int]) -> int:
    """Index of the smallest size that meets the target, where the last one does and larger is never slower."""
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if book.meets(sizes[middle]) else (middle + 1, high)
    return low


def _least_cost(book: Book, sizes: list[int]) -> None:
    """Golden section on indices: the two inner points share one measurement with the round before."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = 0, len(sizes) - 1
    while high - low > 2:
        step = max(1, round(ratio * (high - low)))
        left, right = high - step, low + step
        if left >= right:
            left, right = right - 1, right
        if book(sizes[left]).cost <= book(sizes[right]).cost:
            high = right
        else:
            low = left
    for index in range(low, high + 1):
        book(sizes[index])


def fit(probes: Iterable[Probe]) -> tuple[float, float]:
    """Least squares of t = a + b / cpu(m) on the medians. -> a, b"""
    found = list(probes)
    design = np.array([[1.0, 1 / cpu_share(probe.memory_mb)] for probe in found])
    a, b = np.linalg.lstsq(design, np.array([probe.median_s for probe in found]), rcond=None)[0]
    return float(a), float(b)


def three_points(latencies: Latencies, sizes: Sequence[int], config: Config | None = None) -> Choice:
    """Fit to the smallest, a middle and the largest size; measure what the fit calls best; if it is wrong, search."""
    config, sizes = config or Config(), check_sizes(sizes)
    book = Book(latencies, config)
    points = [book(size) for size in (sizes[0], sizes[len(sizes) // 3], sizes[-1])]
    if not book.meets(sizes[-1]):
        return book.choice("three points")
    a, b = fit(points)
    spread = max(probe.p95_s / probe.median_s for probe in points)  # the tail, as a factor over the median
    foretold = {size: a + b / cpu_share(size) for size in sizes}
    within = [size for size in sizes if foretold[size] * spread <= config.slo_s] or sizes[-1:]
    best = min(within, key=lambda size: cost_per_million(max(foretold[size], 0.0), size, config.rates))
    at = sizes.index(best)
    checked = [*points, *(book(size) for size in sizes[max(0, at - 1) : at + 2])]
    off = max(abs(foretold[probe.memory_mb] / probe.median_s - 1) for probe in checked)
    if off <= config.tolerance and book.meets(best):
        return book.choice("the fit holds")
    return _search(book, sizes, f"the fit is off by {off:.0%}; golden section")


SEARCHES: dict[str, Callable[[Latencies, Sequence[int], Config | None], Choice]] = {
    "grid": grid,
    "golden-section": golden_section,
    "three-points": three_points,
}

"""Recorded measurements with what follows from them: the one table that figures, pages and the interface read.

A point keeps its measurement and adds its median, interval, factor over the baseline and share of the physical limit.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement.intervals import order_statistic_ci
from reference_impls.measurement.paired import Config, Ratio
from scripts.catalogue.model import Measurement, Run
from scripts.catalogue.vocabulary import METRICS, Better
from scripts.website.enough import settles
from scripts.website.remember import Memory

RESAMPLES = Config(resamples=500)
DRAWN = Memory("drawn", [Path(__file__)], f"{RESAMPLES!r} numpy {np.__version__}")


@dataclass(frozen=True)
class Point:
    """One implementation in one case of one run.

    module: the module of reference_impls/ that was exercised, or None.
    baseline: the measurement of its case that it is compared with (itself, for a baseline).
    """

    file: str
    run: Run
    one: Measurement
    baseline: Measurement
    module: str | None

    @property
    def prefix(self) -> str:
        """The case without its last part: cases that measure the same thing in another way share it."""
        return self.one.case.rpartition("/")[0]

    @property
    def is_exact(self) -> bool:
        """A value that repeats exactly, such as bytes, has no interval."""
        return self.one.stop_reason == "deterministic"

    @cached_property
    def value(self) -> float:
        """The median of the samples, in the metric's unit."""
        return median(self.one.samples)

    @cached_property
    def spread(self) -> tuple[float, float] | None:
        """The 95 % interval of the median, or the range where there are too few samples for one; None for a single."""
        if len(self.one.samples) < 2:
            return None
        ordered = sorted(self.one.samples)
        return order_statistic_ci(ordered, 0.5) or (ordered[0], ordered[-1])

    @property
    def spread_is(self) -> str:
        """What `spread` is, in words."""
        if self.spread is None:
            return "exact" if self.is_exact else "one sample"
        has_ci = order_statistic_ci(sorted(self.one.samples), 0.5) is not None
        return "95 % interval" if has_ci else f"range of {len(self.one.samples)}"

    @cached_property
    def factor(self) -> Ratio | None:
        """How many times better than the baseline, above 1 where better; None for baselines and exact values."""
        if self.one is self.baseline or self.is_exact:
            return None
        ratio = ratio_to(self.one, self.baseline)
        return oriented(ratio, self.one.better) if ratio else None

    @property
    def is_settled(self) -> bool:
        """Whether it and its baseline have enough samples for an outcome of their comparison."""
        return settles(self.one, self.baseline)

    @property
    def is_tied(self) -> bool:
        """No difference from the baseline was seen, by enough samples: the interval of the factor holds 1."""
        return self.is_settled and self.factor is not None and self.factor.lo <= 1 <= self.factor.hi

    @property
    def share(self) -> float | None:
        """Which part of the physical limit was reached: 1 is the limit."""
        limit = self.one.limit
        if not limit or not limit.value or not self.value:
            return None
        return self.value / limit.value if self.one.better == "higher" else limit.value / self.value

    @property
    def share_spread(self) -> tuple[float, float] | None:
        """The share at the ends of `spread`."""
        if not self.spread or not self.share or min(self.spread) <= 0:
            return None
        ends = [end / self.value if self.one.better == "higher" else self.value / end for end in self.spread]
        return self.share * min(ends), self.share * max(ends)


def ratio_to(one: Measurement, baseline: Measurement) -> Ratio | None:
    """Median of `one` over that of the baseline, over the rounds both have; None where a sample is not above zero."""
    if min(min(one.samples), min(baseline.samples)) <= 0:
        return None
    return compare(tuple(one.samples), tuple(baseline.samples))


@lru_cache(maxsize=8192)
def compare(samples: tuple[float, ...], baseline: tuple[float, ...]) -> Ratio:
    """Median ratio to the baseline over the rounds that both have, with its bootstrap interval: the first of the two of
    `paired.ratio_cis`, without the work for the second. A build draws thousands."""
    rounds = min(len(samples), len(baseline))
    a, b = samples[:rounds], baseline[:rounds]
    return Ratio(*DRAWN.get(np.asarray((a, b)).tobytes(), lambda: _draw(a, b)))


def _draw(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float]:
    ratios = np.sort(drawn_medians(a) / drawn_medians(b))
    lo, hi = (quantile(ratios, (1 + side * RESAMPLES.confidence) / 2) for side in (-1, 1))
    return float(median(a) / median(b)), lo, hi


def quantile(ordered: NDArray[np.float64], share: float) -> float:
    """As `np.quantile` gives it, of values in order: an eighth of its time. (n,) -> one of them, or between two"""
    place = share * (len(ordered) - 1)
    low = int(place)
    a, b = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    part = place - low
    return a + (b - a) * part if part < 0.5 else b - (b - a) * (1 - part)


@lru_cache(maxsize=8192)
def drawn_medians(samples: tuple[float, ...]) -> NDArray[np.float64]:
    """The median of each drawing of rounds; a baseline's serve all that are compared with it. -> (resamples,)"""
    return medians(np.asarray(samples, dtype=float)[drawn_rounds(len(samples), RESAMPLES.resamples)])


def medians(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `np.median` gives them, in half its time: sorting short rows is faster than to part them. (n, m) -> (n,)"""
    rows.sort(axis=1)
    middle = rows.shape[1] // 2
    upper: NDArray[np.float64] = rows[:, middle]
    return upper.copy() if rows.shape[1] % 2 else (rows[:, middle - 1] + upper) / 2


@lru_cache(maxsize=512)
def drawn_rounds(count: int, resamples: int) -> NDArray[np.int64]:
    """Rounds drawn with replacement, the same for each pair of samples. -> (resamples, count)"""
    return np.random.default_rng(0).integers(0, count, size=(resamples, count))


def oriented(ratio: Ratio, better: Better) -> Ratio:
    """A ratio turned so that above 1 is better: of times the inverse, of rates the ratio itself."""
    return ratio if better == "higher" else Ratio(1 / ratio.value, 1 / ratio.hi, 1 / ratio.lo)


def module_of(one: Measurement, modules: Collection[str]) -> str | None:
    """The module that a method exercises: as recorded, else the one it is named after."""
    recorded: str | None = one.module
    named = one.implementation.replace("-", "_")
    return recorded or (named if one.role == "method" and named in modules else None)


def points_of(file: str, run: Run, modules: Collection[str]) -> list[Point]:
    """Every measurement of a run as a point; cases without a baseline, which cannot be compared, are left out."""
    baselines = {one.case: one for one in run.measurements if one.role == "baseline"}
    return [
        Point(file, run, one, baselines[one.case], module_of(one, modules))
        for one in run.measurements
        if one.case in baselines
    ]


def shown_for(points: Iterable[Point], modules: Collection[str]) -> list[Point]:
    """What a page of these modules shows: their methods, and the baselines and peers of the cases that have one."""
    points = list(points)
    cases = {point.one.case for point in points if point.one.role == "method" and point.module in modules}
    return [
        point for point in points if point.one.case in cases and (point.one.role != "method" or point.module in modules)
    ]


def alike(groups: Sequence[Sequence[Point]]) -> list[list[Sequence[Point]]]:
    """Groups of points put together by what their figures would be called: metric, subject and baseline."""
    found: dict[tuple[str, ...], list[Sequence[Point]]] = {}
    for group in groups:
        one = group[0].one
        found.setdefault((one.metric, subject(one), group[0].baseline.implementation), []).append(group)
    return list(found.values())


def is_speed(one: Measurement) -> bool:
    """A time or a rate of the work itself, not of applying a method."""
    return METRICS[one.metric].unit in ("s", "tokens/s", "requests/s") and one.metric not in APPLY_METRICS


APPLY_METRICS = frozenset({"quantize_time"})
QUALITY_METRICS = ("perplexity", "accuracy", "rouge_l", "layer_error")


def subject(one: Measurement) -> str:
    """What a workload is about: the model, the trace it serves or the link that something of it lies behind; the
    layer's shape; else the case's second part."""
    workload = one.workload
    if workload.get("model"):
        behind = ["behind a link"] if "bytes_per_s" in workload else []
        return ", ".join([*(str(workload[key]) for key in ("model", "trace") if workload.get(key)), *behind])
    if workload.get("in") and workload.get("out"):
        return f"layer {workload['in']} × {workload['out']}"
    return one.case.split("/")[1] if "/" in one.case else one.case

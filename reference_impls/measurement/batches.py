"""The sample a stopping rule keeps, and the loop every rule shares: collect a batch, check, respect the budget."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import insort
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement import Decision, Estimate, Reason


@dataclass
class Sample:
    """Latencies in order of arrival and, beside them, sorted; both only grow."""

    arrival: list[float] = field(default_factory=list)
    ordered: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.arrival)

    def add(self, latency: float) -> None:
        """Insert in O(log n) comparisons (the list then shifts its tail, one memory move)."""
        if not math.isfinite(latency) or latency < 0:
            raise ValueError(f"run {len(self) + 1}: a latency must be a finite number >= 0, got {latency}")
        self.arrival.append(float(latency))
        insort(self.ordered, float(latency))

    def as_array(self) -> NDArray[np.float64]:
        """-> (runs,): the latencies in order of arrival."""
        return np.array(self.arrival)


@dataclass(frozen=True)
class Check:
    """One look at the sample: what it said, and the widest interval it saw, as a share of its percentile."""

    n: int
    reason: Reason
    relative_error: float | None


class BatchRule(ABC):
    """Looks at the sample after every `interval` runs; says `max_n` rather than pass when the budget is spent."""

    def __init__(self, interval: int, max_n: int) -> None:
        self.interval, self.max_n = interval, max_n
        self.sample = Sample()
        self.history: list[Check] = []
        self.estimates: tuple[Estimate, ...] = ()

    @abstractmethod
    def check(self) -> Reason:
        """Judge the sample as it is, and leave in `estimates` what the judgement rests on."""

    def update(self, latency: float) -> Decision:
        """Take the next latency; check when a batch is full."""
        self.sample.add(latency)
        reason: Reason = "collecting" if len(self.sample) % self.interval else self._look()
        if reason not in ("converged", "count") and len(self.sample) >= self.max_n:
            reason = "max_n"
        return Decision(reason, len(self.sample), self.estimates)

    def _look(self) -> Reason:
        reason = self.check()
        widest = max((estimate.relative_error for estimate in self.estimates), default=math.inf)
        self.history.append(Check(len(self.sample), reason, widest if math.isfinite(widest) else None))
        return reason


def check_budget(interval: int, max_n: int) -> None:
    """Refuse a batch of nothing and a budget in which no check can follow another."""
    if interval < 1:
        raise ValueError(f"interval must be at least 1, got {interval}")
    if max_n < 2 * interval:
        raise ValueError(f"max_n must be at least two intervals ({2 * interval}), got {max_n}")


def check_share(name: str, value: float) -> None:
    """Refuse a probability or error bound outside (0, 1)."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, both left out, got {value}")


def check_percentiles(percentiles: tuple[float, ...]) -> None:
    """Refuse an empty list, 0, 100 and beyond, and percentiles given as shares by mistake."""
    if not percentiles or not all(1 <= p < 100 for p in percentiles):
        raise ValueError(f"percentiles must be numbers from 1 to below 100, at least one, got {percentiles}")

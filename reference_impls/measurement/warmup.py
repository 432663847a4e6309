"""Warm-up removal: drop the first runs until the running median stops trending.

Paper: none; a rule of ours for the first runs of a benchmark (caches, compilation, clocks), which SuperFlow leaves
    to the caller (cold starts are its subject).
Idea: take the median of each `window` runs; while it keeps moving the same way by more than `tolerance`, the
    function is still warming up.
Symbols: none.
Simplified: windows do not overlap, and only neighbouring medians are compared, so a slower trend than `tolerance` per
    window passes: the drift check over the whole sample is there for that.
Differs: nothing to differ from.
Cost: O(window log window) once per window; at least two windows of runs are dropped.
Checked against: hand-worked series (step, decay, noise, ramp) in tests/measurement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from reference_impls.measurement.batches import check_share


@dataclass(frozen=True)
class Config:
    """Runs per median, the relative step that still counts as a trend, and when to give up."""

    window: int = 5
    tolerance: float = 0.02
    max_runs: int = 100

    def __post_init__(self) -> None:
        check_share("tolerance", self.tolerance)
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")
        if self.max_runs < 2 * self.window:
            raise ValueError(f"max_runs must be at least two windows ({2 * self.window}), got {self.max_runs}")


class WarmUp:
    """Takes runs until they are `done` with; `settled` says whether that was because the trend ended."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.runs: list[float] = []
        self.medians: list[float] = []
        self.settled = False

    @property
    def done(self) -> bool:
        """Nothing more is to be dropped."""
        return self.settled or len(self.runs) >= self.config.max_runs

    def update(self, latency: float) -> None:
        """Take one run to drop."""
        if not math.isfinite(latency) or latency < 0:
            raise ValueError(f"warm-up run {len(self.runs) + 1}: a latency must be a finite number >= 0, got {latency}")
        self.runs.append(float(latency))
        if len(self.runs) % self.config.window == 0:
            self.medians.append(median(self.runs[-self.config.window :]))
            self.settled = len(self.medians) > 1 and not self.trending()

    def trending(self) -> bool:
        """The last step is larger than the tolerance, and the step before it, if there was one, went the same way."""
        steps = [after - before for before, after in pairwise(self.medians[-3:])]
        turned = len(steps) == 2 and steps[0] * steps[1] < 0
        return not turned and abs(steps[-1]) > self.config.tolerance * self.medians[-2]


def warm_up_length(latencies: Iterable[float], config: Config | None = None) -> int | None:
    """How many runs of a recorded series to drop; None when it never settled."""
    warm = WarmUp(config)
    for latency in latencies:
        if warm.done:
            break
        warm.update(latency)
    return len(warm.runs) if warm.settled else None

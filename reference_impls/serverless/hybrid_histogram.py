"""The hybrid histogram policy: unload at once, load again just before the next invocation is likely.

Paper: "Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large Cloud Provider",
    section 4.2.
Idea: a histogram of idle times with bins of a minute says when the next invocation comes: hardly before its head (the
    5th percentile), hardly after its tail (the 99th). In between the instance is in memory, before and after it is not.
Symbols: head, tail = the two percentiles in seconds; CV = deviation over mean of the bins' counts.
Simplified: where most idle times lie beyond the histogram, the paper forecasts the next with ARIMA; here it is the mean
    of the last ones, with the same margin of 15 %. Histograms are not aged or saved.
Differs: `representative_cv` and `minimum` are parameters whose defaults are ours where the paper leaves them open.
Cost: one counter a bin; 240 of them for four hours in minutes.
Checked against: percentiles by sorting; periodic arrivals, which are preloaded just in time; both ways to fall back.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from reference_impls.serverless.keep_alive import Window


@dataclass(frozen=True)
class Config:
    """The policy's parameters, in seconds and shares."""

    bin_s: float = 60.0
    range_s: float = 4 * 3600.0
    head: float = 0.05
    tail: float = 0.99
    margin: float = 0.10
    representative_cv: float = 2.0  # flatter histograms than this say nothing
    minimum: int = 2  # idle times seen before the histogram is read
    beyond: float = 0.5  # share of idle times longer than the range from which on they are forecast
    forecast_margin: float = 0.15
    remembered: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.bin_s <= self.range_s:
            raise ValueError(f"bin_s must be above 0 and at most range_s, got {self.bin_s} and {self.range_s}")
        if not 0 <= self.head <= self.tail <= 1:
            raise ValueError(f"head and tail must be shares in this order, got {self.head} and {self.tail}")


class HybridHistogram:
    """The policy of one function."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.counts = np.zeros(math.ceil(self.config.range_s / self.config.bin_s), dtype=np.int64)
        self.beyond = 0
        self.recent: deque[float] = deque(maxlen=self.config.remembered)

    @property
    def seen(self) -> int:
        """Idle times so far."""
        return int(self.counts.sum()) + self.beyond

    def observe(self, idle_s: float) -> None:
        """Count it; beyond the range, count that."""
        place = int(idle_s / self.config.bin_s)
        if place < len(self.counts):
            self.counts[place] += 1
        else:
            self.beyond += 1
        self.recent.append(idle_s)

    def window(self) -> Window:
        """From the histogram where it says something, from a forecast where it is too short, else kept throughout."""
        config = self.config
        if self.seen < config.minimum:
            return Window(0.0, config.range_s)
        if self.beyond / self.seen > config.beyond:
            expected = sum(self.recent) / len(self.recent)
            wait = expected * (1 - config.forecast_margin)
            return Window(wait, expected * (1 + config.forecast_margin) - wait)
        if self.counts.std() / self.counts.mean() < config.representative_cv:
            return Window(0.0, config.range_s)
        return self.between()

    def between(self) -> Window:
        """Load at the head, rounded down and less the margin; unload at the tail, rounded up and with the margin."""
        config = self.config
        before = self.percentile(config.head) * config.bin_s * (1 - config.margin)
        after = (self.percentile(config.tail) + 1) * config.bin_s * (1 + config.margin)
        return Window(before, after - before)

    def percentile(self, share: float) -> int:
        """The bin in which the idle time of this rank lies."""
        rank = max(1, math.ceil(share * int(self.counts.sum())))
        return int(np.searchsorted(self.counts.cumsum(), rank))

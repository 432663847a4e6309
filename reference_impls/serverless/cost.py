"""What a function costs: requests, billed memory-time, and the memory that waits for the next request.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names cost as a concern; the model is ours).
Idea: a platform bills each request, and its duration, rounded up, times the memory that was configured.
Symbols: c_req = price of a request, c_GBs = price of a GiB for a second.
Simplified: no free tier, no data transfer, one price for all sizes.
Differs: the paper states no model; this is the shape that public price lists share, with rates as parameters.
Cost: nothing worth naming.
Checked against: examples worked by hand, with their rounding; additivity; monotonicity in duration and memory.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

MB_PER_GB = 1024
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Rates:
    """Prices; the defaults are of the order of public price lists and belong to nobody."""

    per_request: float = 2e-7
    per_gb_second: float = 1.66667e-5
    granularity_ms: int = 1

    def __post_init__(self) -> None:
        if min(self.per_request, self.per_gb_second) < 0 or self.granularity_ms < 1:
            raise ValueError(f"rates must be 0 or more, and the granularity at least 1 ms, got {self}")


def billed_ms(duration_s: float, granularity_ms: int = 1) -> int:
    """Milliseconds billed: rounded up to the granularity, after rounding to the nanosecond what floats blur."""
    if duration_s < 0 or not math.isfinite(duration_s):
        raise ValueError(f"a duration is 0 s or more, got {duration_s}")
    unit = granularity_ms * 1_000_000
    return -(-round(duration_s * NANOSECONDS) // unit) * granularity_ms


def gb_seconds(durations_s: Iterable[float], memory_mb: float, rates: Rates | None = None) -> float:
    """Billed memory-time in GiB·s."""
    if memory_mb <= 0:
        raise ValueError(f"memory must be above 0 MB, got {memory_mb}")
    granularity = (rates or Rates()).granularity_ms
    return sum(billed_ms(one, granularity) for one in durations_s) * memory_mb / (1000 * MB_PER_GB)


def cost(durations_s: Iterable[float], memory_mb: float, rates: Rates | None = None) -> float:
    """requests * c_req + sum(ceil_ms(duration) * memory_GB) * c_GBs, in the currency of the rates."""
    rates, durations = rates or Rates(), list(durations_s)
    return len(durations) * rates.per_request + gb_seconds(durations, memory_mb, rates) * rates.per_gb_second


def cost_per_million(duration_s: float, memory_mb: float, rates: Rates | None = None) -> float:
    """A million requests of one duration."""
    return 1_000_000 * cost([duration_s], memory_mb, rates)


def idle_gb_seconds(idle_s: Iterable[float], memory_mb: float) -> float:
    """Memory that was held without serving anybody, in GiB·s: nobody is billed for it, and somebody pays."""
    return sum(idle_s) * memory_mb / MB_PER_GB


def cheaper_reserved_above(per_gb_second: float, reserved_per_gb_second: float) -> float:
    """The busy share above which memory that is reserved the whole time costs less than memory billed by use."""
    return reserved_per_gb_second / per_gb_second

"""A clock for the engine's cases on CPUs: seconds of the process, corrected for how quick the machine is just then.

What else runs on the same core or memory makes the same iteration last up to twice as long, for seconds at a time. A
fixed piece of work timed before each iteration says how much; seconds are stretched or shrunk to those of a machine
that does this work always in its usual time. On a machine of one's own the correction is near one.
"""

import time
from functools import cache
from statistics import median

import torch

LOOKS = 3
"""How many of the newest timings of the fixed work make the correction: one alone is noisy."""


@cache
def _operands() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(16, 256), torch.ones(256, 256)


def yardstick_s() -> float:
    """Seconds of the fixed work: small products and the calls around them, as in an iteration of a small model."""
    rows, weight = _operands()
    start = time.process_time()
    with torch.inference_mode():
        for _ in range(24):
            rows = torch.nn.functional.linear(rows, weight).clamp(max=1.0)
    return time.process_time() - start


@cache
def usual_s() -> float:
    """What the fixed work took when this process first asked."""
    for _ in range(5):
        yardstick_s()
    return median(yardstick_s() for _ in range(41))


class SteadyClock:
    """Call it for the time; `look` before an iteration says how quick the machine is."""

    def __init__(self) -> None:
        self.usual_s = usual_s()
        self.paces = [self.usual_s]
        self.elapsed_s = 0.0
        self.last_s = time.process_time()

    def __call__(self) -> float:
        """Seconds since it was made, without those of the fixed work."""
        now = time.process_time()
        self.elapsed_s += (now - self.last_s) * self.usual_s / median(self.paces)
        self.last_s = now
        return self.elapsed_s

    def look(self, *_iteration: object) -> None:
        """Time the fixed work; the clock stands still meanwhile. Takes, and does not need, what an observer is told."""
        self()
        self.paces = [*self.paces, yardstick_s()][-LOOKS:]
        self.last_s = time.process_time()

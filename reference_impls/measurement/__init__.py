"""When to stop repeating a measurement, and how to report what was measured.

The face of the family is `Rule`: it is told one latency at a time and answers whether enough have been seen. Nothing
here prints, seeds a global generator or knows a device: a latency is a number, in whatever unit the caller keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

Reason = Literal[
    "collecting",  # between two checks
    "too few runs",  # an interval does not exist yet
    "too wide",  # an interval is wider than asked for
    "not stable",  # narrow enough now, but not one batch earlier
    "drifting",  # the two halves of the sample differ
    "converged",  # the rule is satisfied: the only reason that is a success
    "count",  # a fixed count was reached, which proves nothing
    "max_n",  # cut: the budget of runs is spent
    "max_seconds",  # cut: the budget of time is spent
    "exhausted",  # cut: a recorded series ended
]
STOPPING: frozenset[Reason] = frozenset({"converged", "count", "max_n", "max_seconds", "exhausted"})


@dataclass(frozen=True)
class Estimate:
    """A sample percentile and its confidence interval; no interval (None) when there are too few runs for one."""

    percentile: float
    value: float
    lo: float | None
    hi: float | None

    @property
    def relative_error(self) -> float:
        """How far the further end of the interval lies from the value, as a share of the value."""
        if self.lo is None or self.hi is None or self.value == 0:
            return math.inf
        return max(self.value - self.lo, self.hi - self.value) / self.value


@dataclass(frozen=True)
class Decision:
    """What a rule says after n latencies."""

    reason: Reason
    n: int
    estimates: tuple[Estimate, ...] = ()

    @property
    def stop(self) -> bool:
        """Nothing more need be measured, for better or worse."""
        return self.reason in STOPPING

    @property
    def converged(self) -> bool:
        """The rule was satisfied, as opposed to cut short."""
        return self.reason == "converged"


class Rule(Protocol):
    """What every stopping rule offers."""

    def update(self, latency: float) -> Decision:
        """Take the next latency, in order of arrival."""
        ...

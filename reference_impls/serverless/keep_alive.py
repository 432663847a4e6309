"""Keep-alive: how long an idle instance waits, simulated on a trace of arrivals.

Paper: "Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a Large Cloud Provider", whose
    baseline is the fixed time to live; arXiv 2207.13263.
Idea: when an invocation ends, its policy says when the instance is in memory again: from `wait` seconds later on, for
    `keep` seconds. An arrival in that window is warm; every other one is cold.
Symbols: ttl = seconds that an idle instance is kept.
Simplified: one function with instances of one size; an invocation holds its instance for its duration, warm or cold,
    and what the cold start adds is charged to the latency alone. So the windows of two policies can be compared.
Differs: nothing; the paper's own policy is in `hybrid_histogram`.
Cost: O(arrivals * instances).
Checked against: traces worked by hand; a longer ttl never has more cold starts; 0: all cold; infinite: the peak of
    invocations that run at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from reference_impls.serverless.cost import idle_gb_seconds


class Window(NamedTuple):
    """Seconds after the end of an invocation at which the instance is loaded again, and for how long it stays."""

    wait_s: float
    keep_s: float


class Policy(Protocol):
    """What decides. It hears of every idle time that ended with an arrival."""

    def observe(self, idle_s: float) -> None:
        """So long after the last end the next invocation arrived."""

    def window(self) -> Window:
        """For the invocation that ends now."""


@dataclass(frozen=True)
class FixedTtl:
    """Every instance stays for as long after its last use."""

    ttl_s: float

    def __post_init__(self) -> None:
        if self.ttl_s < 0:
            raise ValueError(f"ttl_s must be 0 or more, got {self.ttl_s}")

    def observe(self, idle_s: float) -> None:
        """Learns nothing."""

    def window(self) -> Window:
        """At once, for the time to live."""
        return Window(0.0, self.ttl_s)


@dataclass(frozen=True)
class Prewarm:
    """Unloaded at once, and loaded again `wait_s` later, for callers whose period somebody knows."""

    wait_s: float
    keep_s: float

    def observe(self, idle_s: float) -> None:
        """Learns nothing."""

    def window(self) -> Window:
        """As it was told."""
        return Window(self.wait_s, self.keep_s)


class Arrival(NamedTuple):
    """One invocation of a trace: when, and how long it runs."""

    at_s: float
    duration_s: float


@dataclass
class Instance:
    """An idle instance: in memory from `start` to `stop`."""

    end_s: float
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Outcome:
    """What a policy did on a trace."""

    cold: tuple[bool, ...]
    idle_s: tuple[float, ...] = field(repr=False, default=())

    @property
    def cold_starts(self) -> int:
        """How many."""
        return sum(self.cold)

    @property
    def cold_rate(self) -> float:
        """Their share of the invocations."""
        return self.cold_starts / len(self.cold) if self.cold else 0.0

    def latencies(self, warm_s: float, cold_s: float) -> list[float]:
        """Of each invocation, from the measured latency of a warm and of a cold one."""
        return [cold_s if is_cold else warm_s for is_cold in self.cold]

    def idle_gb_seconds(self, memory_mb: float) -> float:
        """Memory held by instances that waited."""
        return idle_gb_seconds(self.idle_s, memory_mb)


def simulate(trace: Sequence[Arrival], policy: Policy, horizon_s: float | None = None) -> Outcome:
    """Run a trace. Instances that still wait at the horizon (the trace's last end, unless given) are charged up to it.

    An arrival takes, of the instances in memory, the one that ended last. A cold one makes a preload that has not begun
    void: the idle time that it waited for is over.
    """
    ordered = sorted(trace)
    horizon = max((one.at_s + one.duration_s for one in ordered), default=0.0) if horizon_s is None else horizon_s
    waiting: list[Instance] = []
    running: list[float] = []
    cold: list[bool] = []
    idle: list[float] = []
    last_end: float | None = None
    for at, duration in ordered:
        last_end = _end_runs(running, waiting, policy, at, last_end)
        if not running and last_end is not None:
            policy.observe(at - last_end)
        idle += [one.stop_s - one.start_s for one in waiting if one.stop_s <= at]
        waiting = [one for one in waiting if one.stop_s > at]
        ready = [one for one in waiting if one.start_s <= at]
        pending = [one for one in waiting if one.start_s > at]
        cold.append(not ready)
        taken = max(ready or pending, key=lambda one: one.end_s, default=None)
        if taken is not None:
            waiting.remove(taken)
            idle.append(max(0.0, at - taken.start_s))
        running.append(at + duration)
    _end_runs(running, waiting, policy, math.inf, last_end)
    idle += [max(0.0, min(one.stop_s, horizon) - one.start_s) for one in waiting]
    return Outcome(tuple(cold), tuple(idle))


def _end_runs(
    running: list[float], waiting: list[Instance], policy: Policy, until: float, last: float | None
) -> float | None:
    """Instances whose invocation has ended by now begin to wait. -> when the last of all ended"""
    for end in sorted(one for one in running if one <= until):
        wait, keep = policy.window()
        waiting.append(Instance(end, end + wait, end + wait + keep))
        running.remove(end)
        last = end
    return last

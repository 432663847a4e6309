"""Time slices: when more jobs want GPUs than there are, they take turns.

Paper: "Gandiva: Introspective Cluster Scheduling for Deep Learning", OSDI 2018; recalled, not read again.
Idea: training can be suspended at the end of an iteration within about a second, so all jobs get a part of the cluster
    at once and short ones are done early without anybody knowing that they are short.
Symbols: nothing beyond the names.
Simplified: no two jobs on one GPU, no growing into idle GPUs, no migration by profiling.
Differs: slices last slice_s for every job; a switch costs pause_s.
Cost: a decision a slice while jobs wait.
Checked against: a trace worked by hand; equal shares of equal jobs.
"""

from dataclasses import dataclass
from math import inf

from reference_impls.cluster import Plan, PolicyConfig, View
from reference_impls.cluster.rigid import fill


@dataclass(frozen=True)
class Config(PolicyConfig):
    """How long a turn lasts, and what a switch costs."""

    pause_s: float = 1.0
    slice_s: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slice_s <= self.pause_s:
            raise ValueError(f"slice_s must be above pause_s, got {self.slice_s} and {self.pause_s}")


def schedule(view: View, config: Config) -> Plan:
    """Turns that are not over go on; then whoever has waited longest; then those whose turn is over."""
    late = view.now - config.slice_s + 1e-6
    fresh = [one for one in view.active if one.share and one.since > late]
    over = [one for one in view.active if one.share and one.since <= late]
    waiting = sorted((one for one in view.active if not one.share), key=lambda one: one.since)
    shares = fill([*fresh, *waiting, *over], view, config)
    if len(shares) == len(view.active):
        return Plan(shares)
    ends = (one.since + config.slice_s for one in fresh)
    return Plan(shares, min(min(ends, default=inf), view.now + config.slice_s))

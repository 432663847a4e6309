"""Least attained service in two queues, which needs to know nothing about how long a job will take.

Paper: "Tiresias: A GPU Cluster Manager for Distributed Deep Learning", NSDI 2019; the two-queue form is recalled.
Idea: a job that has used little GPU time is likely to end soon, so it goes before those that have used much.
Symbols: attained service = GPUs times seconds run.
Simplified: no profiling of placement, no starvation guard; jobs are checked at the crossing of the threshold.
Differs: nothing known in the order itself.
Cost: one sort; a preemption where an old job gives way.
Checked against: a trace worked by hand.
"""

from dataclasses import dataclass
from math import inf

from reference_impls.cluster import Active, Plan, PolicyConfig, View
from reference_impls.cluster.rigid import fill


@dataclass(frozen=True)
class Config(PolicyConfig):
    """threshold_s: GPU-seconds after which a job falls into the second queue."""

    threshold_s: float = 3600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold_s <= 0:
            raise ValueError(f"threshold_s must be above 0, got {self.threshold_s}")


def is_young(one: Active, config: Config) -> bool:
    """In the first queue."""
    return one.attained_s < config.threshold_s - 1e-6


def schedule(view: View, config: Config) -> Plan:
    """The first queue, then the second; running jobs first in the second, so that nobody is moved for nothing."""
    order = sorted(view.active, key=lambda one: (not is_young(one, config), one.share is None))
    crossing = (
        view.now + (config.threshold_s - one.attained_s) / one.share.gpus
        for one in view.active
        if one.share and is_young(one, config)
    )
    return Plan(fill(order, view, config), max(min(crossing, default=inf), view.now + 1e-3))

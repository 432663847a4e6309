"""Shortest remaining time first, with perfect knowledge: the bound that policies without it are held against.

Paper: Schrage, "A Proof of the Optimality of the Shortest Remaining Processing Time Discipline", Operations Research 16
    (1968).
Idea: finishing the shortest first keeps the fewest waiting; optimal for one machine, an oracle here.
Symbols: nothing beyond the names.
Simplified: preemption costs the pause of any restart, which the order does not weigh.
Differs: many GPUs, and jobs that need several of them at once, for which it is a heuristic.
Cost: one sort.
Checked against: a trace worked by hand; brute force over orders on one GPU.
"""

from dataclasses import dataclass

from reference_impls.cluster import Active, Plan, PolicyConfig, View
from reference_impls.cluster.rigid import fill


@dataclass(frozen=True)
class Config(PolicyConfig):
    """Nothing more."""


def remaining_s(one: Active, config: PolicyConfig) -> float:
    """On the GPUs that were asked for."""
    return one.left / one.table.rate[one.job.gpus.bit_length() - 1][config.level(one.table)]


def schedule(view: View, config: Config) -> Plan:
    """By remaining time."""
    return Plan(fill(sorted(view.active, key=lambda one: remaining_s(one, config)), view, config))

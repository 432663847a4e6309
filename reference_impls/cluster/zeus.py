"""A clock for each job that weighs its energy against its time; GPUs stay as asked for.

Paper: "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN Training", NSDI 2023, arXiv 2208.06102; the
    cost is recalled.
Idea: near the highest clock much power buys little time, so the best clock for a weighted sum lies below it.
Symbols: cost = eta E + (1 - eta) P_max T, E = joules and T = seconds of an iteration, P_max = power at full clock.
Simplified: the power curve is known, where the paper finds limits and batch sizes while the job runs.
Differs: chooses among clocks, where the paper sets power limits.
Cost: one pass over the clocks a job.
Checked against: the ends, eta 0 and 1; the least cost by search.
"""

from dataclasses import dataclass

from reference_impls.cluster import Plan, PolicyConfig, Share, Table, View
from reference_impls.cluster.rigid import fill


@dataclass(frozen=True)
class Config(PolicyConfig):
    """eta: 0 for the least time, 1 for the least energy."""

    eta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be from 0 to 1, got {self.eta}")


def cost(table: Table, doubling: int, level: int, eta: float) -> float:
    """Of one iteration, in joules."""
    highest = table.watts[doubling][-1]
    return eta * table.joules(doubling, level) + (1 - eta) * highest / table.rate[doubling][level]


def schedule(view: View, config: Config) -> Plan:
    """First come, first served; each job at its cheapest allowed clock."""
    order = sorted(view.active, key=lambda one: one.share is None)
    shares = fill(order, view, config)
    by_id = {one.job.id: one for one in view.active}
    for number, share in shares.items():
        one = by_id[number].table
        doubling = share.gpus.bit_length() - 1
        level = min(range(share.level + 1), key=lambda at: cost(one, doubling, at, config.eta))
        shares[number] = Share(share.gpus, level)
    return Plan(shares)

"""Policies compared at equal energy: each policy's knob is swept, and its curve of time against energy is read between.

Paper: arXiv 2304.06381 states its gain at the same energy; how it was made equal the abstract does not say: ours.
Idea: a faster schedule proves nothing if it drew more; what counts is the time reached with another's joules.
Symbols: a point is (joules of the whole trace, mean completion time).
Simplified: straight lines between points in logarithms; beyond the last point more energy brings nothing.
Differs: unknown.
Cost: one simulation a setting of a knob.
Checked against: curves of a known formula; a policy against itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf, isfinite, log, nan
from typing import Any

from reference_impls.cluster import Job, Policy, Table, policies
from reference_impls.cluster.buddy import Config as Shape
from reference_impls.cluster.simulate import Budget, simulate
from reference_impls.cluster.simulate import Config as ClusterConfig

Curve = Sequence[tuple[float, float]]
"""(joules, seconds) of each setting."""

CAPS = (0.5, 0.7, 0.9, 1.0)
"""Highest clocks at which policies without a budget are run."""
WATTS = (25.0, 45.0, 75.0, 120.0, 190.0, inf)
"""Power caps of PowerFlow, per GPU of the cluster."""
ETAS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Config:
    """The cluster."""

    nodes: int = 8
    gpus_per_node: int = 8
    idle_w: float = 60.0


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both, by rising energy."""
    kept: list[tuple[float, float]] = []
    for energy, seconds in sorted(points):
        if isfinite(seconds) and (not kept or seconds < kept[-1][1]):
            kept.append((energy, seconds))
    return kept


def seconds_at(points: Iterable[tuple[float, float]], energy: float) -> float:
    """What a policy reaches with this energy; nan below its least."""
    ends = front(points)
    if not ends or energy < ends[0][0] * (1 - 1e-9):
        return nan
    for (low, slow), (high, fast) in pairwise(ends):
        if energy <= high:
            part = (log(energy) - log(low)) / (log(high) - log(low))
            return exp(log(slow) + part * (log(fast) - log(slow)))
    return ends[-1][1]


def best_product(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The setting with the least joules times seconds: what "the best fixed cap" means here."""
    return min(points, key=lambda point: point[0] * point[1])


def cluster_for(policy: str, config: Config, **changes: Any) -> ClusterConfig:
    """What each policy's cluster can do: PowerFlow packs, migrates and compacts; elastic ones migrate to make room."""
    own = policy == "powerflow"
    cluster = ClusterConfig(
        shape=Shape(config.nodes, config.gpus_per_node),
        idle_w=config.idle_w,
        power_off=True,
        migrate=own or policy == "elastic",
        compact_s=600.0 if own else 0.0,
    )
    return replace(cluster, **changes)


def settings(policy: str, gpus: int, **changes: Any) -> list[tuple[Any, Budget]]:
    """The knob of a policy: power caps, weights of energy, or highest clocks. changes: of its Config."""
    make = policies()[policy].Config
    if policy == "powerflow":
        return [(make(**changes), Budget(cap_w=watts * gpus)) for watts in WATTS]
    if policy == "zeus":
        return [(make(eta=eta, **changes), Budget()) for eta in ETAS]
    return [(make(frequency=cap, **changes), Budget()) for cap in CAPS]


@dataclass(frozen=True)
class Setting:
    """What one setting of a knob gave. on_j: the joules if empty nodes stay on; off_j: if they are switched off."""

    on_j: float
    off_j: float
    seconds: float


def sweep(
    jobs: Sequence[Job],
    tables: Mapping[str, Table],
    policy: str,
    config: Config,
    *,
    cluster: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Setting]:
    """One outcome a setting. cluster, changes: fields to change of the cluster's and the policy's Config."""
    found: Policy = policies()[policy]
    outcomes = []
    for own, budget in settings(policy, config.nodes * config.gpus_per_node, **(changes or {})):
        one = simulate(jobs, dict(tables), found, own, cluster_for(policy, config, **(cluster or {})), budget)
        drawn = one.job_j + one.idle_j
        outcomes.append(Setting(drawn + one.empty_j, drawn, one.mean_jct_s))
    return outcomes


def curve(outcomes: Iterable[Setting], *, off: bool) -> list[tuple[float, float]]:
    """The points of a policy. off: whether empty nodes are switched off"""
    return [(one.off_j if off else one.on_j, one.seconds) for one in outcomes]

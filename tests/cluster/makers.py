"""What the tests of this family share: made tables and jobs whose results can be worked out by hand."""

from functools import cache

from reference_impls.cluster import Job, Table, power, profiles, traces
from reference_impls.cluster.buddy import Config as Shape

LEVELS = (0.5, 1.0)


def flat(rates=(1.0, 2.0, 4.0), watts=(100.0, 200.0, 400.0)) -> Table:
    """One clock; rates and watts on 1, 2, 4 … GPUs."""
    return Table([[rate] for rate in rates], [[power_] for power_ in watts], (1.0,))


@cache
def fitted(max_gpus: int = 64):
    return power.tables(profiles.fitted(), max_gpus, power.Config())


def job(number, arrival=0.0, iterations=100.0, gpus=1, profile="p"):
    return Job(number, arrival, iterations, profile, gpus)


@cache
def trace(seed: int, jobs: int = 60, load: float = 0.8, gpus: int = 16):
    return tuple(traces.philly_like(fitted(gpus), traces.Config(jobs, gpus, load, median_s=600, spread=1.2), seed))


def shape(nodes=2, gpus_per_node=8, pack=True) -> Shape:
    return Shape(nodes, gpus_per_node, pack)

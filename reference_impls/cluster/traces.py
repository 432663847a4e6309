"""Made-up traces with the traits of public ones: most jobs small, durations over four decades, more arrivals by day.

Paper: "Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads", USENIX ATC 2019 (Philly), whose
    traits these are, as recalled.
Idea: Poisson arrivals thinned by a daily wave, lognormal durations, GPU counts from a short list.
Symbols: load = GPU-seconds asked for / GPU-seconds there are while jobs arrive.
Simplified: no users, no failures, no relation between a job's size and its duration.
Differs: it is no fit to any trace.
Cost: one pass.
Checked against: its own load, shares and spread over many jobs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from reference_impls.cluster import Job, Table

DAY_S = 86_400.0
GPUS: dict[int, float] = {1: 0.70, 2: 0.10, 4: 0.10, 8: 0.07, 16: 0.03}


@dataclass(frozen=True)
class Config:
    """A trace. load is met by the span over which jobs arrive; day: how far arrivals swing around their mean."""

    jobs: int = 500
    cluster_gpus: int = 64
    load: float = 0.6
    median_s: float = 1200.0
    spread: float = 1.9  # of log seconds: 95 % of durations lie within a factor of e^(2 spread) of the median
    longest_s: float = 3 * DAY_S
    day: float = 0.5
    single_gpu: bool = False

    def __post_init__(self) -> None:
        if self.jobs < 1 or self.load <= 0 or not 0 <= self.day <= 1:
            raise ValueError("jobs must be at least 1, load above 0 and day from 0 to 1")


def philly_like(tables: Mapping[str, Table], config: Config, seed: int) -> list[Job]:
    """A trace; a job's duration is what it would take on the GPUs asked for at the highest clock."""
    rng = np.random.default_rng(seed)
    seconds = np.exp(rng.normal(log(config.median_s), config.spread, config.jobs)).clip(10, config.longest_s)
    counts = [gpus for gpus in GPUS if gpus <= config.cluster_gpus]
    chances = np.array([GPUS[gpus] for gpus in counts])
    gpus = rng.choice(counts, config.jobs, p=chances / chances.sum())
    if config.single_gpu:
        gpus = np.ones_like(gpus)
    names = rng.choice(sorted(tables), config.jobs)
    span = float(seconds @ gpus) / (config.cluster_gpus * config.load)
    arrivals = day_shaped(config.jobs, span, config.day, rng)
    return [
        Job(number, float(at), float(s * tables[name].rate[int(n).bit_length() - 1][-1]), str(name), int(n))
        for number, (at, s, n, name) in enumerate(zip(arrivals, seconds, gpus, names, strict=True))
    ]


def day_shaped(count: int, span_s: float, swing: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Sorted arrival times of a Poisson process with a daily wave, given their number. -> (count,)"""
    found: list[float] = []
    while len(found) < count:
        at = rng.uniform(0, span_s, 2 * count)
        kept = rng.uniform(0, 1 + swing, 2 * count) < 1 + swing * np.sin(2 * np.pi * at / DAY_S)
        found += at[kept].tolist()
    return np.sort(found[:count])


def online_load(seconds: float, step_s: float, mean: float, swing: float, seed: int) -> NDArray[np.float64]:
    """Load of a service over its capacity by steps: a daily wave with slow noise and short bursts. -> (steps,)"""
    rng = np.random.default_rng(seed)
    steps = int(seconds / step_s)
    at = np.arange(steps) * step_s
    wave = 1 + swing * np.sin(2 * np.pi * (at / DAY_S - 0.3))
    noise = np.convolve(rng.normal(0, 0.12, steps + 9), np.ones(10) / 10**0.5, mode="valid") / 2
    bursts = np.where(rng.random(steps) < 0.004, rng.uniform(0.3, 0.8, steps), 0.0)
    bursts = np.maximum.reduce([np.roll(bursts, shift) for shift in range(5)])
    shaped: NDArray[np.float64] = np.clip(mean * (wave + noise + bursts), 0.01, 0.95)
    return shaped


def offered_load(jobs: Sequence[Job], tables: Mapping[str, Table], gpus: int) -> float:
    """GPU-seconds asked for, over those there are between the first and the last arrival."""
    asked = sum(job.gpus * job.iterations / tables[job.profile].rate[job.gpus.bit_length() - 1][-1] for job in jobs)
    return asked / (gpus * max(job.arrival_s for job in jobs))

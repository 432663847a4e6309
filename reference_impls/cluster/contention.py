"""Two jobs on one GPU: how much slower the service gets, and how much the other gets done.

Paper: arXiv 2303.13803 learns a predictor of speed; this model is ours, and its numbers are assumptions until they
    are fitted to pairs that were measured.
Idea: a job slows down when its part of the multiprocessors or of the memory bandwidth is less than it can use.
Symbols: c = multiprocessors a job uses alone, m = bandwidth it uses alone, s = share allowed to the other job;
    slowdown = max(1, c / part, m + m') (1 + kappa m m').
Simplified: no caches, no power limit, no order of kernels; a paced job moves as many bytes less as it computes less.
Differs: unknown.
Cost: a few operations a pair.
Checked against: cases by hand; more share never helps the service nor harms the other job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference_impls.cluster.pair_table import PairTable


@dataclass(frozen=True)
class Config:
    """kappa: the interaction, fitted where pairs were measured."""

    kappa: float = 0.15

    def __post_init__(self) -> None:
        if self.kappa < 0:
            raise ValueError(f"kappa must be at least 0, got {self.kappa}")


@dataclass(frozen=True)
class SoloProfile:
    """A job alone on a GPU. sm_activity, mem_bw and mem: of all there is, while it runs; t_step: seconds a step."""

    sm_activity: float
    mem_bw: float
    mem: float
    t_step: float = 0.01

    def __post_init__(self) -> None:
        if not (0 < self.sm_activity <= 1 and 0 <= self.mem_bw <= 1 and 0 <= self.mem <= 1 and self.t_step > 0):
            raise ValueError(f"shares must be from 0 to 1 and t_step above 0, got {self}")


def paced(offline: SoloProfile, share: float) -> tuple[float, float]:
    """-> multiprocessors and bandwidth of a job that is held to a share. share: 0 to 1"""
    used = min(offline.sm_activity, share)
    return used, offline.mem_bw * used / offline.sm_activity


def online_slowdown(online: SoloProfile, offline: SoloProfile, share: float, config: Config) -> float:
    """Of a step of the service while the other job runs; 1 is none."""
    used, moved = paced(offline, share)
    fair = online.sm_activity / (online.sm_activity + used) if used else 1.0
    part = max(1 - used, fair)
    stretched = max(1.0, online.sm_activity / part, online.mem_bw + moved)
    return stretched * (1 + config.kappa * online.mem_bw * moved)


def offline_throughput(
    online: SoloProfile, offline: SoloProfile, share: float, config: Config, load: float = 1
) -> float:
    """Of the other job, over what it does alone. load: the part of the time in which the service computes"""
    used, moved = paced(offline, share)
    alone = used / offline.sm_activity
    crowded = max(1.0, (online.sm_activity + used), online.mem_bw + moved) * (1 + config.kappa * online.mem_bw * moved)
    return alone * (1 - load + load / crowded)


def tabulate(
    online: Mapping[str, SoloProfile], offline: Mapping[str, SoloProfile], shares: Sequence[int], config: Config
) -> PairTable:
    """The model as a table. shares: percent"""
    slow = [
        [[online_slowdown(o, f, s / 100, config) for s in shares] for f in offline.values()] for o in online.values()
    ]
    done = [
        [[offline_throughput(o, f, s / 100, config) for s in shares] for f in offline.values()] for o in online.values()
    ]
    return PairTable(tuple(online), tuple(offline), tuple(shares), np.array(slow), np.array(done), "contention model")


def fit_kappa(
    pairs: Sequence[tuple[SoloProfile, SoloProfile, float, float]],
    candidates: Sequence[float] = tuple(np.linspace(0, 3, 301)),
) -> float:
    """The interaction with the least squared error of log slowdown. pairs: (online, offline, share, slowdown)"""

    def error(kappa: float) -> float:
        told = [online_slowdown(o, f, share, Config(kappa)) for o, f, share, _ in pairs]
        return float(np.sum((np.log(told) - np.log([slowdown for *_, slowdown in pairs])) ** 2))

    return float(min(candidates, key=error))

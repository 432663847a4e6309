"""MuxFlow: best-effort jobs beside services on the same GPUs, with a share that follows the load and a guard.

Paper: arXiv 2303.13803; its body was not read. Protection, the dynamic share and the matching are its parts; how
    they are joined here, and every number, is ours.
Idea: a service leaves most of its GPU idle; a job may have that, held to a share so that the service hardly notices,
    placed where it gets most done, and sent away when a limit is passed.
Symbols: rho = load of a service over its capacity alone; s = its slowdown beside the job;
    time in the system of exponential services grows by s (1 - rho) / (1 - s rho).
Simplified: one service a GPU, one job beside it; requests are served one by one; the pair table is known.
Differs: the guard keeps the share at which the grown latency stays within a target, and pairs are weighed by what gets
    done at that share; the paper's limits are not known.
Cost: a decision a GPU and period; a matching an hour.
Checked against: the formula above; work done and lost against work scheduled; protection off as a negative control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reference_impls.cluster import matching, monitor, share_control
from reference_impls.cluster.contention import SoloProfile
from reference_impls.cluster.pair_table import PairTable

Array = NDArray[np.float64]
Sharing = Literal["alone", "time-slices", "uncontrolled", "half", "muxflow"]
Pairing = Literal["matching", "greedy", "random"]

SERVICES = {
    "ranking": SoloProfile(0.35, 0.50, 0.35, 0.05),
    "vision": SoloProfile(0.70, 0.30, 0.30, 0.08),
    "decode": SoloProfile(0.25, 0.80, 0.50, 0.15),
    "speech": SoloProfile(0.50, 0.40, 0.40, 0.10),
}
"""Made-up services: a share of the multiprocessors, of bandwidth and memory, and seconds a request."""
BEST_EFFORT = {
    "train": SoloProfile(0.90, 0.50, 0.40, 0.30),
    "lora": SoloProfile(0.75, 0.40, 0.25, 0.20),
    "score": SoloProfile(0.85, 0.35, 0.20, 0.20),
    "embed": SoloProfile(0.40, 0.60, 0.15, 0.10),
    "large": SoloProfile(0.95, 0.60, 0.60, 0.50),
}
"""Made-up jobs."""


@dataclass(frozen=True)
class Config:
    """bound: largest growth of a service's 99th percentile; target: what the guard steers to, below it since it sees
    the load one period late.
    """

    sharing: Sharing = "muxflow"
    pairing: Pairing = "matching"
    bound: float = 1.5
    target: float = 1.2
    period_s: float = 10.0
    match_s: float = 3600.0
    checkpoint_s: float = 600.0
    move_s: float = 30.0
    share: share_control.Config = field(default_factory=share_control.Config)
    guard: monitor.Config = field(default_factory=monitor.Config)
    pairs: matching.Config = field(default_factory=lambda: matching.Config(bound=2.0))

    def __post_init__(self) -> None:
        if not 1 < self.target <= self.bound:
            raise ValueError(f"expected 1 < target <= bound, got {self.target} and {self.bound}")


@dataclass
class BestEffort:
    """A job without a deadline. work_s: seconds that it takes alone; the rest is filled in by the simulation."""

    id: int
    profile: str
    work_s: float
    done_s: float = 0.0
    lost_s: float = 0.0
    since_checkpoint_s: float = 0.0
    paused_s: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether all is done."""
        return self.done_s >= self.work_s - 1e-9


@dataclass
class Outcome:
    """What came of it. slowdown: (GPUs, periods) of the services' steps; the means are over GPUs and time."""

    slowdown: Array
    shares: Array  # percent, (GPUs, periods)
    sm_activity: float
    utilisation: float
    memory: float
    scheduled_s: float
    jobs: list[BestEffort]
    evictions: int
    moves: int

    @property
    def done_s(self) -> float:
        """Work that lasts."""
        return sum(job.done_s for job in self.jobs)

    @property
    def lost_s(self) -> float:
        """Work done again after an eviction."""
        return sum(job.lost_s for job in self.jobs)


def slowdown_within(target: float, load: float) -> float:
    """The slowdown s of a step at which time in the system grows by `target`: s (1 - load) / (1 - s load) = target."""
    return target / (1 + (target - 1) * load)


@dataclass
class _Gpu:
    """One GPU: its service, the job beside it, and its controllers."""

    service: str
    load: Array
    job: BestEffort | None = None
    share: share_control.State = field(default_factory=lambda: share_control.State(10))
    health: monitor.State = field(default_factory=monitor.State)


def simulate(
    services: Sequence[tuple[str, Array]],
    jobs: Sequence[BestEffort],
    table: PairTable,
    solo: Mapping[str, SoloProfile],
    config: Config,
    seed: int = 0,
) -> Outcome:
    """Run a day. services: (profile, load by period); solo: every profile by name; jobs are filled in."""
    gpus = [_Gpu(name, load) for name, load in services]
    periods = min(len(gpu.load) for gpu in gpus)
    run = _Run(gpus, [*jobs], table, dict(solo), config, np.random.default_rng(seed), periods)
    for period in range(periods):
        run.step(period)
    return run.outcome()


class _Run:
    def __init__(
        self,
        gpus: list[_Gpu],
        jobs: list[BestEffort],
        table: PairTable,
        solo: dict[str, SoloProfile],
        config: Config,
        rng: np.random.Generator,
        periods: int,
    ) -> None:
        self.gpus, self.jobs, self.table, self.solo, self.config, self.rng = gpus, jobs, table, solo, config, rng
        self.slowdown = np.ones((len(gpus), periods))
        self.shares = np.zeros((len(gpus), periods))
        self.active = np.zeros((3, len(gpus), periods))  # activity, utilisation, memory
        self.scheduled_s, self.evictions, self.moves = 0.0, 0, 0

    def step(self, period: int) -> None:
        """One period on every GPU; a matching where it is due."""
        if self.config.sharing != "alone" and period % max(1, round(self.config.match_s / self.config.period_s)) == 0:
            self._pair(period)
        for at, gpu in enumerate(self.gpus):
            self._one(at, gpu, period)

    def _one(self, at: int, gpu: _Gpu, period: int) -> None:
        own, load, job = self.solo[gpu.service], float(gpu.load[period]), gpu.job
        self.active[:, at, period] = load * own.sm_activity, load, own.mem
        seen = float(gpu.load[max(0, period - 1)])  # readings are one period old
        share = self._share(gpu, seen, period)
        if job is None or gpu.job is None or job.paused_s > 0 or not share:
            if job is not None and job.paused_s > 0:
                job.paused_s -= self.config.period_s
            return
        slow, rate = self._effect(gpu.service, job.profile, share, load)
        self.slowdown[at, period], self.shares[at, period] = slow, share
        self._work(job, rate)
        other = self.solo[job.profile]
        self.active[0, at, period] = min(1.0, load * own.sm_activity + rate * other.sm_activity)
        self.active[1, at, period] = 1.0
        self.active[2, at, period] = min(1.0, own.mem + other.mem)
        if job.finished:
            gpu.job = None

    def _work(self, job: BestEffort, rate: float) -> None:
        done = min(rate * self.config.period_s, job.work_s - job.done_s)
        self.scheduled_s += done
        job.done_s += done
        job.since_checkpoint_s += done
        if job.since_checkpoint_s >= self.config.checkpoint_s:
            job.since_checkpoint_s = 0.0

    def _share(self, gpu: _Gpu, load: float, period: int) -> int:
        """Percent for the job beside the service in this period; 0 where it has to wait or to go."""
        if self.config.sharing != "muxflow":
            return {"alone": 0, "half": 50}.get(self.config.sharing, 100)
        activity = 100 * load * self.solo[gpu.service].sm_activity
        gpu.share = share_control.update(gpu.share, activity, self.config.share)
        now = period * self.config.period_s
        grown = self.solo[gpu.service].mem * (0.85 + 0.3 * load)  # queues and caches grow with load
        memory = grown + (self.solo[gpu.job.profile].mem if gpu.job else 0.0)
        reading = monitor.Reading(50 + 30 * load, 1.0, activity / 100, memory)
        gpu.health, evict = monitor.update(gpu.health, reading, now, self.config.guard)
        if gpu.job is None:
            return 0
        if evict:
            self._evict(gpu)
            return 0
        if not gpu.health.admits(now):
            return 0
        return min(gpu.share.share, self._guarded(gpu.service, gpu.job, load))

    def _guarded(self, service: str, job: BestEffort, load: float) -> int:
        """The most that the guard gives this job at this load; without a guard, all."""
        if self.config.sharing != "muxflow":
            return 100
        return self.table.largest_share(service, job.profile, slowdown_within(self.config.target, load))

    def _evict(self, gpu: _Gpu) -> None:
        job, gpu.job = gpu.job, None
        assert job is not None
        job.lost_s += job.since_checkpoint_s
        job.done_s -= job.since_checkpoint_s
        job.since_checkpoint_s = 0.0
        self.evictions += 1

    def _effect(self, service: str, job: str, share: int, load: float) -> tuple[float, float]:
        """-> slowdown of the service's steps, and the job's rate over that alone"""
        if self.config.sharing == "time-slices":  # equal turns whenever both have work
            return 2.0, 1 - load / 2
        return self.table.at(service, job, share)

    def _pair(self, period: int) -> None:
        """Who goes beside whom until the next time. Only MuxFlow forbids pairs."""
        waiting = [job for job in self.jobs if not job.finished]
        place = {job.id: at for at, job in enumerate(waiting)}
        current = [place.get(gpu.job.id) if gpu.job else None for gpu in self.gpus]
        weights = self._weights(waiting, current, period)
        chosen = {"matching": matching.match, "greedy": matching.greedy}.get(self.config.pairing)
        found = chosen(weights) if chosen else self._random(weights, current)
        for gpu, before, now in zip(self.gpus, current, found, strict=True):
            if now == before:
                continue
            gpu.job = None if now is None else waiting[now]
            if gpu.job is not None and gpu.job.done_s > 0:
                gpu.job.paused_s, gpu.job.since_checkpoint_s = self.config.move_s, 0.0
                self.moves += 1

    def _random(self, weights: Array, current: Sequence[int | None]) -> list[int | None]:
        """Pairs that are there stay; the others are drawn."""
        free = np.array(weights)
        for service, job in enumerate(current):
            if job is not None:
                free[service], free[:, job] = -np.inf, -np.inf
        drawn = matching.random(free, self.rng)
        return [now if now is not None else new for now, new in zip(current, drawn, strict=True)]

    def _weights(self, waiting: Sequence[BestEffort], current: Sequence[int | None], period: int) -> Array:
        rows = []
        for gpu in self.gpus:
            load = float(gpu.load[max(0, period - 1)])
            follows = share_control.target(100 * load * self.solo[gpu.service].sm_activity, self.config.share)
            row = []
            for job in waiting:
                share = min(follows, self._guarded(gpu.service, job, load))
                row.append((*self.table.at(gpu.service, job.profile, share), self._memory(gpu, job)))
            rows.append(row)
        if not waiting:
            return np.zeros((len(self.gpus), 0))
        values: Array = np.array(rows)
        slow, rate, memory = values[..., 0], values[..., 1], values[..., 2]
        if self.config.sharing != "muxflow":
            return rate
        return matching.allowed_weights(rate, slow, memory, self.config.pairs, current)

    def _memory(self, gpu: _Gpu, job: BestEffort) -> float:
        return self.solo[gpu.service].mem + self.solo[job.profile].mem

    def outcome(self) -> Outcome:
        """Sums and means."""
        activity, utilisation, memory = (float(part.mean()) for part in self.active)
        counts = self.scheduled_s, self.jobs, self.evictions, self.moves
        return Outcome(self.slowdown, self.shares, activity, utilisation, memory, *counts)

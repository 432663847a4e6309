"""What a simulated cluster is given, and what comes of a run: its shape, its budget, its books."""

from dataclasses import dataclass, field
from math import inf

from reference_impls.cluster import Active
from reference_impls.cluster.buddy import Config as Shape


@dataclass(frozen=True)
class Config:
    """The cluster. period_s: how often a policy is asked under a budget of energy; wait_s: how long an arrival or an
    end may wait for company before the policy is asked, 0 for at once; migrate: whether jobs are moved to make room;
    compact_s: how often a node that could be emptied is looked for, 0 for never.
    """

    shape: Shape = field(default_factory=Shape)
    idle_w: float = 60.0
    period_s: float = 60.0
    wait_s: float = 0.0
    power_off: bool = True
    migrate: bool = False
    compact_s: float = 0.0

    def __post_init__(self) -> None:
        if self.period_s <= 0 or min(self.idle_w, self.wait_s, self.compact_s) < 0:
            raise ValueError("period_s must be above 0, and idle_w, wait_s and compact_s at least 0")


@dataclass(frozen=True)
class Budget:
    """How much may be drawn. cap_w: at every instant. total_j: over the trace, handed out evenly over horizon_s and
    saved up where it is not spent; burst_j of it is there from the start.
    """

    cap_w: float = inf
    total_j: float = inf
    horizon_s: float = 1.0
    burst_j: float = 0.0

    def granted_j(self, now: float) -> float:
        """What may have been spent until now."""
        if self.total_j == inf:
            return inf
        return min(self.total_j, self.burst_j + (self.total_j - self.burst_j) * now / self.horizon_s)


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which nothing changed."""

    start_s: float
    end_s: float
    used_gpus: int
    jobs_w: float
    idle_w: float
    rates: dict[int, float]


@dataclass
class Result:
    """What came of it. empty_j: what nodes without a job drew, or would have drawn had they not been off."""

    jobs: list[Active]
    job_j: float = 0.0
    idle_j: float = 0.0
    empty_j: float = 0.0
    end_s: float = 0.0
    migrations: int = 0
    restarts: int = 0
    decisions: int = 0
    power_off: bool = True
    segments: list[Segment] = field(default_factory=list)

    @property
    def energy_j(self) -> float:
        """All that was drawn."""
        return self.job_j + self.idle_j + (0.0 if self.power_off else self.empty_j)

    @property
    def jct_s(self) -> list[float]:
        """Completion time of every job; inf for one that never ended."""
        return [one.end_s - one.job.arrival_s for one in self.jobs]

    @property
    def mean_jct_s(self) -> float:
        """Over all jobs."""
        return sum(self.jct_s) / len(self.jobs)

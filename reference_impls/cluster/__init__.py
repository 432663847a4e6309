"""Clusters: which job gets which GPUs at which clock, and which jobs share one; a policy a module, one face for all.

A scheduling policy is a module of this package with a frozen dataclass `Config` and the function `schedule`;
`policies()` finds them. `simulate.simulate` runs any of them over a trace. Sharing a GPU between a service and a
best-effort job is in muxflow.py and the modules that it names.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from pkgutil import iter_modules
from typing import Any, Protocol, cast


@dataclass(frozen=True)
class Job:
    """Work that arrives: so many iterations of a kind of training. gpus: what its owner asked for, a power of two."""

    id: int
    arrival_s: float
    iterations: float
    profile: str
    gpus: int = 1

    def __post_init__(self) -> None:
        if self.gpus < 1 or self.gpus & (self.gpus - 1):
            raise ValueError(f"job {self.id}: gpus must be a power of two, got {self.gpus}")
        if self.iterations <= 0 or self.arrival_s < 0:
            raise ValueError(f"job {self.id}: iterations must be above 0 and arrival_s at least 0")


@dataclass(frozen=True, eq=False)
class Table:
    """A kind of job on 1, 2, 4, … GPUs (first index) at each clock (second): iterations/s, and watts of all its GPUs.

    Equal only to itself, so that what is derived from one can be kept.
    """

    rate: Sequence[Sequence[float]]
    watts: Sequence[Sequence[float]]
    frequencies: Sequence[float]

    def joules(self, doubling: int, level: int) -> float:
        """Of one iteration."""
        return self.watts[doubling][level] / self.rate[doubling][level]


@dataclass(frozen=True)
class Share:
    """What a job gets: so many GPUs, and the number of its clock in Table.frequencies."""

    gpus: int
    level: int


@dataclass(slots=True)
class Active:
    """A job in the cluster, waiting or running. Policies read it and change nothing.

    share: what it runs with, None while it waits; since: when that last changed; attained_s: GPU-seconds so far.
    """

    job: Job
    table: Table
    left: float
    share: Share | None = None
    attained_s: float = 0.0
    since: float = 0.0
    rate: float = 0.0
    watts: float = 0.0
    pause_until: float = 0.0
    energy_j: float = 0.0
    end_s: float = inf


@dataclass(frozen=True)
class View:
    """What a policy may look at. active: in order of arrival; watts: what may be drawn until it is asked again."""

    now: float
    active: Sequence[Active]
    gpus: int
    gpus_per_node: int
    idle_w: float
    watts: float = inf
    power_off: bool = True

    def idle_gpus(self, used: int) -> int:
        """GPUs that are powered and unused, when as few nodes as possible are on."""
        return -used % self.gpus_per_node if self.power_off else self.gpus - used


@dataclass(frozen=True)
class Plan:
    """Who runs with what, the most important first; `review_s`: ask again by then at the latest."""

    shares: Mapping[int, Share] = field(default_factory=dict)
    review_s: float = inf


@dataclass(frozen=True)
class PolicyConfig:
    """What all policies have. frequency: the highest clock used, of the highest there is; pause_s: what a job loses
    when it is moved, resized or resumed.
    """

    frequency: float = 1.0
    pause_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.frequency <= 1:
            raise ValueError(f"frequency must be above 0 and at most 1, got {self.frequency}")
        if self.pause_s < 0:
            raise ValueError(f"pause_s must be at least 0, got {self.pause_s}")

    def level(self, table: Table) -> int:
        """The highest clock that is allowed."""
        return max(0, bisect_right(table.frequencies, self.frequency + 1e-9) - 1)


class Policy(Protocol):
    """The face of this family."""

    Config: type[Any]

    def schedule(self, view: View, config: Any) -> Plan:
        """Called when a job arrives or ends, and when the last plan asked for it."""


def policies() -> dict[str, Policy]:
    """Every policy of the family by module name, found by walking the package."""
    modules = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    return {
        name: cast(Policy, module)
        for name, module in modules.items()
        if all(getattr(getattr(module, p, None), "__module__", None) == module.__name__ for p in ("Config", "schedule"))
    }

"""What a benchmark case is: data that a family's `bench.py` declares and the bench (scripts/bench) runs.

A case compares implementations of one thing in one workload. It holds no timing code of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool | None
Workload = Mapping[str, Value]
Role = Literal["method", "baseline", "peer"]
Step = Callable[[], float | None]
"""One repetition. A timed case's step does the work and returns nothing; another returns the measured value."""


class NotInstalledError(Exception):
    """Raised by `prepare` for a program or file that is not here; the message names it and how to get it."""


@dataclass(frozen=True)
class Ceilings:
    """What the machine can do at most, measured in the same run; None where it was not measured."""

    copy_bytes_per_s: float | None = None
    read_bytes_per_s: float | None = None
    matmul_flops_per_s: Mapping[str, float] | None = None
    host_to_device_bytes_per_s: float | None = None
    disk_read_bytes_per_s: float | None = None


@dataclass(frozen=True)
class Limit:
    """The bound that physics sets to the metric here, and the formula it follows from."""

    value: float
    formula: str


@dataclass(frozen=True)
class Quality:
    """What a lossy implementation did to the output, in the same workload."""

    metric: str
    value: float


@dataclass(frozen=True)
class Implementation:
    """One contestant.

    prepare: (workload, device) -> step; everything that is not to be measured happens here.
    role: the method under test, the baseline it is compared with, or a peer that people use.
    effect: simulated (fake-quantised, masked), packed (bytes really saved) or kernel (time really saved).
    needs: packages that must be importable; where one is missing, the implementation is recorded as not installed.
    module: the module of reference_impls/<family>/ that it exercises ("gptq"), where <family> is the case's suite;
        None for a baseline or peer that runs none of this package's code.
    """

    name: str
    role: Role
    effect: Literal["simulated", "packed", "kernel"]
    prepare: Callable[[Workload, str], Step]
    needs: tuple[str, ...] = ()
    quality: Callable[[Workload, str], Quality] | None = None
    limit: Callable[[Workload, Ceilings], Limit | None] | None = None
    note: str | Callable[[], str] = ""
    """Where it can only be said after the run (what was found, which version), a function that says it."""
    module: str | None = None


@dataclass(frozen=True)
class Case:
    """One comparison: what is measured, in which workload, of which implementations.

    amount: what one timed step produces (tokens, bytes), for metrics that are rates; None where the step returns the
        value itself, or where the metric is the step's time.
    timed: whether the bench takes the time of a step.
    trials: how often the step of a case that is not timed is called; each call is a trial of its own seed, or a run of
        its own, and one sample.
    no_limit: why no physical limit is given, where none of the implementations has one.
    devices: where it can run.
    deterministic: its values follow from a model and a text alone, whatever else the machine does: not a measured time
        or rate. The bench may compute them beside others.
    """

    id: str
    title: str
    metric: str
    workload: Workload
    implementations: tuple[Implementation, ...]
    timed: bool
    amount: float | None = None
    lossy: bool = False
    no_limit: str = ""
    devices: tuple[str, ...] = ("cpu", "cuda")
    trials: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        roles = [one.role for one in self.implementations]
        if roles.count("baseline") != 1:
            raise ValueError(f"case {self.id}: expected exactly one baseline, got {roles.count('baseline')}")
        names = [one.name for one in self.implementations]
        if len(set(names)) < len(names):
            raise ValueError(f"case {self.id}: implementations must differ in name, got {names}")
        if self.trials < 1 or (self.timed and self.trials > 1):
            raise ValueError(f"case {self.id}: trials must be at least 1, and 1 where timed, got {self.trials}")
        if self.deterministic and self.timed:
            raise ValueError(f"case {self.id}: what is timed is not deterministic")
        if not self.no_limit and not any(one.limit for one in self.implementations):
            raise ValueError(f"case {self.id}: give a limit, or say in no_limit why there is none")
        if self.lossy and not any(one.quality for one in self.implementations if one.role == "method"):
            raise ValueError(f"case {self.id}: a lossy method must show its quality")

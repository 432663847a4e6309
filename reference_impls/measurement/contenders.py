"""Every stopping rule of the family under one name, so that a study can run them side by side.

A contender is made for an error bound, the same for all, so that they are compared at what they promise and not at what
their authors chose; PT4Cloud and a fixed count have none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from reference_impls.measurement.confidence_sequence import Config as SequenceConfig
from reference_impls.measurement.confidence_sequence import TimeUniform
from reference_impls.measurement.intervals import Kind
from reference_impls.measurement.replay import RuleMaker
from reference_impls.measurement.stopping_baselines import Config as BaselineConfig
from reference_impls.measurement.stopping_baselines import Confirm, FixedCount, Metior, PT4Cloud, median_only
from reference_impls.measurement.superflow import Config as SuperFlowConfig
from reference_impls.measurement.superflow import Stopper

CORRELATION_LIMIT = 0.2


@dataclass(frozen=True)
class Limits:
    """What every rule is given: the longest series, and the resamples of those that resample."""

    max_n: int = 3000
    resamples: int = 100


@dataclass(frozen=True)
class Contender:
    """A rule. make: (error bound, limits) -> a fresh rule; ours: it is a method here and no mere baseline."""

    name: str
    module: Literal["superflow", "confidence_sequence", "stopping_baselines"]
    make: Callable[[float, Limits], RuleMaker]
    note: str = ""

    @property
    def ours(self) -> bool:
        """A method under study, as opposed to what it is compared with."""
        return self.module != "stopping_baselines"


def contenders(resampled: bool) -> list[Contender]:
    """Every rule that needs no other rule's result; `resampled` adds the two bootstraps, which are slow."""
    found = [
        Contender("superflow", "superflow", _superflow),
        Contender(
            "superflow-adaptive",
            "superflow",
            partial(_superflow, correlation_limit=CORRELATION_LIMIT),
            f"block bootstrap while the lag-1 correlation is above {CORRELATION_LIMIT}, order statistics otherwise",
        ),
        Contender(
            "superflow-one-look",
            "superflow",
            partial(_superflow, stability=False),
            "stops at the first narrow look",
        ),
        Contender("confidence-sequence", "confidence_sequence", _sequence, "intervals that all hold at once"),
        fixed("fixed-50", 50, "what is often done"),
        Contender("median-only", "stopping_baselines", _median_only, "one narrow interval, of the median"),
        Contender("confirm", "stopping_baselines", partial(_peer, Confirm)),
        Contender("metior", "stopping_baselines", partial(_peer, Metior)),
        Contender("pt4cloud", "stopping_baselines", partial(_peer, PT4Cloud), "similarity of 0.90; has no error bound"),
    ]
    bootstraps: dict[str, Kind] = {"superflow-blocks": "block_bootstrap", "superflow-bootstrap": "bootstrap"}
    return found + [
        Contender(name, "superflow", partial(_superflow, ci=kind)) for name, kind in bootstraps.items() if resampled
    ]


def fixed(name: str, runs: int, note: str) -> Contender:
    """A number of runs, whatever is seen."""
    config = BaselineConfig(count=runs, max_n=max(10, runs))

    def make(bound: float, limits: Limits) -> RuleMaker:  # noqa: ARG001 a number needs neither
        return partial(FixedCount, config)

    return Contender(name, "stopping_baselines", make, note)


def mean_runs(counts: Sequence[float]) -> int:
    """The fixed count that costs as much, on average."""
    return round(float(np.mean(counts)))


def _superflow(
    bound: float, limits: Limits, ci: Kind = "general", stability: bool = True, correlation_limit: float | None = None
) -> RuleMaker:
    config = SuperFlowConfig(
        error_bound=bound,
        max_n=limits.max_n,
        ci=ci,
        stability=stability,
        correlation_limit=correlation_limit,
        resamples=limits.resamples,
    )
    return partial(Stopper, config)


def _sequence(bound: float, limits: Limits) -> RuleMaker:
    return partial(TimeUniform, SequenceConfig(error_bound=bound, max_n=limits.max_n))


def _median_only(bound: float, limits: Limits) -> RuleMaker:
    return partial(median_only, _config(bound, limits))


def _peer(rule: type[Confirm] | type[Metior] | type[PT4Cloud], bound: float, limits: Limits) -> RuleMaker:
    return partial(rule, _config(bound, limits))


def _config(bound: float, limits: Limits) -> BaselineConfig:
    return BaselineConfig(error_bound=bound, max_n=limits.max_n, resamples=limits.resamples)

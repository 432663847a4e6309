"""Run one case: all implementations in turn, round by round, until every value and every ratio is known well enough.

Interleaving means that whatever disturbs the machine disturbs all of them. The stopping rule is this project's own
SuperFlow, applied to each value and to each ratio against the baseline. It ends each implementation by itself: whoever
is known well enough, or has spent its share of the case's time, leaves, so that a slow one does not take the rounds of
the quick ones; the baseline runs as long as anyone does. A cut by the budget is recorded as such.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from reference_impls.measurement import warmup
from reference_impls.measurement.case import (
    Case,
    Ceilings,
    Implementation,
    Limit,
    NotInstalledError,
    Step,
    Workload,
)
from reference_impls.measurement.paired import Config as RatioConfig
from reference_impls.measurement.paired import ratio_cis
from reference_impls.measurement.superflow import Config as RuleConfig
from reference_impls.measurement.superflow import Stopper
from scripts.bench.clock import energy_j, throttled, time_step
from scripts.bench.machine import installed
from scripts.catalogue.vocabulary import METRICS

WARM_UP_SHARE = 0.1


@dataclass(frozen=True)
class Budget:
    """When a case ends: the widths asked for, and the bounds on rounds and seconds.

    A tenth of the seconds is for warming up; the rest is divided among the implementations, and what the quick ones
    leave of their shares is divided among those that are still running.
    """

    value_error: float = 0.05
    ratio_error: float = 0.05
    interval: int = 5
    max_rounds: int = 300
    max_seconds: float = 30.0
    seed: int = 0


@dataclass
class Contestant:
    """An implementation that is ready to run, and what it has shown so far."""

    implementation: Implementation
    step: Step
    stopper: Stopper
    first: float
    warmup: int = 0
    samples: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    reason: str = ""  # why its measurement ended; empty while it runs

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with this one."""
        return self.implementation.role == "baseline"

    @property
    def settled(self) -> bool:
        """Whether the rule was content with the value at its last look."""
        return bool(self.stopper.history) and self.stopper.history[-1].reason == "converged"


@dataclass
class CaseResult:
    """What a case leaves behind: measurements as results/*.json stores them, and what could not run and why."""

    measurements: list[dict[str, Any]] = field(default_factory=list)
    unavailable: list[dict[str, str]] = field(default_factory=list)


def run_case(
    case: Case, device: str, ceilings: Ceilings, budget: Budget, say: Callable[[str], None] = lambda _: None
) -> CaseResult:
    """Prepare, warm up, measure in rounds, record every sample."""
    result = CaseResult()
    contestants = [
        one for one in (_prepare(case, one, device, budget, result, say) for one in case.implementations) if one
    ]
    if not any(one.is_baseline for one in contestants):
        result.unavailable.append({"case": case.id, "implementation": "*", "reason": "the baseline could not run"})
        return result
    if case.timed:
        _rounds(case, contestants, device, budget, say)
    else:
        _values(case, contestants, device)
    slowed = throttled(device)
    for one in contestants:
        result.measurements.append(_record(case, one, device, ceilings, slowed, budget))
    return result


def _prepare(
    case: Case, one: Implementation, device: str, budget: Budget, result: CaseResult, say: Callable[[str], None]
) -> Contestant | None:
    """Ready an implementation; what is not installed or cannot run here is recorded with its reason, never skipped."""
    reason = next((f"not installed: {package}" for package in one.needs if not installed(package)), "")
    if not reason:
        say(f"{case.id}: preparing {one.name}")
        try:
            step = one.prepare(case.workload, device)
            first = _sample(case, step, device)
        except NotInstalledError as error:
            reason = f"not installed: {error}"
        except Exception as error:  # noqa: BLE001 a peer may fail in any way; the others must still be measured
            reason = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        else:
            rule = RuleConfig(interval=budget.interval, error_bound=budget.value_error, max_n=budget.max_rounds)
            return Contestant(one, step, Stopper(rule), first)
    result.unavailable.append({"case": case.id, "implementation": one.name, "reason": reason})
    return None


def _sample(case: Case, step: Step, device: str) -> float:
    """One sample: seconds of a timed step, or the value that the step returns."""
    if case.timed:
        return time_step(step, device)
    value = step()
    if value is None:
        raise ValueError(f"{case.id}: the step of a case that is not timed must return its value")
    return value


def _values(case: Case, contestants: list[Contestant], device: str) -> None:
    """Values such as perplexity or bytes are exact for their seed: the first evaluation is the sample.

    A case of several trials has as many samples; their number is fixed beforehand, so it depends on none of them.
    """
    for one in contestants:
        one.samples = [one.first, *(_sample(case, one.step, device) for _ in range(case.trials - 1))]
        one.reason = "deterministic" if case.trials == 1 else "trials"


def _rounds(case: Case, contestants: list[Contestant], device: str, budget: Budget, say: Callable[[str], None]) -> None:
    """Rounds in an order drawn anew each time, so that nobody always follows the same neighbour."""
    started = time.perf_counter()
    for one in contestants:
        _warm_up(one, device, WARM_UP_SHARE * budget.max_seconds / len(contestants))
    order = np.random.default_rng(budget.seed)
    running = list(contestants)
    with torch.inference_mode():
        for number in range(1, budget.max_rounds + 1):
            for index in order.permutation(len(running)):
                _one_round(running[index], device)
            elapsed = time.perf_counter() - started
            if number % budget.interval == 0:
                bound = f"{elapsed:.0f} of at most {budget.max_seconds:.0f} s"
                say(f"{case.id}: round {number}, {bound}, {len(running)} implementations")
            if number >= 2 * budget.interval and (number % budget.interval == 0 or elapsed > budget.max_seconds):
                _dismiss(contestants, budget, late=elapsed > budget.max_seconds)
            running = [one for one in contestants if not one.reason]
            if not running:
                return
    for one in running:
        one.reason = "max_rounds"


def _dismiss(contestants: list[Contestant], budget: Budget, late: bool) -> None:
    """Give whoever need not run on the reason; the baseline only when it is the last."""
    baseline = next(one for one in contestants if one.is_baseline)
    for one in contestants:
        if not (one.reason or one is baseline) and one.settled and _ratio_known(one, baseline, budget):
            one.reason = "converged"
    running = [one for one in contestants if not one.reason]
    spent = {id(one): sum(one.samples) for one in contestants}
    left = (1 - WARM_UP_SHARE) * budget.max_seconds - sum(spent[id(one)] for one in contestants if one.reason)
    for one in running:
        if one is not baseline and (late or spent[id(one)] > left / len(running)):
            one.reason = "max_seconds"
    if all(one.reason for one in contestants if one is not baseline):
        out_of_time = late or spent[id(baseline)] > left / len(running)
        baseline.reason = "converged" if baseline.settled else "max_seconds" if out_of_time else ""


def _ratio_known(one: Contestant, baseline: Contestant, budget: Budget) -> bool:
    """Whether the ratio of medians over the rounds of both is as narrow as asked for."""
    config = RatioConfig(error_bound=budget.ratio_error, resamples=500)
    base, own = np.asarray(baseline.samples), np.asarray(one.samples)
    ratio = ratio_cis(base, own, config, np.random.default_rng(budget.seed))[0]
    return ratio.relative_error < budget.ratio_error


def _one_round(one: Contestant, device: str) -> None:
    before = energy_j(device)
    seconds = time_step(one.step, device)
    after = energy_j(device)
    if before is not None and after is not None and after > before:
        one.joules.append(after - before)
    one.samples.append(seconds)
    one.stopper.update(seconds)


def _warm_up(one: Contestant, device: str, seconds: float) -> None:
    """Runs that are not counted, until their median stops trending or the time for it is spent."""
    warm = warmup.WarmUp()
    limit = time.perf_counter() + seconds
    with torch.inference_mode():
        while not warm.done and time.perf_counter() < limit:
            warm.update(time_step(one.step, device))
    one.warmup = len(warm.runs) + 1  # and the first call, while preparing


def with_limits(case: Case, result: CaseResult, ceilings: Ceilings) -> CaseResult:
    """The same result with its limits computed anew, for ceilings that were measured again at the end of a run."""
    formulas = {one.name: one.limit for one in case.implementations}
    measurements = [
        item | {"limit": _limit(case, formulas[item["implementation"]], ceilings)} for item in result.measurements
    ]
    return CaseResult(measurements, result.unavailable)


def _limit(
    case: Case, formula: Callable[[Workload, Ceilings], Limit | None] | None, ceilings: Ceilings
) -> dict[str, Any] | None:
    limit = formula(case.workload, ceilings) if formula else None
    return {"value": limit.value, "formula": limit.formula} if limit else None


def _record(
    case: Case, one: Contestant, device: str, ceilings: Ceilings, slowed: bool, budget: Budget
) -> dict[str, Any]:
    metric, contestant = METRICS[case.metric], one.implementation
    quality = contestant.quality(case.workload, device) if contestant.quality else None
    return {
        "case": case.id,
        "implementation": contestant.name,
        "role": contestant.role,
        "effect": contestant.effect,
        "module": contestant.module,
        "workload": dict(case.workload),
        "metric": case.metric,
        "unit": metric.unit,
        "better": metric.better,
        "samples": [case.amount / value for value in one.samples] if case.timed and case.amount else one.samples,
        "first": case.amount / one.first if case.timed and case.amount else one.first,
        "warmup": one.warmup,
        "rounds": len(one.samples),
        "converged": one.reason in ("converged", "deterministic", "trials"),
        "stop_reason": one.reason,
        "seed": budget.seed,
        "limit": _limit(case, contestant.limit, ceilings),
        "no_limit": case.no_limit or None,
        "quality": {"metric": quality.metric, "value": quality.value} if quality else None,
        "energy_j": sum(one.joules) / len(one.joules) if one.joules else None,
        "throttled": slowed,
        "note": (contestant.note if isinstance(contestant.note, str) else contestant.note()) or None,
    }


def find(cases: Iterable[Case], wanted: Iterable[str], device: str) -> list[Case]:
    """The cases that a command names: by id, by suite (`quantization`), or all. Raises ValueError for unknown names."""
    available = [case for case in cases if device in case.devices]
    names = list(wanted)
    for name in names:
        if not any(case.id == name or case.id.startswith(name + "/") for case in available):
            known = sorted({case.id.partition("/")[0] for case in available})
            raise ValueError(f'no case or suite "{name}" for {device}; suites: {", ".join(known)}; see --list')
    return [case for case in available if not names or any(case.id == n or case.id.startswith(n + "/") for n in names)]

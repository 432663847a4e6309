"""Every stopping rule, offline, on series that were recorded once in full.

Paper: arXiv 2306.01620 v1, the evaluation: rules stop on the recorded runs, and what they saw is compared with all.
Idea: a rule that stops at n has seen the first n runs; its accuracy is their similarity with the whole series, and
    with independent runs of the same function where there are any.
Symbols: n = runs at the stop.
Simplified: the released data are not part of this project (no licence); `load_series` reads them from a folder.
Differs: the published measure alone flatters a rule, because the whole series contains what it saw, so accuracy on
    independent runs stands beside it, and `equal_budget` adds the fixed count that costs the same.
Cost: one pass of the rule and two densities a series.
Checked against: hand-made series; the published 97.26 at 288 runs where FRUGALFM_SUPERFLOW_DATA names the data.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement import Reason
from reference_impls.measurement.batches import BatchRule
from reference_impls.measurement.similarity import similarity
from reference_impls.measurement.stopping_baselines import Config as BaselineConfig
from reference_impls.measurement.stopping_baselines import FixedCount
from reference_impls.measurement.superflow import collect

Array = NDArray[np.float64]
RuleMaker = Callable[[], BatchRule]
LAYOUT = (
    "expected a .csv (first line: a name per series; then one run a line, a column per series; cells may end early) "
    "or a .npz (one array of runs per name)"
)


@dataclass(frozen=True)
class Outcome:
    """One rule on one series. Accuracy runs from 0 to 1; None where there are no independent runs to compare with."""

    rule: str
    series: str
    n: int
    reason: Reason
    accuracy: float
    accuracy_independent: float | None


@dataclass(frozen=True)
class Summary:
    """One rule over all series: its cost, its accuracy, and the series that fared worst."""

    rule: str
    mean_runs: float
    accuracy: float
    worst: float
    accuracy_independent: float | None
    cut_short: int


def load_series(path: Path) -> dict[str, Array]:
    """-> name: (runs,), in order of arrival, from a .csv or a .npz file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {LAYOUT}")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name], dtype=np.float64) for name in arrays.files}
    if path.suffix == ".csv":
        return _read_csv(path)
    raise ValueError(f"{path}: {LAYOUT}")


def _read_csv(path: Path) -> dict[str, Array]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        names, *rows = csv.reader(file)
    series: dict[str, list[float]] = {name: [] for name in names}
    if len(series) < len(names):
        raise ValueError(f"{path}: line 1: every series needs a name of its own")
    for number, row in enumerate(rows, start=2):
        for name, cell in zip(names, row, strict=False):
            if cell.strip():
                series[name].append(_number(cell, f"{path}: line {number}: {name}"))
    return {name: np.array(runs) for name, runs in series.items()}


def _number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{place}: expected a number, got {cell!r}") from None


def replay(
    series: Mapping[str, Array], rules: Mapping[str, RuleMaker], independent: Mapping[str, Array] | None = None
) -> list[Outcome]:
    """Run every rule, made anew, over every series.

    series, independent: name: (runs,)
    """
    return [
        _replay_one(rule, make(), name, runs, (independent or {}).get(name))
        for name, runs in series.items()
        for rule, make in rules.items()
    ]


def _replay_one(rule: str, stopper: BatchRule, name: str, runs: Array, independent: Array | None) -> Outcome:
    report = collect(runs.tolist(), stopper)
    seen = runs[: report.n]
    apart = None if independent is None else similarity(seen, independent)
    return Outcome(rule, name, report.n, report.reason, similarity(seen, runs), apart)


def equal_budget(outcomes: Sequence[Outcome], rule: str) -> RuleMaker:
    """The fixed count that costs as much, on average, as a rule did: what the rule has to beat."""
    count = round(np.mean([outcome.n for outcome in outcomes if outcome.rule == rule]))
    return lambda: FixedCount(BaselineConfig(count=count, max_n=max(10, count)))


def summarise(outcomes: Sequence[Outcome]) -> list[Summary]:
    """One line a rule, in the order the rules first appear."""
    return [_summary(rule, [o for o in outcomes if o.rule == rule]) for rule in dict.fromkeys(o.rule for o in outcomes)]


def _summary(rule: str, outcomes: Sequence[Outcome]) -> Summary:
    apart = [o.accuracy_independent for o in outcomes if o.accuracy_independent is not None]
    return Summary(
        rule=rule,
        mean_runs=float(np.mean([o.n for o in outcomes])),
        accuracy=float(np.mean([o.accuracy for o in outcomes])),
        worst=min(o.accuracy for o in outcomes),
        accuracy_independent=float(np.mean(apart)) if apart else None,
        cut_short=sum(o.reason in ("max_n", "exhausted") for o in outcomes),
    )

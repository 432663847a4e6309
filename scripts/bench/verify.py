"""Run recorded cases again on this machine and say whether they agree with the record."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.measurement.case import Case
from reference_impls.measurement.paired import Config, ratio_cis
from scripts.bench.ceilings import measure_ceilings
from scripts.bench.machine import machine_facts
from scripts.bench.runner import Budget, run_case

EXACT = 0.002
"""Relative difference that is no disagreement, for values without an interval."""


def verify(root: Path, cases: list[Case], device: str, budget: Budget, say: Callable[[str], None]) -> int:
    """Compare each case's ratios to its baseline, recorded and now.

    -> 0 if all intervals meet, 1 if some do not, 2 if nothing is recorded. Ratios are compared and not times:
    they hold on a busy machine, and roughly on another one. Exact values may differ by EXACT between machines, whose
    sums are in another order. A case whose workload was changed since is told and not compared.
    """
    recorded = _recorded(root)
    machine = machine_facts(device)["name"]
    ceilings = measure_ceilings(device)
    compared = apart = 0
    for case in cases:
        for run_machine, old in recorded.get(case.id, {}).items():
            if old[0]["workload"] != dict(case.workload):
                say(f"{case.id}: recorded on {run_machine} with another workload; not compared")
                continue
            new = run_case(case, device, ceilings, budget, say).measurements
            for name, before, after in _pairs(old, new):
                met = before[1] <= after[2] * (1 + EXACT) and after[1] <= before[2] * (1 + EXACT)
                compared, apart = compared + 1, apart + (not met)
                where = "this machine" if run_machine == machine else run_machine
                verdict = "agrees" if met else "DIFFERS"
                say(f"{case.id} {name}: recorded on {where} {_shown(before)}, now {_shown(after)}: {verdict}")
    if not compared:
        say("nothing recorded for these cases; see results/")
        return 2
    return 1 if apart else 0


def _recorded(root: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Case -> machine -> its measurements."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for path in sorted((root / "results").glob("*/*.json")):
        run = json.loads(path.read_text("utf-8"))
        for one in run["measurements"]:
            found.setdefault(one["case"], {}).setdefault(run["machine"]["name"], []).append(one)
    return found


def _pairs(
    old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> list[tuple[str, tuple[float, float, float], tuple[float, float, float]]]:
    before, after = _ratios(old), _ratios(new)
    return [(name, before[name], after[name]) for name in before if name in after]


def _ratios(measurements: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    """Implementation -> ratio of medians to the baseline with its interval."""
    baseline = next(np.asarray(one["samples"]) for one in measurements if one["role"] == "baseline")
    rng = np.random.default_rng(0)
    ratios = {}
    for one in measurements:
        if one["role"] != "baseline":
            samples = np.asarray(one["samples"])
            rounds = min(len(samples), len(baseline))
            ratio = ratio_cis(samples[:rounds], baseline[:rounds], Config(), rng)[0]
            ratios[one["implementation"]] = (ratio.value, ratio.lo, ratio.hi)
    return ratios


def _shown(ratio: tuple[float, float, float]) -> str:
    return f"{ratio[0]:.3g}x [{ratio[1]:.3g}, {ratio[2]:.3g}]"

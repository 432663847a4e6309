"""Whether a recorded run can be believed: its own arithmetic, the limits of physics, the code it names, other machines.

Runs come from strangers too. A run that contradicts itself, beats its own physical limit or names code that nobody can
look at is an error; one that differs much from the same cases on other machines is told as a warning, and a person
decides. What a person has decided stands in results/verified.yaml.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from scripts.catalogue.git import Git, open_git
from scripts.catalogue.model import Measurement, Run
from scripts.catalogue.problems import Problem
from scripts.catalogue.vocabulary import METRICS

SLACK = 1.1
"""How far a median may pass its limit: the limit rests on ceilings measured on the same, shared machine."""
TWIN = 0.02
"""Relative difference of a value that repeats exactly (bytes, perplexity) from the same case on other machines."""
APART = 4.0
"""Factor by which a ratio to the baseline may differ from the median of the other machines."""
STOPS = {"converged": True, "deterministic": True, "trials": True, "max_rounds": False, "max_seconds": False}
"""Reason why the bench stopped -> whether that is convergence."""
MAX_SAMPLES = 20_000
_ABOVE_ZERO = ("s", "tokens/s", "requests/s")
_RANGES = {"acceptance_rate": (0.0, 1.0), "accuracy": (0.0, 100.0), "perplexity": (1.0, math.inf), "recall": (0.0, 1.0)}
_REPAIR = "the bench writes results, nobody by hand: run the suite again"


def check_results(root: Path, runs: Mapping[str, Run]) -> Iterator[Problem]:
    """Every problem of the recorded runs; `runs` by file."""
    git = open_git(root)
    trees = git.trees({(run.code.commit, folder) for run in runs.values() for folder in run.code.trees}) if git else {}
    for file, run in runs.items():
        yield from _check_place(file, run)
        yield from _check_run(file, run)
        for index, one in enumerate(run.measurements):
            yield from _check_measurement(file, f"measurements.{index}", run, one)
        if git:
            yield from _check_code(file, run, git, trees)
    yield from _outliers(runs)


def _error(file: str, field: str, message: str, hint: str = _REPAIR) -> Problem:
    return Problem(file, 1, 1, field, message, hint)


def _check_place(file: str, run: Run) -> Iterator[Problem]:
    wanted = f"results/{run.machine.name}/{run.suite}.json"
    if file != wanted:
        yield _error(
            file, "machine.name", f"suite {run.suite} of {run.machine.name} stands here", f"move it to {wanted}"
        )


def _check_run(file: str, run: Run) -> Iterator[Problem]:
    if run.finished < run.started:
        yield _error(file, "finished", "lies before started")
    if run.finished > datetime.now(UTC) + timedelta(days=1):
        yield _error(
            file, "finished", f"lies in the future, {run.finished.date().isoformat()}", "set the machine's clock"
        )
    if not run.measurements:
        yield _error(file, "measurements", "is empty", "a run that measured nothing is not submitted")
    pairs = Counter((one.case, one.implementation) for one in run.measurements)
    for (case, name), count in pairs.items():
        if count > 1:
            yield _error(file, "measurements", f"{name} stands {count} times in {case}")
    for case in dict.fromkeys(one.case for one in run.measurements):
        found = [one for one in run.measurements if one.case == case]
        if (baselines := sum(one.role == "baseline" for one in found)) != 1:
            yield _error(file, "measurements", f"{case} has {baselines} baselines where one is needed")
        if len({one.metric for one in found}) > 1:
            yield _error(file, "measurements", f"{case} mixes metrics: {', '.join(sorted({o.metric for o in found}))}")
    ceilings = [run.ceilings.copy_bytes_per_s, run.ceilings.read_bytes_per_s, *run.ceilings.matmul_flops_per_s.values()]
    if any(value is not None and not 0 < value < 1e19 for value in ceilings):
        yield _error(file, "ceilings", "a ceiling is not a number above zero that a machine could reach")


def _check_measurement(file: str, field: str, run: Run, one: Measurement) -> Iterator[Problem]:
    metric, what = METRICS[one.metric], f"{one.implementation} in {one.case}"
    if not one.case.startswith(f"{run.suite}/"):
        yield _error(file, f"{field}.case", f"{one.case} is of another suite than {run.suite}")
    if (one.unit, one.better) != (metric.unit, metric.better):
        wanted = f"{metric.unit}, {metric.better}"
        yield _error(file, f"{field}.unit", f"{what}: {one.unit}, {one.better} where {one.metric} has {wanted}")
    if one.rounds != len(one.samples):
        yield _error(file, f"{field}.rounds", f"{what}: {one.rounds} rounds but {len(one.samples)} samples")
    if len(one.samples) > MAX_SAMPLES:
        yield _error(file, f"{field}.samples", f"{what}: {len(one.samples):,} samples; {MAX_SAMPLES:,} at most")
    if STOPS.get(one.stop_reason) is not one.converged:
        told = f"stop_reason {one.stop_reason} with converged {str(one.converged).lower()}"
        yield _error(file, f"{field}.stop_reason", f"{what}: {told}")
    yield from _check_values(file, field, what, one)


def _check_values(file: str, field: str, what: str, one: Measurement) -> Iterator[Problem]:
    values = [*one.samples, one.first]
    low, high = _RANGES.get(one.metric, (-math.inf, math.inf))
    if METRICS[one.metric].unit in _ABOVE_ZERO and min(values) <= 0:
        yield _error(file, f"{field}.samples", f"{what}: {min(values):g} {one.unit}, but it must be above zero")
    elif not all(low <= value <= high for value in values):
        yield _error(file, f"{field}.samples", f"{what}: {one.metric} lies outside {low:g} to {high:g}")
    elif one.stop_reason in ("converged", "max_seconds", "max_rounds") and len(values) > 9 and len(set(values)) == 1:
        yield _error(file, f"{field}.samples", f"{what}: {len(one.samples)} timed samples are all {values[0]:g}")
    elif one.limit and (share := _share(one)) > SLACK:
        limit = f"the limit of {one.limit.value:.4g} {one.unit}"
        told = f"{what}: its median passes {limit} by {100 * (share - 1):.0f} % ({one.limit.formula})"
        yield _error(file, f"{field}.samples", told, "nothing is faster than its physical limit: find the mistake")


def _share(one: Measurement) -> float:
    """Which part of its limit the median reaches; 0 where the limit says nothing."""
    middle, limit = median(one.samples), one.limit.value if one.limit else 0.0
    if limit <= 0 or middle <= 0 or one.better == "neither":
        return 0.0
    return middle / limit if one.better == "higher" else limit / middle


def _check_code(file: str, run: Run, git: Git, trees: Mapping[tuple[str, str], str]) -> Iterator[Problem]:
    if run.code.dirty:
        yield _error(file, "code.dirty", "the code measured was not committed", "commit first, then run the suite")
    if not git.has_commit(run.code.commit):
        hint = "run the suite from a commit of main, or bring the commit with the submission"
        yield _error(file, "code.commit", f"{run.code.commit[:12]} is not in the history of this checkout", hint)
        return
    for folder, tree in run.code.trees.items():
        if trees.get((run.code.commit, folder)) != tree:
            told = f"{folder} at {run.code.commit[:12]} is not the code that the run says it measured"
            yield _error(file, "code.trees", told, "run the suite from an unchanged checkout")


def _outliers(runs: Mapping[str, Run]) -> Iterator[Problem]:
    """Runs that differ from those of the same cases elsewhere, as warnings: once a file and kind, the worst first."""
    held: dict[tuple[str, str], list[tuple[str, Measurement, Measurement | None]]] = defaultdict(list)
    for file, run in runs.items():
        baselines = {one.case: one for one in run.measurements if one.role == "baseline"}
        for one in run.measurements:
            held[one.case, one.implementation].append((file, one, baselines.get(one.case)))
    told: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for (case, name), found in held.items():
        for file, one, baseline in found:
            others = [other for other in found if other[0] != file and _same_work(other[1], one)]
            for kind, distance, message in _differences(one, baseline, others):
                told[file, kind].append((distance, f"{name} in {case}: {message}"))
    for (file, _), messages in sorted(told.items()):
        _, worst = max(messages)
        more = f", and {len(messages) - 1} more like it" if len(messages) > 1 else ""
        yield Problem(file, 1, 1, "measurements", worst + more, "look at the workload and the machine", "warning")


def _same_work(a: Measurement, b: Measurement) -> bool:
    return a.workload == b.workload and a.metric == b.metric


def _differences(
    one: Measurement, baseline: Measurement | None, others: Iterable[tuple[str, Measurement, Measurement | None]]
) -> Iterator[tuple[str, float, str]]:
    """(kind, how far, in words) of what differs from the other machines."""
    others = list(others)
    middle = median(one.samples)
    exact = [median(other.samples) for _, other, _ in others if other.stop_reason == "deterministic"]
    if one.stop_reason == "deterministic" and exact and middle:
        apart = abs(median(exact) - middle) / abs(middle)
        if apart > TWIN:
            yield "value", apart, f"{middle:.5g} {one.unit} where other machines have {median(exact):.5g}"
    timed = one.stop_reason in ("converged", "max_seconds", "max_rounds")
    if not timed or baseline is None or one is baseline:
        return
    elsewhere = [ratio for _, other, base in others if base and (ratio := _ratio(other, base))]
    here = _ratio(one, baseline)
    if here and elsewhere:
        factor = max(here / median(elsewhere), median(elsewhere) / here)
        if factor > APART:
            yield "ratio", factor, f"{here:.3g} times its baseline, {median(elsewhere):.3g} times on other machines"


def _ratio(one: Measurement, baseline: Measurement) -> float:
    below = median(baseline.samples)
    return median(one.samples) / below if below else 0.0

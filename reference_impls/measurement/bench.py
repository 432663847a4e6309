"""The cases of this family: how often each stopping rule is right at its stop, and how many runs it takes.

Two sources of runs: seeded series whose percentiles are known exactly (`synthetic`), and latencies of this project's
own operations, recorded on the machine of the bench in the same run and replayed under every rule. A run that was
killed between the two records anew for its replays: begin such a run from the start (a test of the results tells).
"""

from dataclasses import dataclass
from functools import cache, partial
from itertools import count

import numpy as np

from reference_impls.measurement import bench_detectors, bench_fairness, bench_street, study
from reference_impls.measurement.bench_operations import OPERATIONS, WARM_UP, recording
from reference_impls.measurement.case import Case, Implementation, Quality, Role, Step, Workload
from reference_impls.measurement.contenders import Contender, Limits, contenders, fixed, mean_runs
from reference_impls.measurement.replay import Array, Outcome, replay
from reference_impls.measurement.synthetic import SHAPES

LIMITS = Limits()
ERROR_BOUND = 0.02
ERROR_BOUNDS = {"pareto": 0.10}
"""Where another one: at 2 %, SuperFlow rarely ends within 3,000 runs of a heavy tail."""
RESAMPLED = ("ar1", "bimodal", "normal")
"""Where the bootstraps run too, ten to a hundred times slower: dependent runs, two modes, and the plain case."""
PERCENTILES = [*study.Config().percentiles]
OWN, OVERALL = "fixed-own-mean", "fixed-overall-mean"


@dataclass(frozen=True)
class Scale:
    """How much is run: batches of trials on a shape, and runs in each half of a recording."""

    batches: int = 10
    trials: int = 50
    half: int = 1000


def cases(scale: Scale | None = None) -> list[Case]:
    """Every case of the family."""
    scale = scale or Scale()
    synthetic = [case for shape in SHAPES for case in _shape_cases(shape, scale)]
    who_pays = [*bench_fairness.cases(), *bench_street.cases(), *bench_detectors.cases()]
    return [*synthetic, _latency_case(scale), *_replay_cases(scale), *who_pays]


def _role(one: Contender) -> Role:
    return "method" if one.ours else "peer"


# Synthetic series: whether a rule was right is known.


def _shape_cases(shape: str, scale: Scale) -> list[Case]:
    """Being right, and its cost: two cases of the same trials."""
    return [
        _shape_case(shape, scale, "right", "stop_coverage", "interval_coverage"),
        _shape_case(shape, scale, "cost", "repetitions", "worst_error"),
    ]


def _shape_case(shape: str, scale: Scale, what: str, metric: str, quality: str) -> Case:
    titles = {"right": "How often all quartiles are within the error bound", "cost": "Runs until the stop"}
    rules = {name: _role(one) for name, one in _rules(shape).items()} | {OVERALL: "peer", OWN: "baseline"}
    return Case(
        id=f"measurement/{shape}/{what}/{metric}",
        title=f"{titles[what]}: {SHAPES[shape].title}",
        metric=metric,
        workload={
            "latencies": SHAPES[shape].title,
            "error_bound": _error_bound(shape),
            "percentiles": ", ".join(map(str, PERCENTILES)),
            "max_n": LIMITS.max_n,
            "resamples": LIMITS.resamples,
            "trials": scale.batches * scale.trials,
            "trials_per_sample": scale.trials,
        },
        implementations=tuple(_studied(name, role, shape, metric, quality, scale) for name, role in rules.items()),
        timed=False,
        deterministic=True,
        no_limit="a property of the rule and the distribution, not of the machine",
        devices=("cpu",),
        trials=scale.batches,
    )


def _studied(name: str, role: Role, shape: str, metric: str, quality: str, scale: Scale) -> Implementation:
    def prepare(workload: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on the device
        numbers = count()
        return lambda: study.value(metric, [_batch(shape, name, next(numbers), scale)])

    def judge(workload: Workload, device: str) -> Quality:  # noqa: ARG001
        return Quality(quality, study.value(quality, _batches(shape, name, scale)))

    notes = {OWN: "as many runs as SuperFlow on average here", OVERALL: "as many as SuperFlow on average of all shapes"}
    rule = _rules(shape).get(name)
    note, module = (rule.note, rule.module) if rule else (notes[name], "stopping_baselines")
    return Implementation(name, role, "simulated", prepare, quality=judge, note=note, module=module)


def _error_bound(shape: str) -> float:
    return ERROR_BOUNDS.get(shape, ERROR_BOUND)


def _rules(shape: str) -> dict[str, Contender]:
    return {one.name: one for one in contenders(resampled=shape in RESAMPLED)}


def _batches(shape: str, name: str, scale: Scale) -> list[study.Batch]:
    return [_batch(shape, name, number, scale) for number in range(scale.batches)]


@cache
def _batch(shape: str, name: str, number: int, scale: Scale) -> study.Batch:
    """Kept, because two cases show it and the fixed counts follow from SuperFlow's."""
    config = study.Config(error_bound=_error_bound(shape), max_n=LIMITS.max_n, trials=scale.trials)
    return study.run_batch(
        _contender(shape, name, scale).make(config.error_bound, LIMITS), SHAPES[shape], number, config
    )


def _contender(shape: str, name: str, scale: Scale) -> Contender:
    if name not in (OWN, OVERALL):
        return _rules(shape)[name]
    shapes = [shape] if name == OWN else [*SHAPES]
    return fixed(name, mean_runs([batch.runs for one in shapes for batch in _batches(one, "superflow", scale)]), "")


# Recorded series: what a rule saw is compared with all 1,000 runs, and with 1,000 others.


def _latency_case(scale: Scale) -> Case:
    """The raw latencies that the replays are computed from."""

    def latency(operation: str, _workload: Workload, _device: str) -> Step:
        return recording(operation).extend

    return Case(
        id="measurement/own-operations/latency/latency",
        title="Latencies of this project's own operations, one operation after the other, every run kept",
        metric="latency",
        workload={"models": "tiny-target, tiny-draft", "dtype": "float32", "batch": 1, "warm_up_runs": WARM_UP},
        implementations=tuple(
            Implementation(name, "baseline" if name == "matmul-256" else "peer", "kernel", partial(latency, name))
            for name in OPERATIONS
        ),
        timed=False,
        no_limit="recorded for its spread and not for its speed",
        devices=("cpu",),
        trials=2 * scale.half,
    )


def _replay_cases(scale: Scale) -> list[Case]:
    return [
        _replay_case(scale, "same-runs", "stop_accuracy", "Similarity of what a rule saw with all runs of the series"),
        _replay_case(scale, "other-runs", "independent_accuracy", "Similarity of what a rule saw with other runs"),
        _replay_case(scale, "quartiles", "worst_error", "Largest error of a quartile against other runs"),
        _replay_case(scale, "cost", "repetitions", "Runs until the stop"),
    ]


def _replay_case(scale: Scale, what: str, metric: str, title: str) -> Case:
    rules = contenders(resampled=False)
    overall = fixed(OVERALL, 1, "as many runs as SuperFlow on average of all series")
    roles: list[tuple[Contender, Role]] = [*((one, _role(one)) for one in rules), (overall, "baseline")]
    return Case(
        id=f"measurement/own-operations/replay-{what}/{metric}",
        title=f"{title}: own operations",
        metric=metric,
        workload={
            "latencies": f"two halves of {scale.half} runs of each operation, see the latency case",
            "series": ", ".join(series_names()),
            "error_bound": ERROR_BOUND,
            "resamples": LIMITS.resamples,
        },
        implementations=tuple(
            Implementation(
                one.name,
                role,
                "simulated",
                partial(_replayed, one.name, metric, scale),
                note=one.note,
                module=one.module,
            )
            for one, role in roles
        ),
        timed=False,
        no_limit="a property of the rule and the noise",
        devices=("cpu",),
        trials=len(series_names()),
    )


def _replayed(rule: str, metric: str, scale: Scale, _workload: Workload, _device: str) -> Step:
    values = iter(_replays(scale)[rule, metric])
    return lambda: next(values)


@cache
def _replays(scale: Scale) -> dict[tuple[str, str], list[float]]:
    runs = {operation: np.array(recording(operation).first(2 * scale.half)) for operation in OPERATIONS}
    return replay_recordings(runs)


def series_names() -> list[str]:
    """The recorded series in the order of a replay's samples."""
    return [f"{operation} {half}" for operation in OPERATIONS for half in ("first", "second")]


def replay_recordings(recordings: dict[str, Array]) -> dict[tuple[str, str], list[float]]:
    """Every rule over both halves of every recording; the other half is what it did not see.

    recordings: operation: (runs,), in the order of `OPERATIONS`
    -> (rule, metric): one value a series, in the metric's unit and the order of `series_names`
    """
    halves = [np.split(runs, 2) for runs in recordings.values()]
    names = series_names()
    series = dict(zip(names, (half for first, second in halves for half in (first, second)), strict=True))
    others = dict(zip(names, (half for first, second in halves for half in (second, first)), strict=True))
    rules = {one.name: one.make(ERROR_BOUND, LIMITS) for one in contenders(resampled=False)}
    outcomes = replay(series, rules, others)
    same_cost = fixed(OVERALL, mean_runs([one.n for one in outcomes if one.rule == "superflow"]), "")
    outcomes += replay(series, {OVERALL: same_cost.make(ERROR_BOUND, LIMITS)}, others)
    found: dict[tuple[str, str], list[float]] = {}
    for one in outcomes:
        for metric, value in _outcome_values(one, series[one.series], others[one.series]).items():
            found.setdefault((one.rule, metric), []).append(value)
    return found


def _outcome_values(outcome: Outcome, series: Array, others: Array) -> dict[str, float]:
    """series, others: (runs,) -> metric: value in the metric's unit."""
    seen, truth = (np.percentile(runs, PERCENTILES) for runs in (series[: outcome.n], others))
    return {
        "repetitions": float(outcome.n),
        "stop_accuracy": 100 * outcome.accuracy,
        "independent_accuracy": 100 * (outcome.accuracy_independent or 0.0),
        "worst_error": 100 * float(np.abs(seen / truth - 1).max()),
    }

"""The family's cases hold together: paired, reproducible, and their replays follow from the recorded latencies."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from reference_impls.measurement import bench  # noqa: E402
from reference_impls.measurement.bench_operations import OPERATIONS, WARM_UP, Recording  # noqa: E402
from reference_impls.measurement.case import Ceilings  # noqa: E402
from reference_impls.measurement.contenders import Limits, contenders, fixed, mean_runs  # noqa: E402
from reference_impls.measurement.synthetic import SHAPES  # noqa: E402
from scripts.bench.runner import Budget, run_case  # noqa: E402
from scripts.catalogue.model import Measurement  # noqa: E402
from tests.measurement.series import feed  # noqa: E402

torch.set_num_threads(1)
TINY = bench.Scale(batches=2, trials=3, half=60)
CASES = {
    case.id: case for case in bench.cases(TINY) if not {"language", "street", "video"} & {*case.id.split("/")}
}  # test_language_study, test_street, test_detectors
RECORDED = sorted((Path(__file__).resolve().parents[2] / "results").glob("*/measurement.json"))


def run(name):
    result = run_case(CASES[name], "cpu", Ceilings(), Budget())
    assert result.unavailable == []
    return {one.implementation: one for one in map(Measurement.model_validate, result.measurements)}


def test_every_shape_has_its_two_cases_and_the_recordings_theirs():
    expected = {f"measurement/{shape}/right/stop_coverage" for shape in SHAPES}
    expected |= {f"measurement/{shape}/cost/repetitions" for shape in SHAPES}
    assert expected < set(CASES)
    assert {name.split("/")[1] for name in set(CASES) - expected} == {"own-operations"}


def test_every_rule_names_the_module_that_it_exercises():
    rules = [one for case in CASES.values() if case.metric != "latency" for one in case.implementations]
    assert {one.module for one in rules} == {"superflow", "confidence_sequence", "stopping_baselines"}
    assert {one.module for one in rules if one.role == "method"} == {"superflow", "confidence_sequence"}


def test_a_full_scale_case_has_at_least_500_trials_a_rule():
    for case in bench.cases():
        if "trials" in case.workload:
            assert case.workload["trials"] >= 500
            assert case.workload["trials"] == case.trials * case.workload["trials_per_sample"]


@pytest.mark.parametrize("shape", ["normal", "late-mode"])
def test_a_shape_is_recorded_with_shares_counts_and_both_qualities(shape):
    right, cost = run(f"measurement/{shape}/right/stop_coverage"), run(f"measurement/{shape}/cost/repetitions")
    assert set(right) == set(cost)
    assert all(len(one.samples) == TINY.batches and one.stop_reason == "trials" for one in right.values())
    shares = {share for one in right.values() for share in one.samples}
    assert all(min(abs(share - 100 * k / TINY.trials) for k in range(TINY.trials + 1)) < 1e-9 for share in shares)
    assert all(0 <= one.quality.value <= 100 for one in right.values())
    assert cost["fixed-50"].samples == [50, 50]
    assert cost["superflow-one-look"].samples[0] <= cost["superflow"].samples[0]
    assert np.median(cost["superflow"].samples) < np.median(cost["confidence-sequence"].samples)
    assert all(
        (one.quality.value <= 100 * bench.ERROR_BOUND) == (min(right[name].samples) == 100)
        for name, one in cost.items()
    )


def test_the_fixed_counts_cost_what_superflow_costs():
    costs = {shape: run(f"measurement/{shape}/cost/repetitions") for shape in SHAPES}
    superflow = {shape: np.mean(found["superflow"].samples) for shape, found in costs.items()}
    for shape, found in costs.items():
        assert found["fixed-own-mean"].samples == [round(superflow[shape])] * TINY.batches
        assert found["fixed-overall-mean"].samples == [round(np.mean([*superflow.values()]))] * TINY.batches


def test_bootstraps_run_where_said_and_nowhere_else():
    for shape in SHAPES:
        names = {one.name for one in CASES[f"measurement/{shape}/cost/repetitions"].implementations}
        assert ("superflow-blocks" in names) == (shape in bench.RESAMPLED)


@pytest.mark.parametrize("one", contenders(resampled=True), ids=lambda one: one.name)
def test_every_contender_is_made_anew_and_ends_on_an_easy_series(one):
    make = one.make(0.05, Limits(max_n=400, resamples=50))
    series = 1 + np.random.default_rng(0).normal(0, 0.02, 400)
    first, second = feed(make(), series), feed(make(), series)
    assert first.reason in ("converged", "count")
    assert first.n == second.n <= 200


def test_a_wider_bound_never_costs_more_runs():
    series = 1 + np.random.default_rng(1).normal(0, 0.05, 3000)
    for one in contenders(resampled=False):
        counts = [feed(one.make(bound, Limits())(), series).n for bound in (0.01, 0.02, 0.05)]
        assert counts == sorted(counts, reverse=True), one.name


def test_a_fixed_contender_counts_and_the_mean_is_rounded():
    assert feed(fixed("7", 7, "").make(0.5, Limits())(), np.ones(50)).n == 7
    assert mean_runs([10, 11, 11]) == 11


def test_a_recording_keeps_every_run_in_order_and_none_of_its_warm_up():
    calls = []
    recording = Recording(lambda: calls.append(len(calls)))
    assert len(calls) == WARM_UP
    first = recording.extend()
    assert recording.first(5)[0] == first
    assert recording.first(5) == recording.latencies[:5] == recording.latencies
    assert len(calls) == WARM_UP + 5


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_runs_again_and_again(name):
    assert all(seconds > 0 for seconds in Recording(OPERATIONS[name]()).first(3))


def test_a_replay_sees_the_recording_of_the_same_run():
    latencies = run("measurement/own-operations/latency/latency")
    assert {len(one.samples) for one in latencies.values()} == {2 * TINY.half}
    found = {
        metric: run(f"measurement/own-operations/replay-{metric}")
        for metric in ("same-runs/stop_accuracy", "cost/repetitions")
    }
    expected = bench.replay_recordings({name: np.array(latencies[name].samples) for name in OPERATIONS})
    for path, measured in found.items():
        for rule, one in measured.items():
            assert one.samples == expected[rule, path.split("/")[1]]
    assert found["cost/repetitions"]["fixed-50"].samples == [50] * 2 * len(OPERATIONS)


def test_a_replay_compares_with_the_half_it_did_not_see():
    rng = np.random.default_rng(0)
    level = {name: place + 1.0 for place, name in enumerate(OPERATIONS)}
    drifting = {
        name: np.concatenate([rng.normal(x, 0.01, 200), rng.normal(1.1 * x, 0.01, 200)]) for name, x in level.items()
    }
    found = bench.replay_recordings(drifting)
    assert np.mean(found["superflow", "worst_error"]) == pytest.approx(9.5, abs=0.6)  # mean of 1 - 1/1.1 and 1.1 - 1
    assert min(found["superflow", "stop_accuracy"]) > 10 * max(found["superflow", "independent_accuracy"])


@pytest.mark.parametrize(
    ("path", "operations"),
    [
        (RECORDED[0] if RECORDED else None, ["decode-target", "softmax-64x4096"]),
        *(pytest.param(path, [*OPERATIONS], marks=pytest.mark.slow) for path in RECORDED),
    ],
    ids=lambda one: one.parent.name if isinstance(one, Path) else f"{len(one or ())}-operations",
)
def test_recorded_replays_follow_from_the_recorded_latencies(path, operations, monkeypatch):
    """Recomputed from the raw samples, every figure of the replays comes out as recorded; all operations are slow."""
    if path is None:
        pytest.skip("results/ holds no run of this suite yet")
    run = [Measurement.model_validate(one) for one in json.loads(path.read_text("utf-8"))["measurements"]]
    raw = {one.implementation: np.array(one.samples) for one in run if one.metric == "latency"}
    replays = [one for one in run if one.case.startswith("measurement/own-operations/replay-")]
    counts = {one.implementation: one.samples for one in replays if one.metric == "repetitions"}
    assert counts[bench.OVERALL] == [mean_runs(counts["superflow"])] * 2 * len(OPERATIONS)
    places = [place for place, name in enumerate(bench.series_names()) if name.split(" ")[0] in operations]
    monkeypatch.setattr(bench, "OPERATIONS", {name: OPERATIONS[name] for name in operations})
    expected = bench.replay_recordings({name: raw[name] for name in operations})
    assert {(one.implementation, one.metric) for one in replays} == set(expected)
    for one in replays:
        if one.implementation != bench.OVERALL or len(operations) == len(OPERATIONS):  # its count is of all of them
            found = [one.samples[place] for place in places]
            assert found == pytest.approx(expected[one.implementation, one.metric], rel=1e-6), one.implementation

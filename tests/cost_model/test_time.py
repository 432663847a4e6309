"""Bounds on time against hand-worked values, brute force, and laws."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cost_model import Machine, Settings, Shape, Tables, load_tables, plan
from reference_impls.cost_model.planning import bits_per_weight
from reference_impls.cost_model.time import (
    attention_flops,
    dense_flops,
    flops_rate,
    pairs,
    step,
    tokens_per_target_step,
)

TABLES = load_tables()
BF16, KV = TABLES.weights["bf16"], TABLES.kv["bf16"]
EVEN = Machine(
    memory_bytes=1e12, read_bytes_per_s=1e12, bfloat16_flops_per_s=1e14, link_bytes_per_s=1e10, usable_share=1
)
NAMES = ["llama-3-8b", "deepseek-v2-lite", "mixtral-8x7b", "jamba-v0.1", "gemma-2-9b", "mistral-7b-v0.1", "mamba-2.8b"]


def brute_pairs(context: int, added: int, window: int) -> int:
    """Count them one by one."""
    total = 0
    for query in range(context - added, context):
        total += sum(1 for key in range(query + 1) if not window or query - key < window)
    return total


@pytest.mark.parametrize(("context", "added"), [(1, 1), (7, 1), (7, 7), (9, 4)])
@pytest.mark.parametrize("window", [0, 1, 3, 7, 50])
def test_pairs_as_counted_one_by_one(context: int, added: int, window: int) -> None:
    assert pairs(context, added, window) == brute_pairs(context, added, window)


def test_prefill_attention_is_half_of_the_full_square_for_long_prompts() -> None:
    """4 B H S^2 D / 2 for causal attention, in every layer."""
    shape = TABLES.shape("llama-3-8b")
    full = 4 * 32 * 8192**2 * 128 * 32
    assert attention_flops(shape, 8192, 8192) == pytest.approx(full / 2, rel=2e-4)


def test_latent_attention_is_cheaper_unfolded_for_prompts_and_folded_for_single_tokens() -> None:
    shape = TABLES.shape("deepseek-v3")
    assert attention_flops(shape, 1000, 1) == 61 * 1000 * 2 * 128 * (2 * 512 + 64)
    assert attention_flops(shape, 1000, 1000) == 61 * 500_500 * 2 * 128 * (128 + 64 + 128)


def test_dense_work_is_two_operations_a_weight() -> None:
    shape = TABLES.shape("gpt2")
    linear = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert dense_flops(shape, 10, 1) == 2 * (10 * linear + 50257 * 768)


@pytest.mark.parametrize(("form", "tokens_per_s"), [("bf16", 286), ("int8", 528), ("int4-g128", 886)])
def test_llama_3_8b_on_a_bandwidth_of_4_3_tb_per_s_by_hand(form: str, tokens_per_s: float) -> None:
    """6.98e9 weights in linear layers at 16, 8.00, 4.25 bits, and 0.525e9 in the head at 16: 15.0, 8.03, 4.76 GB."""
    machine = Machine(memory_bytes=1.4e11, read_bytes_per_s=4.3e12, bfloat16_flops_per_s=7.9e14)
    found = plan(TABLES.shape("llama-3-8b"), machine, TABLES.weights[form], KV, Settings(context=1))
    bits = {"bf16": 16, "int8": 8, "int4-g128": 4.25}[form]
    by_hand = 4.3e12 / (6_979_321_856 * bits / 8 + 128_256 * 4096 * 2)
    assert found.tokens_per_s == pytest.approx(by_hand, rel=2e-3)  # scales of int8's rows, norms, one token's cache
    assert found.tokens_per_s == pytest.approx(tokens_per_s, rel=0.025)


def test_crossover_batch_is_that_of_the_roofline() -> None:
    """Weight-only decode turns from reading to arithmetic at B = (F / BW) * bits / 16."""
    shape = replace(TABLES.shape("llama-3-8b"), vocab=1)
    machine = replace(EVEN, read_bytes_per_s=4.3e12, bfloat16_flops_per_s=7.9e14)
    assert pytest.approx(184, abs=0.5) == 7.9e14 / 4.3e12
    for form, expected in (("bf16", 184), ("int4-g128", 184 * 4.25 / 16)):
        limits = [
            step(shape, machine, TABLES.weights[form], TABLES.kv["int2-g32"], Settings(1, batch), 1, 1, 0).limit
            for batch in (int(expected * 0.95), int(expected * 1.08))
        ]
        assert limits == ["bandwidth", "compute"]


def test_a_missing_rate_falls_back_to_the_next_wider_and_an_unknown_one_bounds_nothing() -> None:
    a100, phone = TABLES.machine("a100-sxm-80gb"), TABLES.machine("snapdragon-8-elite")
    assert flops_rate(a100, "float8") == a100.bfloat16_flops_per_s
    assert flops_rate(a100, "int8") == a100.int8_flops_per_s > a100.bfloat16_flops_per_s
    found = plan(TABLES.shape("llama-3.2-1b"), phone, BF16, KV, Settings(context=2048))
    assert found.prefill.compute_s == 0
    assert found.prefill.limit == "bandwidth"


def expected_tokens(acceptance: float, drafts: int) -> float:
    """Mean length over every sequence of accepted and rejected drafts, with its probability."""
    total = 0.0
    for outcome in product((True, False), repeat=drafts):
        chance = 1.0
        for accepted in outcome:
            chance *= acceptance if accepted else 1 - acceptance
        run = next((at for at, accepted in enumerate(outcome) if not accepted), drafts)
        total += chance * (run + 1)
    return total


@pytest.mark.parametrize("acceptance", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("drafts", [0, 1, 4, 7])
def test_tokens_a_step_by_enumeration(acceptance: float, drafts: int) -> None:
    assert tokens_per_target_step(acceptance, drafts) == pytest.approx(expected_tokens(acceptance, drafts))


def test_speculation_where_reading_bounds_gains_tau_over_one_plus_gamma_c() -> None:
    settings = Settings(context=64, draft_length=4, acceptance=0.8, draft_cost=0.05)
    found = plan(TABLES.shape("llama-3-8b"), EVEN, BF16, KV, settings)
    tau = 1 + 0.8 + 0.8**2 + 0.8**3 + 0.8**4
    assert found.decode.limit == "bandwidth"
    assert found.speculation_speedup == pytest.approx(tau / (1 + 4 * 0.05))


def test_speculation_where_arithmetic_bounds_loses() -> None:
    settings = Settings(context=64, batch=4096, draft_length=4, acceptance=0.8, draft_cost=0.05)
    found = plan(TABLES.shape("llama-3-8b"), EVEN, BF16, KV, settings)
    assert found.decode.limit == "compute"
    assert found.speculation_speedup < 1


def test_streaming_takes_what_is_missing_over_the_link() -> None:
    shape, machine = TABLES.shape("llama-3-8b"), replace(EVEN, memory_bytes=10e9)
    found = plan(shape, machine, BF16, KV, Settings(context=64, offload=True))
    assert found.fits
    assert found.streamed_bytes == pytest.approx(found.total_bytes - 10e9)
    assert found.decode.link_s == pytest.approx(found.streamed_bytes / 1e10)
    assert found.decode.limit == "link"
    assert not plan(shape, replace(machine, link_bytes_per_s=0), BF16, KV, Settings(context=64, offload=True)).fits


MODELS = st.sampled_from(NAMES)
FORMS = st.sampled_from(sorted(TABLES.weights))
SETTINGS = st.builds(
    Settings,
    context=st.integers(1, 200_000),
    batch=st.integers(1, 500),
    offload=st.booleans(),
    draft_length=st.integers(0, 8),
    acceptance=st.floats(0, 1),
    draft_cost=st.floats(0, 1),
)


@given(name=MODELS, form=FORMS, settings=SETTINGS)
def test_a_better_machine_is_never_slower(name: str, form: str, settings: Settings) -> None:
    shape, weights = TABLES.shape(name), TABLES.weights[form]
    base = plan(shape, EVEN, weights, KV, settings)
    for better in (
        replace(EVEN, read_bytes_per_s=2e12),
        replace(EVEN, bfloat16_flops_per_s=2e14),
        replace(EVEN, link_bytes_per_s=2e10),
        replace(EVEN, memory_bytes=2e12),
    ):
        found = plan(shape, better, weights, KV, settings)
        assert found.prefill_s <= base.prefill_s
        assert found.decode_s <= base.decode_s
        assert found.fits >= base.fits


@given(name=MODELS, form=FORMS, settings=SETTINGS)
def test_a_step_is_its_longest_part_and_more_work_takes_no_less(name: str, form: str, settings: Settings) -> None:
    shape, weights = TABLES.shape(name), TABLES.weights[form]
    found = plan(shape, EVEN, weights, KV, settings)
    for one in (found.prefill, found.decode):
        parts = {"bandwidth": one.read_s, "compute": one.compute_s, "link": one.link_s}
        assert one.seconds == max(parts.values()) == parts[one.limit]
    longer = plan(shape, EVEN, weights, KV, replace(settings, context=settings.context + 1000))
    assert longer.prefill_s >= found.prefill_s
    assert longer.decode.seconds >= found.decode.seconds * (1 - 1e-12)
    assert found.tokens_per_s == pytest.approx(settings.batch / found.decode_s)


def test_all_experts_are_read_by_large_batches_and_few_by_one_token(tables: Tables) -> None:
    shape: Shape = tables.shape("mixtral-8x7b")
    one, many = (plan(shape, EVEN, BF16, KV, Settings(context=1, batch=batch)).decode.read_bytes for batch in (1, 256))
    assert one == pytest.approx(2 * 12.88e9 - 2 * 32000 * 4096, rel=0.01)  # what one token uses, less the embedding
    assert many == pytest.approx(2 * 46.7e9, rel=0.01)


def test_bits_a_weight_include_scales() -> None:
    assert bits_per_weight(TABLES.shape("llama-3-8b"), TABLES.weights["int4-g128"]) == 4.25

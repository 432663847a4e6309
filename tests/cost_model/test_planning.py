"""What fits, for how long, what is advised, and in which order options come."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cost_model import Machine, Settings, load_tables, plan, rank
from reference_impls.cost_model.planning import longest_context
from reference_impls.cost_model.words import ADVICE, LIMITS, PARTS

TABLES = load_tables()
BF16, KV = TABLES.weights["bf16"], TABLES.kv["bf16"]
LLAMA = TABLES.shape("llama-3.1-8b")
RTX = TABLES.machine("rtx-4090")


def test_parts_add_up_to_the_whole() -> None:
    found = plan(LLAMA, RTX, BF16, KV, Settings(draft_length=3, draft_cost=0.2))
    assert sum(getattr(found, part) for part in PARTS) == found.total_bytes
    assert found.usable_bytes == 0.9 * 24 * 2**30
    assert found.spare_bytes == found.usable_bytes - found.total_bytes
    assert found.fits == (found.spare_bytes >= 0)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-12b-text", "mistral-7b-v0.3", "deepseek-v2-lite"])
@pytest.mark.parametrize("offload", [False, True])
def test_the_longest_context_fits_and_one_token_more_does_not(model: str, offload: bool) -> None:
    shape, form = TABLES.shape(model), TABLES.weights["int4-g128"]
    settings = Settings(context=8192, offload=offload)  # past the piece of a prompt that working memory counts
    longest = plan(shape, RTX, form, KV, settings).longest_context
    assert 8192 < longest < inf
    assert plan(shape, RTX, form, KV, replace(settings, context=int(longest))).fits
    assert not plan(shape, RTX, form, KV, replace(settings, context=int(longest) + 1)).fits


def test_a_context_within_the_window_is_bounded_like_any_other() -> None:
    """2 sequences of 26 layers of 1 head of 256 in 16 bits: 1,024 bytes a token, layer and sequence."""
    shape = TABLES.shape("gemma-3-1b")
    assert longest_context(shape, KV, Settings(batch=2), 26 * 1024 * 2 * 100) == 100
    assert longest_context(shape, KV, Settings(batch=2), 26 * 1024 * 2 * 512 + 4 * 1024 * 2 * 88) == 600
    assert longest_context(shape, KV, Settings(), -1) == 0


def test_a_cache_that_does_not_grow_has_no_longest_context() -> None:
    assert plan(TABLES.shape("mamba-2.8b"), RTX, BF16, KV, Settings()).longest_context == inf
    assert plan(TABLES.shape("mistral-7b-v0.1"), RTX, BF16, KV, Settings()).longest_context == inf


@pytest.mark.parametrize(
    ("model", "machine", "weights", "settings", "advice"),
    [
        ("llama-3.1-70b", "rtx-4090", "bf16", Settings(), "fewer-weight-bits"),
        ("llama-2-7b", "rtx-4090", "int8", Settings(context=4096, batch=32), "fewer-kv-bits"),
        ("llama-2-7b", "rtx-4090", "bf16", Settings(context=24_000), "shorter"),
        ("llama-3.1-70b", "rtx-4090", "int4-g128", Settings(offload=True), "stop-streaming"),
        ("llama-3.1-8b", "h100-sxm", "bf16", Settings(context=128, batch=1024), "compute-bound"),
        ("llama-2-7b", "h200-sxm", "int4-g128", Settings(context=4096, batch=16), "cache-bound"),
        ("llama-3.1-8b", "rtx-4090", "bf16", Settings(context=8192), "weights-bound"),
        ("llama-3.1-8b", "h200-sxm", "bf16", Settings(context=8192), "weights-bound-room"),
    ],
)
def test_advice_follows_what_binds(model: str, machine: str, weights: str, settings: Settings, advice: str) -> None:
    found = plan(TABLES.shape(model), TABLES.machine(machine), TABLES.weights[weights], KV, settings)
    assert found.advice == advice


def test_every_key_has_words() -> None:
    plans = [
        plan(row.shape, machine.machine, BF16, KV, Settings(offload=offload, batch=batch))
        for row in [*TABLES.models.values()][::9]
        for machine in TABLES.machines.values()
        for offload in (False, True)
        for batch in (1, 512)
    ]
    assert {one.advice for one in plans} <= set(ADVICE)
    assert {one.decode.limit for one in plans} | {one.prefill.limit for one in plans} == set(LIMITS)


@given(
    name=st.sampled_from(["llama-3.1-8b", "mixtral-8x7b", "gemma-2-9b"]),
    memory=st.floats(4e9, 2e11),
    context=st.integers(1, 100_000),
)
def test_options_fit_are_in_order_and_none_is_left_out(name: str, memory: float, context: int) -> None:
    shape, machine = TABLES.shape(name), Machine(memory_bytes=memory, read_bytes_per_s=1e12)
    settings = Settings(context=context)
    found = rank(shape, machine, TABLES.weights, TABLES.kv, settings)
    keys = [(-one.weight_bits, -one.kv_bits, one.plan.decode_s) for one in found]
    assert keys == sorted(keys)
    assert all(one.plan.fits for one in found)
    pairs = {(one.weights, one.kv) for one in found}
    for weights, form in TABLES.weights.items():
        for kv, kv_form in TABLES.kv.items():
            narrow = form.bits <= 16 and kv_form.bits <= 16
            assert ((weights, kv) in pairs) == (narrow and plan(shape, machine, form, kv_form, settings).fits)

"""Counts of weights against publishers' counts, this package's decoder, and transformers' own models."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from reference_impls.cost_model import Shape, Tables
from reference_impls.cost_model.parameters import active_parameters, embedding_weights, total_parameters
from reference_impls.models.shapes import SHAPES, empty_model
from tests.cost_model.conftest import shape_of


def test_every_count_is_within_one_percent_of_the_publishers(tables: Tables) -> None:
    off = {
        name: total_parameters(row.shape) / row.published_parameters - 1
        for name, row in tables.models.items()
        if abs(total_parameters(row.shape) / row.published_parameters - 1) > 0.01
    }
    assert off == {}


def test_most_counts_agree_to_the_last_digit(tables: Tables) -> None:
    exact = [name for name, row in tables.models.items() if total_parameters(row.shape) == row.published_parameters]
    assert len(exact) >= 100  # of 111; the rest are published rounded


def printed_unit(value: float) -> float:
    """The place of the last digit that is not zero: 3.3e9 -> 1e8."""
    unit = 1.0
    while value % (unit * 10) == 0:
        unit *= 10
    return unit


def test_active_counts_are_the_publishers_rounded(tables: Tables) -> None:
    """Publishers differ on whether the input embedding counts, so either may be meant."""
    checked = 0
    for name, row in tables.models.items():
        if not row.published_active:
            continue
        with_embedding = active_parameters(row.shape)
        allowed = printed_unit(row.published_active) / 2 + 0.01 * row.published_active
        counts = (with_embedding, with_embedding - embedding_weights(row.shape))
        off = [abs(count - row.published_active) for count in counts]
        assert min(off) <= allowed, name
        checked += 1
    assert checked >= 12


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_this_packages_decoder_has_as_many(name: str) -> None:
    model = empty_model(SHAPES[name], torch.float32, "meta")
    held = {id(weight): weight.numel() for weight in model.parameters()}
    assert total_parameters(shape_of(SHAPES[name])) == sum(held.values())


def test_the_table_and_the_decoder_describe_the_same_models(tables: Tables) -> None:
    for name in ("tiny-target", "tiny-draft", "smollm2-135m", "llama-3-8b"):
        assert tables.shape(name) == shape_of(SHAPES[name])


BASE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
PLAIN = Shape(hidden=32, vocab=96, global_layers=4, dense_layers=4, heads=4, kv_heads=2, head_dim=8, ffn=48)
NEOX = {"bias": True, "norm_vectors": 4, "final_norm_vectors": 2, "ffn_matrices": 2}
GROUPED = {"num_key_value_heads": 2}
LATENT = {
    "kv_lora_rank": 12, "q_lora_rank": 10, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 6,
    "num_key_value_heads": 4, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 20,
    "n_shared_experts": 2, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
LATENT_SHAPE = replace(
    PLAIN, kv_heads=4, kv_rank=12, query_rank=10, rope_dim=4, value_dim=6, dense_layers=1, moe_layers=3, experts=8,
    active_experts=2, expert_ffn=20, shared_ffn=40,
)  # fmt: skip
ARCHITECTURES: dict[str, tuple[dict[str, Any], Shape]] = {
    "Llama": (GROUPED, PLAIN),
    "Qwen2": (GROUPED, replace(PLAIN, qkv_bias=True)),
    "Qwen3": ({**GROUPED, "head_dim": 16}, replace(PLAIN, head_dim=16, qk_norm=32)),
    "Gemma2": (
        {**GROUPED, "head_dim": 16, "sliding_window": 8},
        replace(PLAIN, head_dim=16, tied=True, norm_vectors=4, global_layers=2, window_layers=2, window=8),
    ),
    "Mixtral": (
        {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
        replace(PLAIN, dense_layers=0, moe_layers=4, experts=4, active_experts=2, expert_ffn=48),
    ),
    "DeepseekV3": (LATENT, LATENT_SHAPE),  # its balancing biases are buffers there, weights in the published count
    "DeepseekV2": ({**LATENT, "q_lora_rank": None}, replace(LATENT_SHAPE, query_rank=0)),
    "GptOss": (
        {**GROUPED, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
        replace(
            PLAIN, bias=True, dense_layers=0, moe_layers=4, experts=4, active_experts=2, expert_ffn=48,
            extra=4 * (4 + 4),  # biases of routers and sinks of heads
        ),
    ),
    "GPTNeoX": ({}, replace(PLAIN, kv_heads=4, **NEOX)),
    "Phi": (
        {},
        replace(PLAIN, kv_heads=4, bias=True, final_norm_vectors=2, ffn_matrices=2, extra=96),
    ),
    "Starcoder2": (GROUPED, replace(PLAIN, tied=True, **NEOX)),
    "Olmo2": (GROUPED, replace(PLAIN, qk_norm=32 + 16)),
    "GPT2": (
        {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "n_inner": 48},
        replace(PLAIN, kv_heads=4, tied=True, positions=64, **NEOX),
    ),
    "OPT": (
        {"ffn_dim": 48, "word_embed_proj_dim": 32},
        replace(PLAIN, kv_heads=4, tied=True, positions=66, **NEOX),
    ),
    "Bloom": (
        {"n_layer": 4, "n_head": 4},
        replace(PLAIN, kv_heads=4, tied=True, ffn=128, extra=64, **NEOX),
    ),
    "Mamba": (
        {"state_size": 4, "conv_kernel": 3, "time_step_rank": 5, "intermediate_size": 64},
        Shape(
            hidden=32, vocab=96, tied=True, state_layers=4, state_inner=64, state_size=4, state_conv=3, state_rank=5,
            norm_vectors=1,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_transformers_builds_as_many(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the oracle of architectures is not installed")
    given, shape = ARCHITECTURES[name]
    config = getattr(transformers, f"{name}Config")(**{**BASE, **given})
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == total_parameters(shape)

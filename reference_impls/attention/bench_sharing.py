"""Heads that share keys and values: the time of attending to a cache that they make smaller, and published shapes."""

from functools import partial

import torch

from reference_impls.attention import gqa, mla
from reference_impls.attention.bench_time import DIM, HEADS, done
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.models.attend import grouped_attention
from reference_impls.pruning.bench_models import Way, value_case

CACHED = 8192
SHARED = {"separate-heads": HEADS, "groups-of-4": 8, "one-head": 1}
"""Name -> heads of keys and values."""
V2_LAYERS, V2 = 60, mla.Config(hidden=5120, heads=128, head_dim=128, latent=512, rope_dim=64)
OLDER_LAYERS, OLDER_HEADS = 95, 8
"""DeepSeek-V2, and the DeepSeek of 67 billion parameters before it, whose heads are of 128 too."""


def cases() -> list[Case]:
    """Bytes, then times."""
    return [_published_case(), _decode_case()]


def _published_case() -> Case:
    older = OLDER_LAYERS * gqa.cache_numbers(OLDER_HEADS, V2.head_dim)
    latents = V2_LAYERS * mla.cache_numbers(V2)

    def way(name: str, module: str | None, numbers: int, bits: int) -> Way:
        role: Role = "method" if module else "baseline"
        return Way(name, lambda *_: numbers * bits / 8, module, role, "packed")

    return value_case(
        "attention/published/deepseek-v2/kv_bytes",
        "Cache of one token of DeepSeek-V2 and of the model before it, by their shapes",
        "kv_bytes",
        [
            way("deepseek-67b", None, older, 16),
            way("latents-16-bit", "mla", latents, 16),
            way("latents-6-bit", "mla", latents, 6),
        ],
        {"model": "the shapes of DeepSeek-V2 and DeepSeek 67B", "context_length": 1},
        why="bytes follow from the shape",
    )


def _decode_case() -> Case:
    return Case(
        id=f"attention/decode-heads-cpu/context-{CACHED}/step_time",
        title=f"Attention of one new token over {CACHED} cached ones, {HEADS} query heads, by heads of keys and values",
        metric="step_time",
        workload={"batch": 1, "cached_tokens": CACHED, "heads": HEADS, "head_dim": DIM, "dtype": "float32"},
        implementations=tuple(
            Implementation(
                name,
                "baseline" if kv_heads == HEADS else "method",
                "kernel",
                partial(_attend, kv_heads),
                limit=partial(_read_limit, kv_heads),
                module=None if kv_heads == HEADS else "gqa",
                note=f"{kv_heads} of {HEADS} heads have keys and values" if kv_heads < HEADS else "",
            )
            for name, kv_heads in SHARED.items()
        ),
        timed=True,
        devices=("cpu",),
    )


def _attend(kv_heads: int, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    length, generator = int(work["cached_tokens"] or 1), torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(1, heads, tokens, DIM, generator=generator)
        for heads, tokens in ((HEADS, 1), (kv_heads, length), (kv_heads, length))
    )
    return lambda: done(grouped_attention(queries, keys, values))


def _read_limit(kv_heads: int, work: Workload, ceilings: Ceilings) -> Limit | None:
    if ceilings.read_bytes_per_s is None:
        return None
    moved = gqa.cache_numbers(kv_heads, DIM) * int(work["cached_tokens"] or 1) * 4
    return Limit(moved / ceilings.read_bytes_per_s, "2 * kv_heads * cached_tokens * head_dim numbers / read bandwidth")

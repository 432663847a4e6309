"""Bytes that follow from published shapes, and bytes really held of a prompt longer than the models here read."""

from functools import cache, partial
from typing import Any

import torch

from reference_impls.kv_cache import evict, kivi, snapkv, streaming_llm
from reference_impls.kv_cache.compose import compose
from reference_impls.kv_cache.evaluate import fill
from reference_impls.kv_cache.evict import Layer
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Case
from reference_impls.models.shapes import SHAPES
from reference_impls.pruning.bench_models import Way, value_case

OPT_175B = CacheShape(layers=96, batch=1, kv_heads=96, head_dim=128, capacity=2048, dtype=torch.float16)
OPT_TOKENS = 512
LONG, BUDGET, WINDOW = 16_384, 1024, 16
FORMULA = "bytes follow from the shape"


def cases() -> list[Case]:
    """A request of OPT-175B, and a long prompt."""
    return [_opt_case(), _long_case()]


# OPT-175B.


def _opt_case() -> Case:
    hidden = OPT_175B.kv_heads * OPT_175B.head_dim
    return value_case(
        "kv_cache/published/opt-175b/kv_bytes",
        f"A request of {OPT_TOKENS} tokens of OPT-175B, by its shape",
        "kv_bytes",
        [
            Way("half-precision", lambda *_: float(OPT_175B.bytes_per_token * OPT_TOKENS), "shape", effect="packed"),
            Way(
                "formula",
                lambda *_: 4.0 * OPT_175B.layers * hidden * OPT_TOKENS,
                role="baseline",
                effect="packed",
            ),
        ],
        {"model": "the shape of OPT-175B", "context_length": OPT_TOKENS, "dtype": "float16"},
        why=FORMULA,
    )


# A long prompt.


def long_shape() -> CacheShape:
    """Of the tiny target, with numbers of 16 bits and room for the prompt."""
    c = SHAPES["tiny-target"]
    return CacheShape(c.layers, 1, c.kv_heads, c.head_dim, LONG, torch.float16, rope_theta=c.rope_theta)


@cache
def long_prompt() -> list[Layer]:
    """Random keys, values and votes: how many bytes are kept does not depend on them."""
    s, generator = long_shape(), torch.Generator().manual_seed(0)
    slots = torch.arange(LONG).expand(1, s.kv_heads, -1)
    made = []
    for _ in range(s.layers):
        keys, values = (torch.randn(1, s.kv_heads, LONG, s.head_dim, generator=generator).half() for _ in range(2))
        shares = torch.rand(1, s.kv_heads, WINDOW, LONG, generator=generator)
        made.append(Layer(keys, values, slots, shares.sum(2), shares, LONG))
    return made


def _bytes_of(name: str, _model: str, _seed: int) -> float:
    """Held once the prompt is in."""
    shape, chosen = long_shape(), snapkv.Config(BUDGET, WINDOW)
    own: Any
    if name == "snapkv":
        own = evict.new_cache(shape, snapkv, chosen)
    elif name == "streaming-llm":
        own = evict.new_cache(shape, streaming_llm, streaming_llm.Config(BUDGET))
    elif name == "snapkv-4-bit":
        own = compose(shape, ("snapkv", chosen), ("kivi", kivi.Config(4)))
    else:
        own = kivi.new_cache(shape, kivi.IDENTITY if name == "full" else kivi.Config(2, recent_tokens=128))
    fill(own, long_prompt())
    return float(own.nbytes)


def _long_case() -> Case:
    modules = {"snapkv": "snapkv", "streaming-llm": "streaming_llm", "kivi-2": "kivi", "snapkv-4-bit": "compose"}
    return value_case(
        f"kv_cache/long-prompt/context-{LONG}/kv_bytes",
        f"Bytes held of a prompt of {LONG} tokens, {BUDGET} of them kept, or all in 2 bits",
        "kv_bytes",
        [
            Way("full", partial(_bytes_of, "full"), role="baseline", effect="packed"),
            *(Way(name, partial(_bytes_of, name), module, effect="packed") for name, module in modules.items()),
        ],
        {
            "model": "the shape of tiny-target, random keys and values",
            "context_length": LONG,
            "budget": BUDGET,
            "recent_tokens": 128,
            "cache_dtype": "float16",
        },
        why="bytes follow from the method",
    )

"""The texts that decoding is timed on, for this package's decoders and for peers alike."""

import torch
from torch import Tensor

from reference_impls.models.decoder import Config
from reference_impls.models.shapes import SHAPES
from reference_impls.quantization.bench_quality import tokens_of

CACHED = 64
"""Tokens in the cache of a measured decode step."""
RANDOM = {
    "random-350m": Config(32_000, 1024, layers=24, heads=16, kv_heads=16, head_dim=64, ffn=2816, tied=True),
    "random-8b": SHAPES["llama-3-8b"],
}


def prompt_of(model: str, batch: int) -> Tensor:
    """Real text, each sequence of the batch from another place; random tokens for random weights. -> (batch, seq)"""
    seq = CACHED + 1
    if model in RANDOM:
        generator = torch.Generator().manual_seed(0)
        return torch.randint(RANDOM[model].vocab, (batch, seq), generator=generator)
    return torch.stack([tokens_of(model)[start * 16 : start * 16 + seq] for start in range(batch)])

"""What the tests share: weights, inputs with the correlations and outliers of real ones, and a small decoder."""

import torch
from torch import Tensor, nn

from reference_impls.models.decoder import Config, Decoder

SHAPES = ((8, 32), (33, 64), (16, 96))  # (out, in)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weight_of(out: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(out, width, generator=seeded(seed), dtype=torch.float64).to(dtype)


def inputs_of(rows: int, width: int, seed: int = 1, outliers: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Correlated inputs; the first `outliers` channels are 30 times as large."""
    generator = seeded(seed)
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    inputs = torch.randn(rows, width, generator=generator, dtype=torch.float64) @ (mix + 0.3 * torch.eye(width))
    inputs[:, :outliers] *= 30
    return inputs.to(dtype)


def small_decoder(seed: int = 0, dtype: torch.dtype = torch.float32) -> Decoder:
    """Two blocks of width 64 with norms that are not all ones."""
    model = Decoder(Config(vocab=50, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn=96))
    generator = seeded(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator) * 0.2
        nn.init.constant_(parameter, 0)
        parameter.data += values + 1 if "norm" in name else values
    return model.to(dtype).eval().requires_grad_(False)


def tokens_of(batch: int = 2, seq: int = 12, seed: int = 3) -> Tensor:
    return torch.randint(0, 50, (batch, seq), generator=seeded(seed))

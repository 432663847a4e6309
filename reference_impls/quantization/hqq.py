"""HQQ: without data, move each group's zero_point so that most weights are served, not the largest errors.

Paper: "Half-Quadratic Quantization of Large Machine Learning Models", Mobius Labs, 2023 (no arXiv id).
Idea: a norm below 1 lets outliers be wrong; with errors split off as a variable, both steps are closed forms.
Symbols: p = exponent of the error norm, beta = weight of the split, growing by kappa; Z = zero_point, not whole.
Simplified: the scale stays as the range gives it, as in the report; stopping is per group, by its own error.
Differs: each group keeps the zero_point of its least error so far, where the report stops all groups together.
Cost: bits + 32 / group_size bits a weight in 16-bit models; `steps` passes over the weight, no calibration.
Checked against: the hqq package where installed (mean error), the shrinkage operator by search, RTN's error.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import (
    GridConfig,
    GridWeight,
    choose_scale,
    decode,
    decode_weight,
    group,
    round_to_codes,
)


@dataclass(frozen=True)
class Config(GridConfig):
    """The shared grid (never symmetric: zero_point is what is fitted) and the solver."""

    group_size: int | None = 64
    p: float = 0.7
    beta: float = 10.0
    kappa: float = 1.01
    steps: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.symmetric:
            raise ValueError("hqq fits the zero_point: symmetric must be False, got True")
        if not 0 < self.p <= 1:
            raise ValueError(f"p must be above 0 and at most 1, got {self.p}")
        if self.beta <= 0 or self.kappa < 1 or self.steps < 0:
            raise ValueError(f"beta > 0, kappa >= 1, steps >= 0; got {self.beta}, {self.kappa}, {self.steps}")


def shrink(errors: Tensor, beta: float, p: float) -> Tensor:
    """The part of each error that the norm puts up with; small errors give 0. errors: any shape -> the same"""
    size = errors.abs()
    root = (size.clamp(min=1e-30).log() * (p - 1)).exp()  # size ** (p - 1), which takes twice as long
    return errors.sign() * (size - root / beta).clamp(min=0)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> GridWeight:  # noqa: ARG001
    """weight: (out, in) -> codes: (out, groups, group_size), with zero_points that are not whole"""
    grouped = group(weight.detach(), config.group_size)
    values = grouped.to(torch.promote_types(weight.dtype, torch.float32))
    scale, zero_point = choose_scale(grouped, config)
    best, least, beta = zero_point, torch.full_like(scale, torch.inf, dtype=values.dtype), config.beta
    for step in range(config.steps + 1):
        codes = round_to_codes(values, scale, zero_point, config)
        decoded = decode(codes, scale, zero_point)
        error = (values - decoded).abs().mean(2, keepdim=True)
        best, least = torch.where(error < least, zero_point, best), torch.minimum(error, least)
        if step < config.steps:
            tolerated = shrink(values - decoded, beta, config.p)
            shifted = codes - (values - tolerated) / scale.to(values.dtype)
            zero_point = shifted.mean(2, keepdim=True).to(weight.dtype)  # second step
            beta *= config.kappa
    codes = round_to_codes(values, scale, best, config)
    return GridWeight(codes, scale, best, config.bits, symmetric=False, dtype=weight.dtype)


def dequantize(quantized: GridWeight) -> Tensor:
    """-> (out, in)"""
    return decode_weight(quantized)

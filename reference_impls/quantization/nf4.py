"""NF4: sixteen levels at the quantiles of a normal distribution, and scales that are rounded themselves.

Paper: arXiv 2305.14314 (QLoRA), section 3, eq. 4 and "Double Quantization"; levels as in its appendix E.
Idea: trained weights are nearly normal, so levels with equal shares of a normal waste no code; 0 has a code of its own.
Symbols: absmax = scale of a group, since the levels reach from -1 to 1.
Simplified: one code a byte and no fused kernel, so it shows the error and counts the bits, not the speed.
Differs: groups lie along rows, not along the flattened weight; scales are rounded to a uniform int8 grid around
    their mean where the authors' library uses an 8-bit float.
Cost: 4 + 32 / group_size bits a weight; doubly quantized 4 + 8 / group_size + 64 / (group_size * 256).
Checked against: the levels in the paper's appendix E; bitsandbytes where installed; nearest level by exhaustive search.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import group

SCALES_PER_GROUP = 256


@dataclass(frozen=True)
class Config:
    """Weights that share an absmax, and whether absmax is rounded too."""

    group_size: int = 64
    double: bool = True

    def __post_init__(self) -> None:
        if self.group_size < 1:
            raise ValueError(f"group_size must be at least 1, got {self.group_size}")


@dataclass(frozen=True)
class RoundedScales:
    """Scales in 8 bits: mean + code * step for each run of 256."""

    codes: Tensor  # (runs, 256), int8
    step: Tensor  # (runs, 1), float32
    mean: Tensor  # (runs, 1), float32


@dataclass(frozen=True)
class Nf4Weight:
    """Codes into the sixteen levels, with scales plain or rounded."""

    codes: Tensor  # (out, groups, group_size), uint8: 0 .. 15
    absmax: Tensor | RoundedScales  # (out, groups, 1) float32, or rounded
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.codes.shape[0], self.codes.shape[1] * self.codes.shape[2]

    @property
    def bits_per_weight(self) -> float:
        """Codes and scales, per weight; padding of the last run of scales is not stored."""
        scales = self.codes.shape[0] * self.codes.shape[1]
        bits = scales * 32 if isinstance(self.absmax, Tensor) else scales * 8 + self.absmax.step.numel() * 64
        return 4 + bits / self.codes.numel()


def levels(device: torch.device | None = None) -> Tensor:
    """Eq. 4, made of two halves that share the 0: 7 quantiles below it and 8 above, scaled to [-1, 1]. -> (16,)"""
    edge = (31 / 32 + 29 / 30) / 2  # the outermost quantile: halfway between those that 16 and 15 levels would take
    positive = torch.special.ndtri(torch.linspace(0.5, edge, 9, dtype=torch.float64))
    negative = -torch.special.ndtri(torch.linspace(edge, 0.5, 8, dtype=torch.float64))
    both = torch.cat([negative[:-1], positive])
    return (both / both.max()).float().to(device)


def round_scales(scales: Tensor) -> RoundedScales:
    """Double quantization. scales: (out, groups, 1) -> int8 codes: (runs, 256), the last run padded with its end"""
    flat = scales.flatten()
    missing = -len(flat) % SCALES_PER_GROUP
    runs = pad(flat[None], (0, missing), mode="replicate")[0] if missing else flat
    runs = runs.view(-1, SCALES_PER_GROUP)
    mean = runs.mean(1, keepdim=True)
    step = ((runs - mean).abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return RoundedScales(((runs - mean) / step).round().to(torch.int8), step, mean)


def restore_scales(rounded: RoundedScales, count: int) -> Tensor:
    """-> (count,) scales, never below zero"""
    return (rounded.mean + rounded.codes * rounded.step).flatten()[:count].clamp(min=0)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Nf4Weight:  # noqa: ARG001
    """weight: (out, in) -> codes: (out, groups, group_size). The statistics are not used."""
    grouped = group(weight.detach(), config.group_size).float()
    absmax = grouped.abs().amax(2, keepdim=True)
    table = levels(weight.device)
    borders = (table[1:] + table[:-1]) / 2
    unit = grouped / absmax.clamp(min=torch.finfo(torch.float32).tiny)
    codes = torch.bucketize(unit, borders).to(torch.uint8)  # nearest level
    return Nf4Weight(codes, round_scales(absmax) if config.double else absmax, weight.dtype)


def dequantize(quantized: Nf4Weight) -> Tensor:
    """-> (out, in)"""
    absmax = quantized.absmax
    if isinstance(absmax, RoundedScales):
        out, groups, _ = quantized.codes.shape
        absmax = restore_scales(absmax, out * groups).view(out, groups, 1)
    return (levels(quantized.codes.device)[quantized.codes.long()] * absmax).flatten(1).to(quantized.dtype)

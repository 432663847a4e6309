"""SmoothQuant: move the range of the activations into the weights, then round both to 8 bits.

Paper: arXiv 2211.10438, section 4, eq. 3-4; its variant O1 (per-token activations).
Idea: a few input channels are far larger than the rest; divided by s they fit one scale, and the weights can bear s.
Symbols: s = input_scale (in,), alpha = share of the difficulty that moves to the weights.
Simplified: integer products are computed in floating point on dequantized values: the values, not the speed.
Differs: weights are rounded per channel, the paper's per tensor; s is not folded into the norm before unless
    `grid.fold_input_scale` is called.
Cost: 8 bits a weight and 16 / in for its scale; one more division of the inputs where s is not folded.
Checked against: the unsmoothed product in floating point; int32 arithmetic on the codes.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import GridConfig, GridWeight, decode_weight, fake_quantize_rows, round_weight

NEEDS = ("max_abs",)


@dataclass(frozen=True)
class Config:
    """How far to move the range; activations are always rounded per token."""

    bits: int = 8  # of weights and activations alike
    alpha: float = 0.5

    def __post_init__(self) -> None:
        GridConfig(self.bits)  # checks the bits
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be 0 to 1, got {self.alpha}")


def input_scale_of(max_abs: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """Eq. 4: s = max|X|**alpha / max|W|**(1 - alpha) of each channel; 1 where a channel is never used.

    max_abs: (in,); weight: (out, in), all layers that share the inputs stacked -> (in,)
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    of_inputs, of_weight = max_abs.to(wide), weight.to(wide).abs().amax(0)
    used = (of_inputs > 0) & (of_weight > 0)
    ones = torch.ones_like(of_inputs)
    raised = torch.where(used, of_inputs, ones) ** alpha / torch.where(used, of_weight, ones) ** (1 - alpha)
    return torch.where(used, raised, ones)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> GridWeight:
    """weight: (out, in) -> codes of weight * s: (out, 1, in), scales, and s as input_scale: (in,)"""
    if stats is None:
        raise ValueError("smoothquant needs the largest |x| of each input channel: calibrate first")
    weight = weight.detach()
    input_scale = input_scale_of(stats.max_abs, weight, config.alpha).to(weight.dtype)
    grid = GridConfig(config.bits, group_size=None, symmetric=True)
    return replace(round_weight(weight * input_scale, grid), input_scale=input_scale)


def dequantize(quantized: GridWeight) -> Tensor:
    """-> (out, in), with s divided out again"""
    return decode_weight(quantized)


def quantize_input(inputs: Tensor, quantized: GridWeight) -> Tensor:
    """Smoothed, rounded per token, and unsmoothed again. inputs: (batch.., in) -> the same shape"""
    input_scale = torch.ones_like(inputs[..., :1]) if quantized.input_scale is None else quantized.input_scale
    return fake_quantize_rows(inputs / input_scale.to(inputs.dtype), quantized.bits) * input_scale.to(inputs.dtype)

"""BitNet b1.58: weights of -1, 0 and 1, activations of 8 bits, trained through the rounding.

Paper: arXiv 2402.17764, section 2, eq. 1-3; training as in 2310.11453, section 2.2.
Idea: with three weights a product needs no multiplication; the model learns them, as gradients pass the rounding.
Symbols: gamma = mean |W|, the one scale of the tensor.
Simplified: the ternary product is computed in floating point: it shows the values and counts the bits, not the speed.
Differs: `BitLinear` has no normalisation inside: put the model's own before it; a trained ordinary model rounded this
    way without training (`quantize`) is ruined, as the method is for training.
Cost: 2 bits a weight as packed (1.58 of information); training keeps the full weights beside them.
Checked against: hand-worked rounding, the ternary product in integers, the gradient of the straight-through formula.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import GridConfig, GridWeight, decode_weight, fake_quantize_rows


@dataclass(frozen=True)
class Config:
    """Bits of the activations; the weights are ternary."""

    input_bits: int = 8

    def __post_init__(self) -> None:
        GridConfig(self.input_bits)  # checks the bits


@dataclass(frozen=True)
class TernaryWeight:
    """A 2-bit grid of which the codes 1, 2, 3 stand for -1, 0, 1 times gamma."""

    grid: GridWeight  # codes: (out, 1, in); scale: (1, 1, 1)
    input_bits: int

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.grid.shape

    @property
    def bits_per_weight(self) -> float:
        """2 bits a code and one scale."""
        return self.grid.bits_per_weight


def ternarize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 1-3. weight: (out, in) -> whole numbers -1, 0, 1: (out, in), and gamma: ()"""
    gamma = weight.abs().mean().clamp(min=torch.finfo(weight.dtype).tiny)
    return (weight / gamma).round().clamp(-1, 1), gamma


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> TernaryWeight:  # noqa: ARG001
    """weight: (out, in) -> codes: (out, 1, in). The statistics are not used."""
    ternary, gamma = ternarize(weight.detach())
    scale = gamma.view(1, 1, 1)
    codes = (ternary + 2).to(torch.uint8).unsqueeze(1)
    grid = GridWeight(codes, scale, torch.full_like(scale, 2), bits=2, symmetric=True, dtype=weight.dtype)
    return TernaryWeight(grid, config.input_bits)


def dequantize(quantized: TernaryWeight) -> Tensor:
    """-> (out, in)"""
    return decode_weight(quantized.grid)


def quantize_input(inputs: Tensor, quantized: TernaryWeight) -> Tensor:
    """Rounded per token. inputs: (batch.., in) -> the same shape"""
    return fake_quantize_rows(inputs, quantized.input_bits)


class BitLinear(nn.Linear):
    """A linear layer to train: forward is the rounded layer's, backward as if nothing had been rounded."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False, config: Config | None = None) -> None:
        super().__init__(in_features, out_features, bias)
        self.config = config or Config()

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        ternary, gamma = ternarize(self.weight.detach())
        weight = self.weight + (ternary * gamma - self.weight).detach()
        rounded = inputs + (fake_quantize_rows(inputs.detach(), self.config.input_bits) - inputs).detach()
        return linear(rounded, weight, self.bias)

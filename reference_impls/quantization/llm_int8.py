"""LLM.int8(): int8 products vector by vector, and the few outlier columns apart in 16 bits.

Paper: arXiv 2208.07339, section 3.1-3.2, eq. 8.
Idea: outliers sit in the same few input columns of every token; without them one scale a token is fine enough.
Symbols: threshold = |x| from which an input column is an outlier.
Simplified: integer products are computed in floating point on dequantized values: the values, not the speed.
Differs: `quantize` fixes the outlier columns by calibration, so that only theirs are kept in floating point;
    `multiply` is the paper's way, which looks for them in each batch and needs the whole weight for it.
Cost: 8 bits a weight, 16 / in for its scale, and 16 bits more for each weight in an outlier column.
Checked against: the product in floating point (threshold 0), int32 arithmetic, exactness of the outlier columns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import GridConfig, GridWeight, decode_weight, fake_quantize_rows, round_weight

NEEDS = ("max_abs",)


@dataclass(frozen=True)
class Config:
    """The size that makes an outlier."""

    threshold: float = 6.0
    bits: int = 8

    def __post_init__(self) -> None:
        GridConfig(self.bits)  # checks the bits
        if self.threshold < 0:
            raise ValueError(f"threshold must not be negative, got {self.threshold}")


@dataclass(frozen=True)
class MixedWeight:
    """An int8 weight beside its outlier columns."""

    grid: GridWeight  # codes: (out, 1, in); its outlier columns are zero
    outlier_columns: Tensor  # (outliers,), positions among the inputs
    outlier_weight: Tensor  # (out, outliers), as it was

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.grid.shape

    @property
    def bits_per_weight(self) -> float:
        """Codes and scales (also of the outlier columns), outlier weights in their dtype, 32 bits a position."""
        width = self.outlier_weight.element_size() * 8
        extra = self.outlier_weight.numel() * width + len(self.outlier_columns) * 32
        return self.grid.bits_per_weight + extra / self.grid.codes.numel()


def outlier_columns(max_abs: Tensor, threshold: float) -> Tensor:
    """max_abs: (in,) -> (outliers,): columns at or above the threshold"""
    return (max_abs >= threshold).nonzero().flatten()


def multiply(inputs: Tensor, weight: Tensor, config: Config) -> Tensor:
    """Eq. 8, the outliers looked for in these inputs. inputs: (rows, in); weight: (out, in) -> (rows, out)"""
    outliers = outlier_columns(inputs.abs().amax(0), config.threshold)
    rest_of_inputs, rest_of_weight = inputs.index_fill(1, outliers, 0), weight.index_fill(1, outliers, 0)
    exact = linear(inputs[:, outliers], weight[:, outliers])
    return exact + linear(
        fake_quantize_rows(rest_of_inputs, config.bits), fake_quantize_rows(rest_of_weight, config.bits)
    )


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> MixedWeight:
    """weight: (out, in); stats: with max_abs (in,) -> int8 codes and the outlier columns apart"""
    if stats is None:
        raise ValueError("llm_int8 needs the largest |x| of each input channel: calibrate first")
    weight = weight.detach()
    outliers = outlier_columns(stats.max_abs, config.threshold)
    grid = round_weight(weight.index_fill(1, outliers, 0), GridConfig(config.bits, group_size=None, symmetric=True))
    return MixedWeight(grid, outliers, weight[:, outliers])


def dequantize(quantized: MixedWeight) -> Tensor:
    """-> (out, in), exact in the outlier columns"""
    return decode_weight(quantized.grid).index_copy(1, quantized.outlier_columns, quantized.outlier_weight)


def quantize_input(inputs: Tensor, quantized: MixedWeight) -> Tensor:
    """Rounded per token, outlier columns exact. inputs: (batch.., in) -> the same shape"""
    outliers = quantized.outlier_columns
    rounded = fake_quantize_rows(inputs.index_fill(-1, outliers, 0), quantized.grid.bits)
    return rounded.index_copy(-1, outliers, torch.index_select(inputs, -1, outliers))

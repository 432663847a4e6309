"""Round to nearest: absmax or affine, per tensor, per channel or per group.

Paper: arXiv 2106.08295v1 (a white paper on neural network quantization), section 2; the baseline of every other method.
Idea: weights that share a scale share one step, which their range decides; every weight takes the nearest code.
Symbols: S = scale, Z = zero_point, b = bits.
Simplified: one code a byte and no fused kernel here (`packed.py` packs); ranges are min and max, without clip search.
Differs: zero_point is kept in the dtype of the scale, not in b bits, so that one container serves every method.
Cost: bits + 32 / group_size bits a weight in 16-bit models, 16 / group_size less when symmetric; no calibration.
Checked against: torch.fake_quantize_per_channel_affine, torch's min-max observer, torchao's codes where installed.
"""

from dataclasses import dataclass

from torch import Tensor

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import GridConfig, GridWeight, decode_weight, round_weight


@dataclass(frozen=True)
class Config(GridConfig):
    """The shared grid, and one scale for the whole tensor on request."""

    per_tensor: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_tensor and self.group_size is not None:
            raise ValueError(f"per_tensor has one group: set group_size to None, got {self.group_size}")


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> GridWeight:  # noqa: ARG001
    """weight: (out, in) -> codes: (out, groups, group_size) and scales. The statistics are not used."""
    return round_weight(weight, config, config.per_tensor)


def dequantize(quantized: GridWeight) -> Tensor:
    """-> (out, in)"""
    return decode_weight(quantized)

"""AWQ: scale up the weights of inputs that are large before rounding, and those inputs down.

Paper: arXiv 2306.00978, section 3.2, eq. 4-5; clip search as in the authors' released code.
Idea: weights that meet large inputs matter most; multiplied by s > 1 they lose less to the same rounding step.
Symbols: s = input_scale (in,), alpha = its exponent on the mean |x| of each input.
Simplified: the error is measured on a sample of the inputs of one layer, not on the output of the block.
Differs: a layer gets its own s unless `search_scale` is given several stacked ones; s is divided out of the inputs
    here, and `grid.fold_input_scale` moves it into the layer before.
Cost: as RTN's, and one number an input where s is not folded; the search rounds the weight grid_points times.
Checked against: RTN (alpha = 0), the unscaled product in floating point, RTN's error on the same inputs.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import (
    GridConfig,
    GridWeight,
    decode,
    decode_weight,
    group,
    round_to_codes,
    round_weight,
    scale_of_range,
)

NEEDS = ("mean_abs", "sample")


@dataclass(frozen=True)
class Config(GridConfig):
    """The shared grid, and the search."""

    alpha: float | None = None  # None: searched
    grid_points: int = 20  # values of alpha tried, from 0 to below 1
    clip: bool = False  # also try narrower ranges for every group
    clip_points: int = 10  # ranges tried, from the whole down to just above half

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be 0 to 1, got {self.alpha}")
        if self.grid_points < 1 or self.clip_points < 1:
            raise ValueError(f"at least one point is tried, got {self.grid_points} and {self.clip_points}")


def input_scale_of(mean_abs: Tensor, alpha: float) -> Tensor:
    """Eq. 5, with the geometric mean of the extremes at 1. mean_abs: (in,) -> (in,)"""
    raised = mean_abs.clamp(min=1e-4 * float(mean_abs.max().clamp(min=1e-30))) ** alpha
    return raised / (raised.max() * raised.min()).sqrt()


def round_scaled(weight: Tensor, config: Config, input_scale: Tensor) -> GridWeight:
    """Round weight * s to nearest. weight: (out, in); input_scale: (in,)"""
    kept = input_scale.to(weight.dtype)
    return replace(round_weight(weight * kept, config), input_scale=kept)


def search_scale(weight: Tensor, config: Config, stats: LayerStats) -> Tensor:
    """Eq. 4: the s of least output error on the sample. weight: (out, in), of layers that share inputs -> (in,)"""
    inputs = stats.sample.to(torch.promote_types(weight.dtype, torch.float32))
    best, least = input_scale_of(stats.mean_abs, 0.0), float("inf")
    for step in range(config.grid_points):
        input_scale = input_scale_of(stats.mean_abs, step / config.grid_points)
        change = decode_weight(round_scaled(weight, config, input_scale)) - weight
        error = float((inputs @ change.to(inputs.dtype).T).square().sum())
        if error < least:
            best, least = input_scale, error
    return best


def clip_ranges(weight: Tensor, config: Config, inputs: Tensor) -> GridWeight:
    """Per group, the narrower range of least output error among those tried; it is the whole range if none is better.

    weight: (out, in); inputs: (rows, in), both already scaled
    """
    grouped = group(weight, config.group_size)
    rows = group(inputs.to(torch.promote_types(weight.dtype, torch.float32)), config.group_size)
    gram = torch.einsum("rgi,rgj->gij", rows, rows)  # (groups, group_size, group_size)
    low, high = grouped.amin(2, keepdim=True).clamp(max=0), grouped.amax(2, keepdim=True).clamp(min=0)
    best = round_weight(weight, config)
    least = torch.full_like(low, torch.inf, dtype=gram.dtype)
    for step in range(config.clip_points):
        share = 1 - 0.5 * step / config.clip_points
        scale, zero_point = scale_of_range(low * share, high * share, config)
        codes = round_to_codes(grouped, scale, zero_point, config)
        change = decode(codes, scale, zero_point) - grouped
        error = torch.einsum("ogi,gij,ogj->og", change, gram, change)[..., None]
        better = error < least
        least = torch.where(better, error, least)
        best = replace(
            best,
            codes=torch.where(better, codes, best.codes),
            scale=torch.where(better, scale, best.scale),
            zero_point=torch.where(better, zero_point, best.zero_point),
        )
    return best


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> GridWeight:
    """weight: (out, in) -> codes of weight * s: (out, groups, group_size), scales, and s as input_scale: (in,)"""
    if stats is None:
        raise ValueError("awq needs statistics of the layer's inputs: calibrate first")
    weight = weight.detach()
    alpha = config.alpha
    input_scale = search_scale(weight, config, stats) if alpha is None else input_scale_of(stats.mean_abs, alpha)
    if not config.clip:
        return round_scaled(weight, config, input_scale)
    kept = input_scale.to(weight.dtype)
    return replace(clip_ranges(weight * kept, config, stats.sample / input_scale), input_scale=kept)


def dequantize(quantized: GridWeight) -> Tensor:
    """-> (out, in), with s divided out again"""
    return decode_weight(quantized)

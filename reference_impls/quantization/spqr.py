"""SpQR: a few weights that cannot be rounded cheaply stay as they are, so that the rest fits 3 bits in small groups.

Paper: arXiv 2306.03078, sections 3-4 and algorithm 1.
Idea: rounding errors are concentrated in a few weights; kept apart, they free the grid of the others from their range.
Symbols: cost = 1 over the diagonal of H^-1, what a squared rounding error of an input's weights is taken to cost.
Simplified: outliers are chosen once, before any update, not block by block with the weights as they are by then;
    the sparse part is a list of positions and values, without kernel.
Differs: a fixed share of the layer's weights is kept apart, those of largest gain; the paper sets a threshold on it.
Cost: bits + 2 * scale_bits / group_size + 64 / (group_size * scale_group) bits a weight, and 32 bits an outlier.
Checked against: GPTQ on the same grid (no outliers, scales not rounded), dense + sparse reconstruction, RTN's error.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats
from reference_impls.quantization.gptq import inverse_factor, round_with_feedback
from reference_impls.quantization.grid import (
    GridConfig,
    GridWeight,
    choose_scale,
    decode,
    decode_weight,
    group,
    round_to_codes,
)

NEEDS = ("hessian",)


@dataclass(frozen=True)
class Config(GridConfig):
    """The shared grid, small groups, the share of outliers, and the rounding of scales and zero_points."""

    bits: int = 3
    group_size: int | None = 16
    outlier_share: float = 0.01
    scale_bits: int | None = 3  # None: scales and zero_points stay as they are
    scale_group: int = 16  # rows whose scales are rounded together
    dampening: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.outlier_share <= 1:
            raise ValueError(f"outlier_share must be 0 to 1, got {self.outlier_share}")
        if self.scale_bits is not None:
            GridConfig(self.scale_bits)  # checks the bits


@dataclass(frozen=True)
class TwoLevel:
    """Rounded scales (or zero_points) as they are stored: low + code * step, for `scale_group` rows of a group."""

    codes: Tensor  # (groups, out / scale_group, scale_group), uint8
    step: Tensor  # (groups, out / scale_group, 1)
    low: Tensor  # as step

    def restore(self) -> Tensor:
        """-> (out, groups, 1)"""
        rounded: Tensor = self.codes.to(self.step.dtype) * self.step + self.low
        return rounded.flatten(1).T.unsqueeze(2)


@dataclass(frozen=True)
class SparseAndGrid:
    """A grid, and single weights that replace what it holds."""

    grid: GridWeight
    positions: Tensor  # (outliers,), in the flattened (out, in) weight
    values: Tensor  # (outliers,), not rounded
    scale_bits: int | None
    scale_group: int
    scale_codes: TwoLevel | None = None  # what the grid's scales are, where they are rounded
    zero_codes: TwoLevel | None = None  # the same of its zero_points, where it is not symmetric

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.grid.shape

    @property
    def bits_per_weight(self) -> float:
        """Codes, rounded scales with their own 16-bit scales and zero_points, 16-bit outliers with 16-bit columns."""
        weights, scales = self.grid.codes.numel(), self.grid.scale.numel()
        outliers = 32 * len(self.positions) / weights
        if self.scale_bits is None:
            return self.grid.bits_per_weight + outliers
        return self.grid.bits + scales * (2 * self.scale_bits + 64 / self.scale_group) / weights + outliers


def round_scales(scales: Tensor, bits: int, scale_group: int) -> TwoLevel:
    """The second level: scales of `scale_group` rows share a grid of their own. scales: (out, groups, 1)"""
    by_column = group(scales.squeeze(2).T, scale_group)  # (groups, out / scale_group, scale_group)
    low, high = by_column.amin(2, keepdim=True), by_column.amax(2, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(scales.dtype).tiny)
    return TwoLevel(((by_column - low) / step).round().to(torch.uint8), step, low)


def leave_one_out_gain(grouped: Tensor, cost: Tensor, config: Config) -> Tensor:
    """By how much a group's cost of rounding falls when one weight is kept apart: its own, and what its range did to
    the others, which only the least and the largest can change.

    grouped: (out, groups, group_size); cost: (groups, group_size), of a squared error -> as grouped
    """

    def rounding_cost(values: Tensor) -> Tensor:
        grid = choose_scale(values, config)
        change = decode(round_to_codes(values, *grid, config), *grid) - values
        return change.square() * cost

    own = rounding_cost(grouped)
    gain = own.clone()
    for extreme in (grouped.argmin(2, keepdim=True), grouped.argmax(2, keepdim=True)):
        without = rounding_cost(grouped.scatter(2, extreme, 0)).sum(2, keepdim=True)  # 0 has a code: it costs nothing
        gain.scatter_(2, extreme, own.sum(2, keepdim=True) - without)
    return gain


def find_outliers(weight: Tensor, config: Config, inverse_diagonal: Tensor) -> Tensor:
    """weight: (out, in); inverse_diagonal: (in,), of H^-1 -> bool (out, in), True where the weight is kept apart"""
    grouped = group(weight, config.group_size)
    gain = leave_one_out_gain(grouped, 1 / inverse_diagonal.view(grouped.shape[1:]), config)
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[gain.flatten().topk(round(config.outlier_share * weight.numel())).indices] = True
    return mask.view_as(weight)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> SparseAndGrid:
    """weight: (out, in); stats: with the hessian (in, in) -> a grid of the rest and the outliers apart"""
    if stats is None or stats.hessian is None:
        raise ValueError("spqr needs the hessian of the layer's inputs: calibrate first")
    factor = inverse_factor(stats.hessian.to(torch.promote_types(weight.dtype, torch.float32)), config.dampening)
    work = weight.detach().to(factor.dtype).clone()
    outliers = find_outliers(work, config, factor.square().sum(0))
    size = work.shape[1] if config.group_size is None else config.group_size
    rest = group(work.masked_fill(outliers, 0), config.group_size).to(weight.dtype)
    scale, zero_point = choose_scale(rest, config)
    scale_codes = zero_codes = None
    if config.scale_bits is not None:
        scale_codes = round_scales(scale, config.scale_bits, config.scale_group)
        scale = scale_codes.restore()
        if not config.symmetric:
            zero_codes = round_scales(zero_point, config.scale_bits, config.scale_group)
            zero_point = zero_codes.restore()
    codes = torch.empty(weight.T.shape, dtype=torch.uint8, device=weight.device)  # (in, out)

    def round_column(current: Tensor, column: int) -> Tensor:
        grid = scale[:, column // size, None], zero_point[:, column // size, None]  # (out, 1, 1) each
        code = round_to_codes(current[:, column, None, None], *grid, config)
        codes[column] = code.flatten()
        # an outlier has no error to hand on
        return torch.where(outliers[:, column], current[:, column], decode(code, *grid).flatten())

    round_with_feedback(work, factor, size, round_column)
    grid = GridWeight(
        group(codes.T.contiguous(), config.group_size), scale, zero_point, config.bits, config.symmetric, weight.dtype
    )
    positions = outliers.flatten().nonzero().flatten()
    kept = work.flatten()[positions].to(weight.dtype)  # as the feedback of the columns before left them
    return SparseAndGrid(grid, positions, kept, config.scale_bits, config.scale_group, scale_codes, zero_codes)


def dequantize(quantized: SparseAndGrid) -> Tensor:
    """-> (out, in)"""
    dense = decode_weight(quantized.grid)
    return dense.flatten().index_copy(0, quantized.positions, quantized.values).view_as(dense)

"""Pruning and quantization of one weight: the order, and how zeros survive the rounding.

Paper: arXiv 2301.00774, section 3.5 (in one pass); 2405.20935 (why to prune first).
Idea: a score sees more in exact weights than in rounded ones, and a grid that holds 0.0 rounds a zero to itself.
Symbols: order = prune_first, quantize_first, or joint (each error of either kind is made up for by later columns).
Simplified: one weight at a time; the joint order is SparseGPT with a uniform grid.
Differs: the joint grid spans what SparseGPT alone leaves, since the weights that stay grow with what they take over.
Cost: that of the two methods, SparseGPT's twice where joint; stored: bits of the kept weights, one bit a weight for
    the mask, and the scales.
Checked against: the two methods called by hand; the mask before and after rounding; the error of either order.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from reference_impls.pruning import LayerStats, sparsegpt
from reference_impls.pruning.apply import find_method, prune_weight
from reference_impls.quantization import methods as quantizers
from reference_impls.quantization import rtn
from reference_impls.quantization.grid import (
    GridWeight,
    choose_scale,
    decode,
    decode_weight,
    group,
    round_to_codes,
)

NEEDS = ("hessian", "mean_abs", "mean_square", "sample")
Order = Literal["prune_first", "quantize_first", "joint"]


@dataclass(frozen=True)
class Config:
    """Which two methods, and which goes first."""

    prune_method: str = "sparsegpt"
    prune: Any = field(default_factory=sparsegpt.Config)
    quantize_method: str = "rtn"  # joint: not read
    quantize: Any = field(default_factory=lambda: rtn.Config(group_size=None))  # joint: the grid
    order: Order = "prune_first"

    def __post_init__(self) -> None:
        if self.order not in ("prune_first", "quantize_first", "joint"):
            raise ValueError(f"order must be prune_first, quantize_first or joint, got {self.order!r}")
        if self.order == "joint" and self.prune_method != "sparsegpt":
            raise ValueError(f"joint hands errors on as sparsegpt does, got {self.prune_method!r}")


@dataclass(frozen=True)
class SparseGridWeight:
    """A grid weight with a mask: removed weights are 0.0 and need no code."""

    grid: GridWeight
    mask: Tensor  # (out, in), bool

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.grid.shape

    @property
    def bits_per_weight(self) -> float:
        """Codes of the kept, a bit a weight for the mask, scales and whatever else the grid stores."""
        kept = float(self.mask.float().mean())
        return self.grid.bits_per_weight - self.grid.bits * (1 - kept) + 1


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> SparseGridWeight:
    """weight: (out, in) -> its record. Fits apply.quantize_model of the quantization family."""
    if stats is None:
        raise ValueError("compose needs statistics of the layer's inputs: calibrate first")
    if config.order == "joint":
        return _joint(weight, config, stats)
    if config.order == "prune_first":
        pruned = prune_weight(weight.detach(), find_method(config.prune_method), config.prune, stats)
        grid = _quantize(pruned, config, stats)
        mask = pruned != 0
        if (decode_weight(grid)[~mask] != 0).any():
            raise ValueError(
                f"{config.quantize_method} fills removed weights in again: take order joint, or rtn or awq"
            )
        return SparseGridWeight(grid, mask)
    grid = _quantize(weight.detach(), config, stats)
    return _mask_codes(grid, find_method(config.prune_method).keep_mask(decode_weight(grid), config.prune, stats))


def dequantize(quantized: SparseGridWeight) -> Tensor:
    """-> (out, in), exactly 0 where the mask is False"""
    return decode_weight(quantized.grid) * quantized.mask


def _quantize(weight: Tensor, config: Config, stats: LayerStats) -> GridWeight:
    grid = quantizers()[config.quantize_method].quantize(weight, config.quantize, stats)
    if not isinstance(grid, GridWeight):
        raise ValueError(f"compose needs a uniform grid, {config.quantize_method} has another")
    return grid


def _mask_codes(grid: GridWeight, mask: Tensor) -> SparseGridWeight:
    """Set removed codes to the zero_point. mask: (out, in)"""
    if grid.columns is not None:
        raise ValueError("order quantize_first: the columns of this grid are reordered")
    codes = torch.where(mask.view_as(grid.codes), grid.codes, grid.zero_point.round().to(torch.uint8))
    return SparseGridWeight(replace(grid, codes=codes), mask)


def _joint(weight: Tensor, config: Config, stats: LayerStats) -> SparseGridWeight:
    grouped = group(sparsegpt.prune(weight, config.prune, stats), config.quantize.group_size)
    scale, zero_point = choose_scale(grouped, config.quantize)
    size = grouped.shape[2]

    def round_column(values: Tensor, column: int) -> Tensor:
        grid = scale[:, column // size, None], zero_point[:, column // size, None]  # (out, 1, 1) each
        return decode(round_to_codes(values[:, None, None], *grid, config.quantize), *grid).flatten()

    rounded, mask = sparsegpt.prune_and_round(weight, config.prune, stats, round_column)
    codes = round_to_codes(group(rounded, config.quantize.group_size), scale, zero_point, config.quantize)
    grid = GridWeight(codes, scale, zero_point, config.quantize.bits, config.quantize.symmetric, weight.dtype)
    return SparseGridWeight(grid, mask)

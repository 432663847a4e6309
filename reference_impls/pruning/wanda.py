"""Wanda: remove the weights whose size times the size of their input is smallest, in each row.

Paper: arXiv 2306.11695, section 3, eq. 1 and algorithm 1.
Idea: an input of a few channels is much larger than the rest; a small weight behind it matters more than a large one
    behind a quiet channel.
Symbols: S = |W| * ||X||, with ||X|| = input_norm (in,), the l2 norm of each input over the calibration tokens.
Simplified: nothing.
Differs: norms are the root of the mean and not of the sum of squares, which orders each row the same.
Cost: one calibration pass and a sort of each row; no weight is moved.
Checked against: the formula written out entry by entry; magnitude per row where all norms are equal; llm-compressor's
    masks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.pruning import LayerStats
from reference_impls.pruning.masks import MaskConfig, keep_by_row

NEEDS = ("mean_square",)


@dataclass(frozen=True)
class Config(MaskConfig):
    """How much of each row."""


def input_norm(stats: LayerStats) -> Tensor:
    """Root mean square of each input. -> (in,)"""
    return stats.mean_square.sqrt()


def saliency(weight: Tensor, norm: Tensor) -> Tensor:
    """Eq. 1. weight: (out, in); norm: (in,) -> (out, in)"""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32)).abs() * norm


def keep_mask(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Tensor:
    """weight: (out, in); stats: mean_square (in,) -> bool (out, in)"""
    if stats is None:
        raise ValueError("wanda needs the norms of the layer's inputs: calibrate first")
    return keep_by_row(saliency(weight, input_norm(stats)), config)

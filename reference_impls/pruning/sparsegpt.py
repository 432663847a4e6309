"""SparseGPT: remove weights column by column, and let the columns still to come make up for each removal.

Paper: arXiv 2301.00774, section 3 and algorithm 1; section 3.5 for rounding in the same pass.
Idea: the output error is a quadratic form in H; going through columns in one order lets all rows share one inverse.
Symbols: H = hessian 2 X^T X / n, U = upper Cholesky factor of H^-1 (U^T U = H^-1), saliency = w**2 / U_jj**2.
Simplified: nothing of the algorithm; the calibration around it takes all layers of a block at once.
Differs: an input that calibration never used counts as one of mean square 1/2, where the authors' code sets its
    weights to 0; the share removed is exact over the layer, and as even as it can be over the blocks.
Cost: in**2 * out multiply-adds and a Cholesky factor of in**3 / 3 a layer, whatever the sparsity.
Checked against: least squares over the columns still free, after each removal; the error of its mask alone;
    llm-compressor's masks and weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.pruning import LayerStats
from reference_impls.pruning.masks import MaskConfig, check_n_of_m, keep_largest, keep_n_of_m
from reference_impls.quantization.gptq import inverse_factor, round_with_feedback

NEEDS = ("hessian",)


@dataclass(frozen=True)
class Config(MaskConfig):
    """How much, how many columns choose their mask together, and the regularisation."""

    mask_columns: int = 128  # columns whose weights are ranked together, over all rows (B_s of the paper)
    dampening: float = 0.01  # of the mean diagonal of H, added to the diagonal

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask_columns < 1:
            raise ValueError(f"mask_columns must be at least 1, got {self.mask_columns}")
        if self.dampening < 0:
            raise ValueError(f"dampening must not be negative, got {self.dampening}")


def prune_and_round(
    weight: Tensor,
    config: Config,
    stats: LayerStats | None,
    round_column: Callable[[Tensor, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Algorithm 1, with an optional rounding of what stays (section 3.5) in the same pass.

    weight: (out, in); round_column(values (out,), column) -> (out,): the values that the kept ones of a column take
    -> the new weight (out, in), at least float32, exactly 0 where removed; keep_mask bool (out, in)
    """
    if stats is None or stats.hessian is None:
        raise ValueError("sparsegpt needs the hessian of the layer's inputs: calibrate first")
    width = weight.shape[1]
    together = config.n_of_m[1] if config.n_of_m else config.mask_columns
    if config.n_of_m:
        check_n_of_m(width, config.n_of_m)
    hessian = stats.hessian.to(torch.promote_types(weight.dtype, torch.float32))
    factor = inverse_factor(hessian, config.dampening)
    work = weight.detach().to(hessian.dtype).clone()
    mask = torch.ones_like(work, dtype=torch.bool)

    def new_column(current: Tensor, column: int) -> Tensor:
        if column % together == 0:  # all updates from the left have arrived: choose for the columns ahead
            ahead = slice(column, min(column + together, width))
            mask[:, ahead] = choose_mask(current[:, ahead], factor.diagonal()[ahead], config, column * len(current))
        kept = current[:, column] if round_column is None else round_column(current[:, column], column)
        return kept * mask[:, column]

    round_with_feedback(work, factor, _block(together), new_column)
    return work * mask, mask  # the product turns what rounding left of removed ones (1e-9) into exact zeros


def _block(together: int) -> int:
    """Columns between two updates of all that follow: a multiple of those that choose their mask together."""
    return max(1, 128 // together) * together


def choose_mask(weight: Tensor, diagonal: Tensor, config: Config, before: int) -> Tensor:
    """Keep the largest saliency among neighbouring columns of all rows, or of each group of m.

    weight: (out, columns), updated so far; diagonal: (columns,) of U; before: weights in the columns to the left
    -> bool (out, columns)
    """
    scores = (weight / diagonal).square()
    if config.n_of_m is not None:
        return keep_n_of_m(scores, config.n_of_m)
    removed = round(config.sparsity * (before + scores.numel())) - round(config.sparsity * before)
    return keep_largest(scores.flatten(), removed).view_as(scores)


def prune(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Tensor:
    """weight: (out, in); stats: with the hessian (in, in) -> (out, in), in the dtype of the weight"""
    return prune_and_round(weight, config, stats)[0].to(weight.dtype)


def keep_mask(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Tensor:
    """The mask that `prune` ends with. weight: (out, in); stats: with the hessian (in, in) -> bool (out, in)"""
    return prune_and_round(weight, config, stats)[1]

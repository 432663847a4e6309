"""GPTQ: round column by column, and let the columns still to come make up for each error.

Paper: arXiv 2210.17323, section 3 and algorithm 1; eq. 2-3 for the update it rests on.
Idea: the output error is a quadratic form in H; after rounding a column, the best move of the others is known.
Symbols: H = hessian 2 X^T X / n, U = upper Cholesky factor of H^-1 (U^T U = H^-1), which holds every update needed.
Simplified: nothing of the algorithm; the calibration around it takes all layers of a block at once.
Differs: updates wait for the end of a group (128 columns without groups), not of a fixed block; unused inputs keep
    their weights, rounded to nearest, where the authors' code sets them to zero.
Cost: in**2 * out multiply-adds and a Cholesky factor of in**3 / 3 a layer; stored as RTN's, 32 bits a column more
    where groups follow act_order.
Checked against: the naive update that removes one column at a time from H^-1; GPTQModel where installed; RTN's error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats
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
    """The shared grid, and the order and regularisation of the updates."""

    dampening: float = 0.01  # of the mean diagonal of H, added to the diagonal
    act_order: bool = False  # columns of large input first
    static_groups: bool = True  # scales are chosen before any update, for groups of neighbouring columns

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dampening < 0:
            raise ValueError(f"dampening must not be negative, got {self.dampening}")


def inverse_factor(hessian: Tensor, dampening: float) -> Tensor:
    """U, upper, with U^T U = (H + dampening)^-1; inputs that were never used get a diagonal of their own.

    hessian: (in, in) -> (in, in)
    """
    diagonal = hessian.diagonal()
    extra = dampening * diagonal.mean() + (diagonal == 0)
    lower, failed = torch.linalg.cholesky_ex(hessian + torch.diag(extra))
    if failed:
        raise ValueError(f"the hessian is not positive definite at dampening {dampening}: raise it or calibrate longer")
    factor: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
    return factor


def round_with_feedback(
    weight: Tensor, factor: Tensor, block: int, round_column: Callable[[Tensor, int], Tensor]
) -> None:
    """Algorithm 1: round each column in order, hand its error on to the later ones at once inside a block, then beyond.

    weight: (out, in), changed in place; factor: U (in, in);
    round_column(weight, column) -> (out,), the rounded values of that column of the weight as it is by then
    """
    columns = weight.T.contiguous()  # (in, out): what is read and changed together lies together
    for start in range(0, len(columns), block):
        stop = min(start + block, len(columns))
        errors = torch.zeros_like(columns[start:stop])
        for column in range(start, stop):
            error = (columns[column] - round_column(columns.T, column)) / factor[column, column]
            columns[column:stop].addr_(factor[column, column:stop], error, alpha=-1)  # the column itself: now rounded
            errors[column - start] = error
        columns[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    weight.copy_(columns.T)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> GridWeight:
    """weight: (out, in); stats: with the hessian (in, in) -> codes: (out, groups, group_size) and scales"""
    if stats is None or stats.hessian is None:
        raise ValueError("gptq needs the hessian of the layer's inputs: calibrate first")
    grouped = group(weight.detach(), config.group_size)
    groups, size = grouped.shape[1:]
    hessian = stats.hessian.to(torch.promote_types(weight.dtype, torch.float32))
    neighbours = config.static_groups or groups == 1 or not config.act_order  # else groups follow the order
    order = torch.arange(weight.shape[1], device=weight.device)
    if config.act_order:
        order = hessian.diagonal().argsort(descending=True, stable=True)
    group_of = (order if neighbours else torch.arange(len(order), device=order.device)) // size

    scale, zero_point = choose_scale(grouped, config)
    scale, zero_point = scale.clone(), zero_point.clone()
    codes = torch.empty(weight.T.shape, dtype=torch.uint8, device=weight.device)  # (in, out), in the order of rounding

    def round_column(current: Tensor, column: int) -> Tensor:
        at = int(group_of[column])
        if not config.static_groups and groups > 1 and column % size == 0:  # a group's scale, after all updates so far
            block = current[:, None, column : column + size].to(weight.dtype)
            chosen = choose_scale(block, config)
            scale[:, at : at + 1], zero_point[:, at : at + 1] = chosen
        grid = scale[:, at : at + 1], zero_point[:, at : at + 1]  # (out, 1, 1) each
        code = round_to_codes(current[:, None, column, None], *grid, config)
        codes[column] = code.flatten()
        return decode(code, *grid).flatten()

    work = weight.detach().to(hessian.dtype)[:, order]  # (out, in), a copy, columns in the order of rounding
    factor = inverse_factor(hessian[order][:, order], config.dampening)
    round_with_feedback(work, factor, size if groups > 1 else 128, round_column)
    if neighbours:
        codes, columns = codes[order.argsort()], None
    else:
        columns = order
    coded = group(codes.T.contiguous(), config.group_size)
    return GridWeight(coded, scale, zero_point, config.bits, config.symmetric, weight.dtype, columns=columns)


def dequantize(quantized: GridWeight) -> Tensor:
    """-> (out, in)"""
    return decode_weight(quantized)

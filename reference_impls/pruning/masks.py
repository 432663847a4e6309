"""What the methods share: how much to remove, and keeping the largest scores by layer, by row or n of each m.

`sparsity` is the share removed. `n_of_m` = (n, m) keeps n of every m neighbours along a row, whatever `sparsity` says.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MaskConfig:
    """How much of a weight is removed."""

    sparsity: float = 0.5  # share of the weights that is removed, 0 to 1
    n_of_m: tuple[int, int] | None = None  # n kept of each m neighbours in a row; then sparsity is not read

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be 0 to 1, got {self.sparsity}")
        if self.n_of_m is not None and not (0 <= self.n_of_m[0] <= self.n_of_m[1] and self.n_of_m[1] > 0):
            raise ValueError(f"n_of_m is (n kept, of m), n from 0 to m, got {self.n_of_m}")


def check_n_of_m(width: int, n_of_m: tuple[int, int]) -> None:
    """Refuse a row that is no whole number of groups."""
    n, m = n_of_m
    if width % m:
        raise ValueError(f"{n} of {m}: in must be a multiple of {m}, got {width}")


def keep_largest(scores: Tensor, removed: int) -> Tensor:
    """Remove the `removed` smallest scores of each row, of equal ones the first: exact, ties or not.

    scores: (..., width) -> bool (..., width)
    """
    if removed <= 0:
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(removed, dim=-1, keepdim=True).values  # a selection: faster than sorting
    above, equal = scores > threshold, scores == threshold
    kept_of_equal = scores.shape[-1] - removed - above.sum(-1, keepdim=True)
    return above | (equal & (equal.sum(-1, keepdim=True) - equal.cumsum(-1) < kept_of_equal))


def groups_of(weight: Tensor, size: int) -> Tensor:
    """Neighbours along each row. weight: (out, in) -> (out, in / size, size)"""
    return weight.reshape(weight.shape[0], -1, size)


def keep_by_row(scores: Tensor, config: MaskConfig) -> Tensor:
    """The largest of every row, or of every group of m. scores: (out, in) -> bool (out, in)"""
    if config.n_of_m is not None:
        return keep_n_of_m(scores, config.n_of_m)
    return keep_largest(scores, round(config.sparsity * scores.shape[1]))


def keep_by_layer(scores: Tensor, config: MaskConfig) -> Tensor:
    """The largest of the whole layer, or of every group of m. scores: (out, in) -> bool (out, in)"""
    if config.n_of_m is not None:
        return keep_n_of_m(scores, config.n_of_m)
    return keep_largest(scores.flatten(), round(config.sparsity * scores.numel())).view_as(scores)


def keep_n_of_m(scores: Tensor, n_of_m: tuple[int, int]) -> Tensor:
    """The n largest of each m neighbours in a row. scores: (out, in) -> bool (out, in)"""
    n, m = n_of_m
    check_n_of_m(scores.shape[1], n_of_m)
    return keep_largest(groups_of(scores, m), m - n).flatten(1)


def is_n_of_m(weight: Tensor, n_of_m: tuple[int, int]) -> bool:
    """Whether no group of m holds more than n that are not 0. weight: (out, in)"""
    check_n_of_m(weight.shape[1], n_of_m)
    return bool((groups_of(weight, n_of_m[1]).count_nonzero(-1) <= n_of_m[0]).all())

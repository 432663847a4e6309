"""Activation-aware SVD: the factors whose output is closest on the inputs that the layer really gets.

Paper: arXiv 2403.07378, section 3.1 (SVD-LLM, whitening); 2312.05821 (ASVD, scaling each input).
Idea: truncate W S instead of W, where S holds how large inputs are, and undo S in the right factor.
Symbols: S = Cholesky factor of X^T X / n (cholesky), or diag(mean |x|) ** alpha (diagonal); W S = U s V^T.
Simplified: the same share for every layer; neither paper's update of the layers that follow.
Differs: X^T X gets `dampening` on its diagonal, since few tokens leave it singular.
Cost: as svd's, and in**3 / 3 for the factor; nothing more when the model runs.
Checked against: plain SVD's error on the same inputs; the truncated part of W S, which the squared error equals.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reference_impls.low_rank import Factors, LayerStats, RankConfig
from reference_impls.low_rank.svd import truncate

NEEDS = ("hessian", "mean_abs")


@dataclass(frozen=True)
class Config(RankConfig):
    """How large, and what the inputs are weighted by."""

    weighting: Literal["cholesky", "diagonal"] = "cholesky"
    alpha: float = 0.5  # of diagonal
    dampening: float = 1e-4  # of cholesky: of the mean diagonal of X^T X / n, added to it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weighting not in ("cholesky", "diagonal"):
            raise ValueError(f"weighting must be cholesky or diagonal, got {self.weighting!r}")
        if self.dampening < 0:
            raise ValueError(f"dampening must not be negative, got {self.dampening}")


def whitening_factor(stats: LayerStats, dampening: float) -> Tensor:
    """S, lower, with S S^T = X^T X / n + dampening. -> (in, in)"""
    if stats.hessian is None:
        raise ValueError("activation_aware_svd needs the hessian of the layer's inputs: calibrate first")
    second_moment = stats.hessian / 2
    extra = dampening * second_moment.diagonal().mean().clamp(min=torch.finfo(second_moment.dtype).tiny)
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(second_moment + extra * torch.eye(len(second_moment)).to(second_moment))
    if failed:
        raise ValueError(f"inputs span too little at dampening {dampening}: raise it or calibrate longer")
    return lower


def factorize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Factors:
    """weight: (out, in); stats: hessian (in, in), mean_abs (in,) -> left: (out, rank), right: (rank, in)"""
    if stats is None:
        raise ValueError("activation_aware_svd needs statistics of the layer's inputs: calibrate first")
    wide = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    rank = config.rank_of(weight.shape)
    if config.weighting == "diagonal":
        scale = stats.mean_abs.to(wide).clamp(min=1e-6 * float(stats.mean_abs.max().clamp(min=1e-30))) ** config.alpha
        found = truncate(wide * scale, rank)
        right = found.right / scale
    else:
        lower = whitening_factor(stats, config.dampening).to(wide)
        found = truncate(wide @ lower, rank)
        right = torch.linalg.solve_triangular(lower, found.right, upper=False, left=False)
    return Factors(found.left.to(weight.dtype), right.to(weight.dtype))

"""Magnitude pruning: remove the weights of smallest absolute value.

Paper: arXiv 1506.02626, section 3 (Learning both Weights and Connections); 1510.00149, section 2.
Idea: a weight near zero changes the output little, if all inputs are about as large.
Symbols: nothing beyond the axes' names.
Simplified: in one shot; the paper prunes and trains again in turns.
Differs: the paper's threshold is a layer's deviation times a factor; here the sparsity is given and the threshold
    follows from it, over a layer, a row, or all layers together (there, weights of just that size all go).
Cost: a sort of the weights; no calibration.
Checked against: the number and the least kept value that the definition gives; torch.nn.utils.prune.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from reference_impls.pruning import LayerStats
from reference_impls.pruning.masks import MaskConfig, keep_by_layer, keep_by_row, keep_n_of_m


@dataclass(frozen=True)
class Config(MaskConfig):
    """How much, and among which weights."""

    scope: Literal["layer", "row", "global"] = "layer"  # weights that are ranked together; global: of all layers
    threshold: float | None = None  # of scope global: values up to it go; `fit` finds it from every weight

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scope not in ("layer", "row", "global"):
            raise ValueError(f"scope must be layer, row or global, got {self.scope!r}")


def fit(weights: Sequence[Tensor], config: Config) -> Config:
    """Scope global: the threshold below which `sparsity` of all the weights lie. weights: (out, in) each"""
    if config.scope != "global" or config.n_of_m is not None:
        return config
    sizes = torch.cat([weight.detach().abs().flatten().float() for weight in weights])
    removed = round(config.sparsity * len(sizes))
    return replace(config, threshold=float(sizes.kthvalue(removed).values) if removed else -1.0)


def keep_mask(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Tensor:  # noqa: ARG001 the face
    """weight: (out, in) -> bool (out, in)"""
    sizes = weight.detach().abs()
    if config.n_of_m is not None:
        return keep_n_of_m(sizes, config.n_of_m)
    if config.scope == "row":
        return keep_by_row(sizes, config)
    if config.scope == "layer":
        return keep_by_layer(sizes, config)
    if config.threshold is None:
        raise ValueError("scope global ranks all layers together: let fit(weights, config) find the threshold")
    return sizes.float() > config.threshold

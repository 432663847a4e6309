"""PiSSA: start LoRA's factors from the leading singular vectors of the weight, and freeze the rest.

Paper: arXiv 2404.02948, section 3, eq. 2-4.
Idea: what a weight does most lies in few directions; training those moves the model from the first step on, where
    LoRA's zero factor passes no gradient to the other at first.
Symbols: W = U S V^T; B = up = U_r sqrt(S_r), A = down = sqrt(S_r) V_r^T, residual = W - B A, r = rank.
Simplified: an exact decomposition, where the paper also times a fast random one.
Differs: nothing.
Cost: LoRA's parameters, and a decomposition a layer before training; the base is a residual and must be stored with
    the factors, or their change written as a LoRA of twice the rank (`as_lora`).
Checked against: the model before the first step; the singular values that the residual is left with; LoRA's sum.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.adaptation import lora
from reference_impls.adaptation.wrap import merge_linears, wrap_linears
from reference_impls.low_rank.svd import truncate

LEARNING_RATE = 3e-3


@dataclass(frozen=True)
class Config:
    """How many directions, and in which layers."""

    rank: int = 8
    targets: tuple[str, ...] = ("*",)  # patterns of layer names, whole or their last part

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")


class PiSSALinear(lora.LoRALinear):
    """A frozen residual and trainable leading directions."""

    start_up: Tensor
    start_down: Tensor

    def __init__(self, layer: nn.Linear, config: Config) -> None:
        unused = torch.Generator().manual_seed(0)  # both factors are set below
        super().__init__(layer, lora.Config(config.rank, alpha=config.rank), unused)
        weight = layer.weight.detach()
        found = truncate(weight.to(torch.promote_types(weight.dtype, torch.float32)), config.rank)
        self.up.data, self.down.data = found.left.to(weight), found.right.to(weight)
        layer.weight.data = weight - (self.up @ self.down).detach()
        self.register_buffer("start_up", self.up.detach().clone(), persistent=False)
        self.register_buffer("start_down", self.down.detach().clone(), persistent=False)

    def as_lora(self) -> tuple[Tensor, Tensor]:
        """What training changed, to be added to the original weight. -> up: (out, 2 rank), down: (2 rank, in)"""
        return torch.cat([self.up.detach(), -self.start_up], 1), torch.cat([self.down.detach(), self.start_down], 0)


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:  # noqa: ARG001
    """A copy whose target layers are PiSSALinear; only the leading directions are trainable. Nothing is drawn."""
    return wrap_linears(model, lambda layer: PiSSALinear(layer, config), config.targets)


def merge(model: nn.Module) -> nn.Module:
    """A copy in which directions and residual are one weight again."""
    return merge_linears(model)

"""LoRA: add a product of two thin matrices to a weight that stays as it is, and train only those.

Paper: arXiv 2106.09685, section 4.1, eq. 3.
Idea: the change that a task needs has low rank, so few parameters can hold it and a sum removes them afterwards.
Symbols: B = up (out, rank), A = down (rank, in), r = rank; the layer computes W x + alpha / r * B A x.
Simplified: no dropout; the same rank everywhere.
Differs: A is drawn uniformly with bound 1 / sqrt(in), as the authors' code does, where the paper says Gaussian.
Cost: rank * (in + out) trainable parameters a layer, and their optimizer state; after merging nothing.
Checked against: the model before the first step; the dense layer W + alpha / r * B A.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.adaptation.wrap import merge_linears, wrap_linears

LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class Config:
    """Size of the change, and which layers get one."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("*",)  # patterns of layer names, whole or their last part

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")


class LoRALinear(nn.Module):
    """A frozen linear layer with a trainable change of low rank."""

    def __init__(self, layer: nn.Linear, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.factor = config.alpha / config.rank
        like = layer.weight
        down = torch.rand(config.rank, layer.in_features, generator=generator) * 2 - 1
        self.down = nn.Parameter((down / layer.in_features**0.5).to(like))
        self.up = nn.Parameter(torch.zeros(layer.out_features, config.rank).to(like))

    def forward(self, inputs: Tensor) -> Tensor:
        """Eq. 3. inputs: (batch.., in) -> (batch.., out)"""
        out: Tensor = self.layer(inputs) + self.factor * linear(linear(inputs, self.down), self.up)
        return out

    def merged(self) -> nn.Linear:
        """The plain layer of the same product."""
        layer = deepcopy(self.layer)
        layer.weight.data += self.factor * (self.up @ self.down).detach()
        return layer


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:
    """A copy whose target layers are LoRALinear; only their factors are trainable."""
    return wrap_linears(model, lambda layer: LoRALinear(layer, config, generator), config.targets)


def adapter_parameters(model: nn.Module) -> list[nn.Parameter]:
    """What an optimizer is given."""
    adapters = [module for module in model.modules() if isinstance(module, LoRALinear)]
    return [factor for adapter in adapters for factor in (adapter.down, adapter.up)]


def merge(model: nn.Module) -> nn.Module:
    """A copy in which every change is added to its weight."""
    return merge_linears(model)

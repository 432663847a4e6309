"""DoRA: train the length of each weight vector directly, and its direction by LoRA.

Paper: arXiv 2402.09353, section 4.1, eq. 5 and section 4.3, eq. 11.
Idea: full tuning changes lengths and directions each in its own way; LoRA alone changes both together.
Symbols: m = length (out, 1), V = W + alpha / r * B A, the layer computes m * V / |V| x.
Simplified: the changed weight is written out at every pass; no dropout.
Differs: a length for each row of the weight (the vector of one output), as in the authors' code; the paper's formula
    has one for each column.
Cost: LoRA's parameters and `out` more a layer; a step needs V and its norms; after merging nothing.
Checked against: the model before the first step; the formula row by row; LoRA where lengths follow the norms.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.adaptation import lora
from reference_impls.adaptation.wrap import merge_linears, wrap_linears

LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class Config(lora.Config):
    """LoRA's, and whether gradients pass through the norm."""

    detach_norm: bool = True  # eq. 11: |V| counts as a constant, which saves memory


class DoRALinear(lora.LoRALinear):
    """A frozen linear layer with trainable lengths and a trainable change of directions."""

    def __init__(self, layer: nn.Linear, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__(layer, config, generator)
        self.detach_norm = config.detach_norm
        self.length = nn.Parameter(layer.weight.detach().norm(dim=1, keepdim=True))

    def weight(self) -> Tensor:
        """Eq. 5. -> (out, in)"""
        changed = self.layer.weight + self.factor * (self.up @ self.down)
        norm = changed.norm(dim=1, keepdim=True)
        norm = norm.detach() if self.detach_norm else norm
        result: Tensor = self.length / norm.clamp(min=torch.finfo(norm.dtype).tiny) * changed
        return result

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        return linear(inputs, self.weight(), self.layer.bias)

    def merged(self) -> nn.Linear:
        """The plain layer of the same product."""
        layer = deepcopy(self.layer)
        layer.weight.data = self.weight().detach()
        return layer


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:
    """A copy whose target layers are DoRALinear; only lengths and factors are trainable."""
    return wrap_linears(model, lambda layer: DoRALinear(layer, config, generator), config.targets)


def merge(model: nn.Module) -> nn.Module:
    """A copy in which every weight is the one computed with."""
    return merge_linears(model)

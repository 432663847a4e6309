"""Adapters: a small bottleneck with a residual path behind some layers of a frozen model.

Paper: arXiv 1902.00751, section 2.1, figure 2.
Idea: a detour through few dimensions, begun as the identity, bends a frozen network to a task.
Symbols: the layer's output y becomes y + up(act(down(y))), with down (bottleneck, out), up (out, bottleneck).
Simplified: the norms of the base stay frozen, where the paper trains them too.
Differs: up starts at zero, so that step 0 is the model itself; the paper starts near it.
Cost: 2 * out * bottleneck + out + bottleneck parameters a layer; two thin products and an activation at every pass,
    also at inference, since the nonlinearity cannot be merged away.
Checked against: the model before the first step; the formula written out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from reference_impls.adaptation.wrap import wrap_linears

LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class Config:
    """How wide, and behind which layers."""

    bottleneck: int = 8
    targets: tuple[str, ...] = ("output", "down", "o_proj", "down_proj")
    """Patterns of layer names: by default the last layers of attention and of the feed-forward part."""

    def __post_init__(self) -> None:
        if self.bottleneck < 1:
            raise ValueError(f"bottleneck must be at least 1, got {self.bottleneck}")


class AdapterLinear(nn.Module):
    """A frozen linear layer with a trainable detour behind it."""

    def __init__(self, layer: nn.Linear, config: Config, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.layer = layer
        width, like = layer.out_features, layer.weight
        down = torch.rand(config.bottleneck, width, generator=generator) * 2 - 1
        self.down = nn.Parameter((down / width**0.5).to(like))
        self.down_bias = nn.Parameter(torch.zeros(config.bottleneck).to(like))
        self.up = nn.Parameter(torch.zeros(width, config.bottleneck).to(like))
        self.up_bias = nn.Parameter(torch.zeros(width).to(like))

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        out: Tensor = self.layer(inputs)
        return out + linear(gelu(linear(out, self.down, self.down_bias)), self.up, self.up_bias)


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:
    """A copy whose target layers are AdapterLinear; only their detours are trainable."""
    return wrap_linears(model, lambda layer: AdapterLinear(layer, config, generator), config.targets)

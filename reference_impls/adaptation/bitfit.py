"""BitFit: train the biases and nothing else.

Paper: arXiv 2106.10199, section 3.
Idea: a bias shifts what the next layer sees for every input alike, which is enough to bring out what a model can do.
Symbols: nothing beyond the axes' names.
Simplified: all biases of linear layers; the paper also tries two kinds of them alone.
Differs: layers without a bias, which recent decoders have, get one that starts at zero (`add_missing`).
Cost: `out` parameters a layer, and no arithmetic of note; added biases stay.
Checked against: the weights, which stay bit for bit; the model before the first step.
"""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from reference_impls.quantization.linears import SKIP, find_linears, matches

LEARNING_RATE = 3e-2


@dataclass(frozen=True)
class Config:
    """Which layers' biases, and whether layers without one get one."""

    targets: tuple[str, ...] = ("*",)  # patterns of layer names, whole or their last part
    add_missing: bool = True


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:  # noqa: ARG001
    """A copy in which only the biases of the target layers are trainable. Nothing is drawn."""
    result = deepcopy(model).requires_grad_(False)
    chosen = [layer for name, layer in find_linears(result, SKIP).items() if matches(name, config.targets)]
    for layer in chosen:
        if layer.bias is None and config.add_missing:
            layer.bias = nn.Parameter(torch.zeros(layer.out_features).to(layer.weight))
        if layer.bias is not None:
            layer.bias.requires_grad_(True)
    if not any(layer.bias is not None for layer in chosen):
        raise ValueError(f"no linear layer of targets={config.targets} has a bias: set add_missing")
    return result


def merge(model: nn.Module) -> nn.Module:
    """A copy: its layers are plain already."""
    return deepcopy(model)

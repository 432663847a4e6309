"""What the methods share: put a layer with parameters of its own around chosen linear layers, and take it off again."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

from reference_impls.quantization.linears import SKIP, find_linears, matches


def wrap_linears(model: nn.Module, make: Callable[[nn.Linear], nn.Module], targets: tuple[str, ...]) -> nn.Module:
    """A frozen copy whose target layers are what `make` puts around them. targets: patterns of layer names."""
    result = deepcopy(model).requires_grad_(False)
    chosen = {name: layer for name, layer in find_linears(result, SKIP).items() if matches(name, targets)}
    if not chosen:
        raise ValueError(f"no linear layer matches targets={targets}")
    for name, layer in chosen.items():
        result.set_submodule(name, make(layer))
    return result


def merge_linears(model: nn.Module) -> nn.Module:
    """A copy in which every layer that can say `merged()` is the plain layer that it says."""
    result = deepcopy(model)
    wrapped: dict[str, Any] = {name: module for name, module in result.named_modules() if hasattr(module, "merged")}
    for name, module in wrapped.items():
        result.set_submodule(name, module.merged())
    return result

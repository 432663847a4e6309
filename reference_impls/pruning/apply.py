"""Run a method over any model: a mask over each linear layer, or a smaller model.

The model that is given stays as it is. What comes back is labelled layer by layer, as in the quantization family:
`simulated` (zeros in a dense weight: shows quality, saves nothing) or `packed` (2:4, bytes really saved). A model
from `shrink` has no label: it really is smaller.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reference_impls.pruning import Calibration, LayerStats, Method, ModelMethod, methods, model_methods
from reference_impls.pruning.semi_structured import SemiStructuredLinear, pack
from reference_impls.quantization.linears import SKIP, change_linears, find_linears

Effect = Literal["simulated", "packed"]


class MaskedLinear(nn.Linear):
    """A linear layer with zeros where weights were removed. Effect: simulated (the zeros are stored like any value)."""

    effect = "simulated"

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(1, 1, bias=False)
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))

    @property
    def keep_mask(self) -> Tensor:
        """Where the weight is not 0: bool (out, in)."""
        return self.weight != 0


def prune_model(
    model: nn.Module,
    method: Method | ModelMethod | str,
    config: Any,
    calibration: Calibration | Mapping[str, LayerStats] | None = None,
    skip: tuple[str, ...] = SKIP,
    effect: Effect = "simulated",
) -> nn.Module:
    """A copy of the model that went through the method.

    method: a module of this package or its name; config: its Config, or those of its fields that are not to be as
        they are by default; skip, effect: for methods that work on one weight; effect "packed" needs weights that are
        2 of 4;
    calibration: how to run the model, or, for methods that work on one weight, what `calibration.collect` saw of it
        before, by the names of the layers.
    """
    found = find_method(method)
    if isinstance(config, Mapping):
        config = found.Config(**config)
    if hasattr(found, "shrink"):
        smaller: nn.Module = found.shrink(model, config, calibration)
        return smaller
    if hasattr(found, "fit"):
        config = found.fit([layer.weight for layer in find_linears(model, skip).values()], config)

    def change(_name: str, layer: nn.Linear, stats: LayerStats | None) -> nn.Module:
        weight = prune_weight(layer.weight.detach(), found, config, stats)
        if effect == "packed":
            return SemiStructuredLinear(pack(weight), layer.bias)
        return MaskedLinear(weight, layer.bias)

    return change_linears(model, change, getattr(found, "NEEDS", ()), calibration, skip)


def prune_weight(weight: Tensor, method: Method, config: Any, stats: LayerStats | None = None) -> Tensor:
    """What a method leaves of one weight: its own update where it has one. weight: (out, in) -> (out, in)"""
    prune: Callable[[Tensor, Any, LayerStats | None], Tensor] | None = getattr(method, "prune", None)
    if prune is not None:
        return prune(weight, config, stats)
    return weight * method.keep_mask(weight, config, stats)


def find_method(method: Method | ModelMethod | str) -> Any:
    """The module of that name, or the module itself."""
    if not isinstance(method, str):
        return method
    known: dict[str, Any] = {**methods(), **model_methods()}
    if method not in known:
        raise ValueError(f"method: expected one of {', '.join(sorted(known))}, got {method!r}")
    return known[method]


@torch.no_grad()
def sparsity(model: nn.Module, skip: tuple[str, ...] = SKIP) -> float:
    """Share of zeros in the weights of the linear layers, packed ones unpacked."""
    weights = [layer.weight for layer in find_linears(model, skip).values()]
    weights += [module.dense() for module in model.modules() if isinstance(module, SemiStructuredLinear)]
    total = sum(weight.numel() for weight in weights)
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / total

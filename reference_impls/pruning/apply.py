"""Run a method over any model: a mask over each linear layer, or a smaller model.

The model that is given stays as it is. What comes back is labelled layer by layer, as in the quantization family:
`simulated` (zeros in a dense weight: shows quality, saves nothing) or `packed` (2:4, bytes really saved). A model
from `shrink` has no label: it really is smaller.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reference_impls.pruning import Calibration, LayerStats, Method, ModelMethod, methods, model_methods
from reference_impls.pruning.semi_structured import SemiStructuredLinear, pack
from reference_impls.quantization.apply import SKIP, find_linears
from reference_impls.quantization.calibration import Collect, collect, visit_blocks

Effect = Literal["simulated", "packed"]
Change = Callable[[str, nn.Linear, LayerStats | None], nn.Module]


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
    calibration: Calibration | None = None,
    skip: tuple[str, ...] = SKIP,
    effect: Effect = "simulated",
) -> nn.Module:
    """A copy of the model that went through the method.

    method: a module of this package or its name; config: its Config; skip, effect: for methods that work on one
    weight; effect "packed" needs weights that are 2 of 4.
    """
    found = find_method(method)
    if hasattr(found, "shrink"):
        smaller: nn.Module = found.shrink(model, config, calibration)
        return smaller
    if hasattr(found, "fit"):
        config = found.fit([layer.weight for layer in find_linears(model, skip).values()], config)

    def change(name: str, layer: nn.Linear, stats: LayerStats | None) -> nn.Module:
        try:
            weight = prune_weight(layer.weight.detach(), found, config, stats)
            if effect == "packed":
                return SemiStructuredLinear(pack(weight), layer.bias)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
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


def change_linears(
    model: nn.Module,
    change: Change,
    needs: tuple[str, ...] = (),
    calibration: Calibration | None = None,
    skip: tuple[str, ...] = SKIP,
) -> nn.Module:
    """A copy of the model whose linear layers are what `change` makes of them.

    change: (name, layer, statistics or None) -> module; needs: LayerStats fields it reads; with a sequential
    calibration, later blocks are seen as earlier changes leave their inputs.
    """
    if needs and calibration is None:
        raise ValueError(f"{', '.join(needs)} of the inputs needed: give calibration=Calibration(batches)")
    result = deepcopy(model)
    layers = find_linears(result, skip)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no nn.Linear outside skip={skip}")
    hessian = "hessian" in needs

    def replace_all(names: list[str], stats: dict[str, LayerStats]) -> None:
        for name in names:
            result.set_submodule(name, change(name, layers[name], stats.get(name)))

    if calibration is None or not needs:
        replace_all(list(layers), {})
    elif calibration.sequential:
        _replace_in_order(result, layers, calibration, hessian, replace_all)
    else:
        replace_all(list(layers), collect(result, dict(layers), calibration, hessian))
    return result


def _replace_in_order(
    model: nn.Module,
    layers: dict[str, nn.Linear],
    calibration: Calibration,
    hessian: bool,
    replace_all: Callable[[list[str], dict[str, LayerStats]], None],
) -> None:
    """Block by block, then what is outside the blocks, with statistics of the model as it is by then."""
    left = dict(layers)

    def visit(block_name: str, collect_block: Collect) -> None:
        inside = [name for name in left if name.startswith(block_name + ".")]
        replace_all(inside, collect_block({name: left[name] for name in inside}, hessian))
        for name in inside:
            del left[name]

    visit_blocks(model, calibration, visit)
    if left:
        replace_all(list(left), collect(model, dict(left), calibration, hessian))


@torch.no_grad()
def sparsity(model: nn.Module, skip: tuple[str, ...] = SKIP) -> float:
    """Share of zeros in the weights of the linear layers, packed ones unpacked."""
    weights = [layer.weight for layer in find_linears(model, skip).values()]
    weights += [module.dense() for module in model.modules() if isinstance(module, SemiStructuredLinear)]
    total = sum(weight.numel() for weight in weights)
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / total

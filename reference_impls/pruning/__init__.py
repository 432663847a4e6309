"""Pruning: one technique a module, in two families of faces, for weights and for whole models.

A module with `Config` and `keep_mask` says which weights of a linear layer stay (magnitude, wanda, sparsegpt). One
with `Config` and `shrink` returns a model that holds less, or runs less for each token (structured, width, layers,
contextual). `methods()` finds the first, `model_methods()` the second, both by walking the package;
`apply.prune_model` runs either. Storage that really saves bytes is in `semi_structured.py` and `bitmask.py`.
"""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, cast

from torch import Tensor, nn

from reference_impls.quantization import HEADER_FIELDS, LayerStats
from reference_impls.quantization.calibration import Calibration

__all__ = ["HEADER_FIELDS", "Calibration", "LayerStats", "Method", "ModelMethod", "methods", "model_methods"]


class Method(Protocol):
    """The face of a method that works on one weight. Optional beside it:

    NEEDS: tuple of the LayerStats fields without which `keep_mask` refuses (left out: none).
    prune(weight, config, stats) -> (out, in): for methods that also move the weights that stay; exactly the removed
        ones are 0. Left out: the weight times its mask.
    fit(weights, config) -> config: for methods that rank all layers together; called once, with every weight.
    """

    Config: type[Any]

    def keep_mask(self, weight: Tensor, config: Any, stats: LayerStats | None = None) -> Tensor:
        """weight: (out, in) -> bool (out, in), True = kept. The weight is not changed."""


class ModelMethod(Protocol):
    """The face of a method that works on a whole model."""

    Config: type[Any]

    def shrink(self, model: nn.Module, config: Any, calibration: Calibration | None = None) -> nn.Module:
        """A model that holds or runs less. The one that is given stays as it is."""


def methods() -> dict[str, Method]:
    """Every method that works on one weight, by module name."""
    return {name: cast(Method, module) for name, module in _modules_with(("Config", "keep_mask")).items()}


def model_methods() -> dict[str, ModelMethod]:
    """Every method that works on a whole model, by module name."""
    return {name: cast(ModelMethod, module) for name, module in _modules_with(("Config", "shrink")).items()}


def _modules_with(parts: Sequence[str]) -> dict[str, ModuleType]:
    """Modules of this package that define all these names themselves."""
    modules = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    return {
        name: module
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in parts)
    }

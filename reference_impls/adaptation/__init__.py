"""Adaptation: train few parameters beside a model that stays as it is.

A method is a module of this package with a frozen dataclass `Config` and the functions `adapt`, which puts its
trainable parameters into a copy of the model, and `merge`, which gives a plain model back. `methods()` finds them.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

import torch
from torch import nn

from reference_impls.quantization import HEADER_FIELDS

__all__ = ["HEADER_FIELDS", "Method", "methods"]


class Method(Protocol):
    """The face of this family."""

    Config: type[Any]

    def adapt(self, model: nn.Module, config: Any, generator: torch.Generator | None = None) -> nn.Module:
        """A copy of the model that computes the same, in which only the method's own parameters are trainable."""

    def merge(self, model: nn.Module) -> nn.Module:
        """A copy with plain layers that compute what the adapted ones do."""


def methods() -> dict[str, Method]:
    """Every method of the family by module name, found by walking the package."""
    modules = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    parts = ("Config", "adapt", "merge")
    return {
        name: cast(Method, module)
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in parts)
    }

"""Adaptation: train few parameters, or all of them with little beside, of a model that is already good.

A method is a module of this package with a frozen dataclass `Config` and the function `adapt`, which gives a copy of
the model in which only the method's own parameters are trainable: `methods()`. A method of the other kind has `Config`
and `step`, which changes every trainable parameter in place and holds less than an optimizer would: `updates()`.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from reference_impls.quantization import HEADER_FIELDS

__all__ = ["HEADER_FIELDS", "Loss", "Method", "Update", "methods", "trainable", "updates"]

Loss = Callable[[], Tensor]
"""The loss of the model as it is now, on one batch: () each time it is called."""


class Method(Protocol):
    """The face of a method with parameters of its own. Optional beside it:

    LEARNING_RATE: what the cases train it at, the best of a few on text that is not evaluated. Left out: the rate of
        plain training of all weights.
    merge(model) -> a copy with plain layers that compute what the adapted ones do. Left out: its parts stay.
    parameter_groups(model, config, learning_rate) -> what an optimizer is given. Left out: `trainable`, at one rate.
    """

    Config: type[Any]

    def adapt(self, model: nn.Module, config: Any, generator: torch.Generator | None = None) -> nn.Module:
        """A copy in which only the method's own parameters are trainable. The model that is given stays as it is."""


class Update(Protocol):
    """The face of a method that trains every weight with little state. Optional beside it:

    LEARNING_RATE: as a method's. Left out: that of its Config.
    """

    Config: type[Any]

    def step(self, parameters: Sequence[nn.Parameter], loss: Loss, config: Any, seed: int = 0) -> float:
        """One step of all parameters, in place. seed: of what is random in it -> the loss before the step."""


def methods() -> dict[str, Method]:
    """Every method with parameters of its own by module name, found by walking the package."""
    return {name: cast(Method, module) for name, module in _modules_with(("Config", "adapt")).items()}


def updates() -> dict[str, Update]:
    """Every method that trains all weights with little state, by module name."""
    return {name: cast(Update, module) for name, module in _modules_with(("Config", "step")).items()}


def _modules_with(parts: Sequence[str]) -> dict[str, ModuleType]:
    """Modules of this package that define all these names themselves."""
    names = [found.name for found in iter_modules(__path__) if not found.name.startswith("bench")]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {
        name: module
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in parts)
    }


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """What an optimizer is given, where one learning rate does for all."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]

"""Distillation: train a small model on what a large one puts out. One technique a module.

A method is a module of this package with a frozen dataclass `Config` and the function `loss`; `methods()` finds them.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from torch import Tensor

from reference_impls.quantization import HEADER_FIELDS

__all__ = ["HEADER_FIELDS", "Method", "methods"]


class Method(Protocol):
    """The face of this family."""

    Config: type[Any]

    def loss(self, student_logits: Tensor, teacher_logits: Tensor, config: Any, mask: Tensor | None = None) -> Tensor:
        """student_logits, teacher_logits: (.., vocab); mask: bool (..), True = counts -> (), a mean over positions."""


def methods() -> dict[str, Method]:
    """Every method of the family by module name, found by walking the package."""
    modules = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    return {
        name: cast(Method, module)
        for name, module in modules.items()
        if all(
            getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in ("Config", "loss")
        )
    }

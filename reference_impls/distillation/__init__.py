"""Distillation: train a small model on what a large one puts out. One technique a module.

A method is a module of this package with a frozen dataclass `Config` and the function `loss`, which compares logits
(`methods()`), or `text_loss`, which has the teacher's texts alone (`text_methods()`).
"""

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, cast

from torch import Tensor, nn

from reference_impls.quantization import HEADER_FIELDS

__all__ = ["HEADER_FIELDS", "Method", "TextMethod", "methods", "text_methods"]


class Method(Protocol):
    """The face of this family."""

    Config: type[Any]

    def loss(self, student_logits: Tensor, teacher_logits: Tensor, config: Any, mask: Tensor | None = None) -> Tensor:
        """student_logits, teacher_logits: (.., vocab); mask: bool (..), True = counts -> (), a mean over positions."""


class TextMethod(Protocol):
    """The face of a method that has only the teacher's texts."""

    Config: type[Any]

    def text_loss(self, student: nn.Module, answers: Any, reasons: Any, config: Any) -> Tensor:
        """answers, reasons: texts with the places that count -> ()"""


def methods() -> dict[str, Method]:
    """Every method that sees the teacher's logits by module name, found by walking the package."""
    return {name: cast(Method, module) for name, module in _modules_with("loss").items()}


def text_methods() -> dict[str, TextMethod]:
    """Every method that sees only texts, by module name."""
    return {name: cast(TextMethod, module) for name, module in _modules_with("text_loss").items()}


def _modules_with(verb: str) -> dict[str, ModuleType]:
    """Modules of this package that define `Config` and the verb themselves."""
    names = [found.name for found in iter_modules(__path__) if not found.name.startswith("bench")]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return {
        name: module
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in ("Config", verb))
    }

"""Low-rank weights: two thin matrices in the place of a wide one; one technique a module, one face for all.

A method is a module of this package with a frozen dataclass `Config` and the function `factorize`; `methods()` finds
them. `apply.factorize_model` runs any of them over the linear layers of any model.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, cast

from torch import Tensor

from reference_impls.quantization import HEADER_FIELDS, LayerStats

__all__ = ["HEADER_FIELDS", "Factors", "LayerStats", "Method", "RankConfig", "methods"]


@dataclass(frozen=True)
class Factors:
    """weight = left @ right, about."""

    left: Tensor  # (out, rank)
    right: Tensor  # (rank, in)

    def product(self) -> Tensor:
        """-> (out, in)"""
        return self.left @ self.right

    @property
    def parameters(self) -> int:
        """Numbers in both."""
        return self.left.numel() + self.right.numel()


@dataclass(frozen=True)
class RankConfig:
    """How large the factors are."""

    kept: float = 0.8  # parameters of the factors / those of the weight
    rank: int | None = None  # given directly; then `kept` is not read

    def __post_init__(self) -> None:
        if self.kept <= 0:
            raise ValueError(f"kept must be above 0, got {self.kept}")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")

    def rank_of(self, shape: tuple[int, ...]) -> int:
        """The rank for a weight of shape (out, in): at least 1, at most full."""
        out, width = shape
        chosen = int(self.kept * out * width / (out + width)) if self.rank is None else self.rank
        return max(1, min(chosen, out, width))


class Method(Protocol):
    """The face of this family. NEEDS beside it: LayerStats fields without which `factorize` refuses."""

    Config: type[Any]

    def factorize(self, weight: Tensor, config: Any, stats: LayerStats | None = None) -> Factors:
        """weight: (out, in) -> its factors, in its dtype and on its device. The weight is not changed."""


def methods() -> dict[str, Method]:
    """Every method of the family by module name, found by walking the package."""
    modules = {found.name: import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)}
    return {
        name: cast(Method, module)
        for name, module in modules.items()
        if all(
            getattr(getattr(module, p, None), "__module__", None) == module.__name__ for p in ("Config", "factorize")
        )
    }

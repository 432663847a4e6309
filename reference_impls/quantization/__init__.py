"""Weight and activation quantization: one technique a module, one face for all of them.

A method is a module of this package that has a frozen dataclass `Config` and the functions `quantize` and
`dequantize`; `methods()` finds them by walking the package. `apply.quantize_model` runs any of them over the
`nn.Linear` layers of any model. What the records and configs have in common is in `grid.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol, TypeVar, cast

from torch import Tensor

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")
Record = TypeVar("Record")


@dataclass(frozen=True)
class LayerStats:
    """What calibration saw at the input of one linear layer; a method reads the fields it names in its NEEDS."""

    tokens: int  # input rows seen
    mean_abs: Tensor  # (in,): mean |x| of each input channel
    max_abs: Tensor  # (in,): largest |x| of each input channel
    mean_square: Tensor  # (in,): mean x**2 of each input channel; half the diagonal of the hessian
    sample: Tensor  # (rows, in): some of the input rows
    hessian: Tensor | None = None  # (in, in): 2 X^T X / tokens, of the squared output error in one row of weights


class QuantizedWeight(Protocol):
    """What every method's record offers; its tensors are the method's own."""

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""

    @property
    def bits_per_weight(self) -> float:
        """All that would be stored (codes, scales, outliers, permutations) when packed, per weight."""


class Method(Protocol):
    """The face of this family. Optional beside it:

    NEEDS: tuple of the LayerStats fields without which `quantize` refuses (left out: none).
    quantize_input(inputs, quantized) -> inputs: for weight_activation methods, what the layer computes with in place
        of its inputs (batch.., in), dequantized again; left out: the inputs themselves (weight_only).
    """

    Config: type[Any]

    def quantize(self, weight: Tensor, config: Any, stats: LayerStats | None = None) -> QuantizedWeight:
        """weight: (out, in) -> the method's record. The weight is not changed."""

    def dequantize(self, quantized: Any) -> Tensor:
        """-> (out, in), in the dtype and on the device of the weight that was quantized."""


def methods() -> dict[str, Method]:
    """Every method of the family by module name, found by walking the package."""
    others = ("bench", "peer")  # what measures the methods, beside the kernels
    found = [one.name for one in iter_modules(__path__)]
    names = [name for name in found if not name.startswith(others) and not name.endswith("_triton")]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    is_method = ("Config", "quantize", "dequantize")
    return {
        name: cast(Method, module)
        for name, module in modules.items()
        if all(getattr(getattr(module, part, None), "__module__", None) == module.__name__ for part in is_method)
    }


def map_tensors(record: Record, change: Callable[[Tensor], Tensor]) -> Record:
    """A copy of a record (dataclass) with `change` applied to each tensor in it, also in records it holds."""
    changed: dict[str, Any] = {}
    for field in fields(cast(Any, record)):
        value = getattr(record, field.name)
        if isinstance(value, Tensor):
            changed[field.name] = change(value)
        elif is_dataclass(value) and not isinstance(value, type):
            changed[field.name] = map_tensors(value, change)
    return cast(Record, replace(cast(Any, record), **changed))

"""Run a method over the linear layers of any model: this package's decoder, a Hugging Face one, any nn.Module.

The model that is given stays as it is. What comes back is labelled layer by layer (`effects`): `simulated` (the
values of the method, weights still in floating point: shows quality, saves nothing), `packed` (bytes really saved,
dequantized at every call), `kernel` (multiplied by a kernel made for the packed weight).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.quantization import LayerStats, Method, QuantizedWeight, map_tensors, methods
from reference_impls.quantization.calibration import Calibration
from reference_impls.quantization.grid import GridWeight
from reference_impls.quantization.linears import SKIP, change_linears, find_linears
from reference_impls.quantization.matmul import KernelLinear
from reference_impls.quantization.packed import PackedLinear, pack
from reference_impls.quantization.packed_records import RecordLinear, can_pack, pack_record

__all__ = [
    "SKIP",
    "SimulatedLinear",
    "effects",
    "find_linears",
    "layer_error",
    "quantize_model",
    "weight_bytes",
]

Effect = Literal["simulated", "packed", "kernel"]


class SimulatedLinear(nn.Linear):
    """A linear layer with the values that a method leaves. Effect: simulated (the weight stays in floating point)."""

    effect = "simulated"

    def __init__(self, layer: nn.Linear, method: Method, quantized: QuantizedWeight) -> None:
        super().__init__(1, 1, bias=False)
        self.out_features, self.in_features = quantized.shape
        self.weight = nn.Parameter(method.dequantize(quantized), requires_grad=False)
        self.bias = layer.bias
        self.quantized = quantized
        self.quantize_input: Callable[[Tensor, Any], Tensor] | None = getattr(method, "quantize_input", None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SimulatedLinear":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.quantized = map_tensors(self.quantized, fn)  # so that the record follows .to(device)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        if self.quantize_input is not None:
            inputs = self.quantize_input(inputs, self.quantized)
        return linear(inputs, self.weight, self.bias)


def quantize_model(
    model: nn.Module,
    method: Method | str,
    config: Any,
    calibration: Calibration | Mapping[str, LayerStats] | None = None,
    skip: tuple[str, ...] = SKIP,
    effect: Effect = "simulated",
    path: str | None = None,
) -> nn.Module:
    """A copy of the model whose linear layers went through the method.

    method: a module of this package or its name; config: its Config, or those of its fields that are not to be as
        they are by default; path: for effect "kernel", one of matmul.PATHS;
    calibration: how to run the model, or what `calibration.collect` saw of it before, by the names of the layers.
    """
    method = _find_method(method)
    if isinstance(config, Mapping):
        config = method.Config(**config)
    found = method

    def change(_name: str, layer: nn.Linear, stats: LayerStats | None) -> nn.Module:
        return _replacement(layer, found, config, stats, effect, path)

    return change_linears(model, change, getattr(method, "NEEDS", ()), calibration, skip)


def _replacement(
    layer: nn.Linear,
    method: Method,
    config: Any,
    stats: LayerStats | None,
    effect: Effect,
    path: str | None,
) -> nn.Module:
    quantized = method.quantize(layer.weight.detach(), config, stats)
    if effect == "simulated":
        return SimulatedLinear(layer, method, quantized)
    if effect == "packed" and can_pack(quantized):
        return RecordLinear(pack_record(quantized), layer.bias, getattr(method, "quantize_input", None))
    if not isinstance(quantized, GridWeight) or hasattr(method, "quantize_input"):
        raise ValueError(
            f"{_name(method)} can only be simulated: packing is for weight_only uniform grids, NF4, FP8 and "
            "SpQR, kernels are for the first of these"
        )
    if effect == "packed":
        return PackedLinear(pack(quantized), layer.bias)
    return KernelLinear(pack(quantized), layer.bias, path)


def _find_method(method: Method | str) -> Method:
    if not isinstance(method, str):
        return method
    known = methods()
    if method not in known:
        raise ValueError(f"method: expected one of {', '.join(sorted(known))}, got {method!r}")
    return known[method]


def _name(method: Method) -> str:
    return str(getattr(method, "__name__", method)).rpartition(".")[2]


def effects(model: nn.Module) -> dict[str, str]:
    """The effect of every layer that was replaced, by name."""
    return {name: str(module.effect) for name, module in model.named_modules() if hasattr(module, "effect")}


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters and buffers, shared ones once. Kernel layers hold their weight elsewhere: not counted."""
    held = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(tensor.nbytes for tensor in held.values())


@torch.no_grad()
def layer_error(weight: Tensor, approximation: Tensor, inputs: Tensor) -> float:
    """Relative error of a layer's output. weight, approximation: (out, in); inputs: (rows, in) -> |X dW| / |X W|"""
    exact = inputs @ weight.T
    return float((inputs @ approximation.T - exact).norm() / exact.norm())

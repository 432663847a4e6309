"""Run a method over the linear layers of any model: this package's decoder, a Hugging Face one, any nn.Module.

The model that is given stays as it is. What comes back is labelled layer by layer (`effects`): `simulated` (the
values of the method, weights still in floating point: shows quality, saves nothing), `packed` (bytes really saved,
dequantized at every call), `kernel` (multiplied by a kernel made for the packed weight).
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from fnmatch import fnmatch
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.quantization import LayerStats, Method, QuantizedWeight, map_tensors, methods
from reference_impls.quantization.calibration import Calibration, Collect, collect, visit_blocks
from reference_impls.quantization.grid import GridWeight
from reference_impls.quantization.matmul import KernelLinear
from reference_impls.quantization.packed import PackedLinear, pack
from reference_impls.quantization.packed_records import RecordLinear, can_pack, pack_record

Effect = Literal["simulated", "packed", "kernel"]
SKIP = ("lm_head", "head")


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


def find_linears(model: nn.Module, skip: tuple[str, ...] = SKIP) -> dict[str, nn.Linear]:
    """The linear layers by name. `skip` holds patterns (as in file names) of whole names or of their last part."""

    def skipped(name: str) -> bool:
        return any(fnmatch(name, pattern) or fnmatch(name.rpartition(".")[2], pattern) for pattern in skip)

    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and not skipped(name)
    }


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
    needs: tuple[str, ...] = getattr(method, "NEEDS", ())
    if needs and calibration is None:
        raise ValueError(
            f"{_name(method)} needs {', '.join(needs)} of the inputs: give calibration=Calibration(batches)"
        )
    result = deepcopy(model)
    layers = find_linears(result, skip)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no nn.Linear outside skip={skip}")

    def replace(names: list[str], stats: dict[str, LayerStats]) -> None:
        for name in names:
            result.set_submodule(name, _replacement(name, layers[name], method, config, stats.get(name), effect, path))

    if calibration is None or not needs:
        replace(list(layers), {})
    elif not isinstance(calibration, Calibration):
        replace(list(layers), dict(calibration))
    elif calibration.sequential:
        _replace_in_order(result, layers, calibration, "hessian" in needs, replace)
    else:
        replace(list(layers), collect(result, dict(layers), calibration, "hessian" in needs))
    return result


def _replace_in_order(
    model: nn.Module,
    layers: dict[str, nn.Linear],
    calibration: Calibration,
    hessian: bool,
    replace: Callable[[list[str], dict[str, LayerStats]], None],
) -> None:
    """Block by block, then what is outside the blocks, with statistics of the model as it is by then."""
    left = dict(layers)

    def visit(block_name: str, collect_block: Collect) -> None:
        inside = [name for name in left if name.startswith(block_name + ".")]
        replace(inside, collect_block({name: left[name] for name in inside}, hessian))
        for name in inside:
            del left[name]

    visit_blocks(model, calibration, visit)
    if left:
        replace(list(left), collect(model, dict(left), calibration, hessian))


def _replacement(
    name: str,
    layer: nn.Linear,
    method: Method,
    config: Any,
    stats: LayerStats | None,
    effect: Effect,
    path: str | None,
) -> nn.Module:
    try:
        quantized = method.quantize(layer.weight.detach(), config, stats)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if effect == "simulated":
        return SimulatedLinear(layer, method, quantized)
    if effect == "packed" and can_pack(quantized):
        return RecordLinear(pack_record(quantized), layer.bias, getattr(method, "quantize_input", None))
    if not isinstance(quantized, GridWeight) or hasattr(method, "quantize_input"):
        raise ValueError(
            f"{name}: {_name(method)} can only be simulated: packing is for weight_only uniform grids, NF4, FP8 and "
            "SpQR, kernels are for the first of these"
        )
    if effect == "packed":
        return PackedLinear(pack(quantized), layer.bias)
    try:
        return KernelLinear(pack(quantized), layer.bias, path)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


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

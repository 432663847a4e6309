"""Which code multiplies by a packed weight: the dequantizing oracle, or a kernel that fits the weight and the machine.

A path says why it cannot serve a weight here, in one sentence; `prepare` raises it. Paths that also round the
activations are other arithmetic than weight_only, are marked so, and are never chosen unless asked for by name.

Paper: arXiv 2306.00978, section 4.2 (dequantizing inside the product, from a layout made for the kernel).
Idea: packed codes save time only where the product reads them as they are; each kernel wants its own layout, made once.
Symbols: as in grid.py.
Simplified: on CPUs the kernels that torch has (aten, fbgemm, oneDNN) and one of ours for decoding; Triton's on a GPU.
Differs: the paper writes its own kernels for 4 bits; here are 4 and 8 bits, also with rounded activations.
Cost: one repacking a layer; then the bytes of codes and scales once a call.
Checked against: the path `dequantize`, for every path that serves a weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls import cpp
from reference_impls.quantization import w8a8_cpu
from reference_impls.quantization.grid import decode_weight
from reference_impls.quantization.packed import PackedWeight, grid_inputs, row_scale, signed_codes, unpack, unpack_codes

Product = Callable[[Tensor], Tensor]  # inputs: (rows, in), already through grid_inputs -> (rows, out)


@dataclass(frozen=True)
class Path:
    """One way to multiply."""

    obstacle: Callable[[PackedWeight], str | None]  # why it cannot serve this weight here; None: it can
    prepare: Callable[[PackedWeight], Product]  # repacks the weight as its kernel wants it, once
    rounds_activations: bool = False


def _no_obstacle(_weight: PackedWeight) -> str | None:
    return None


def _dequantize(weight: PackedWeight) -> Product:
    plain = decode_weight(unpack(_on_its_grid(weight)))
    return lambda inputs: linear(inputs, plain.to(inputs.dtype))


def _on_its_grid(weight: PackedWeight) -> PackedWeight:
    """The same codes without input_scale and columns, which grid_inputs has dealt with."""
    return PackedWeight(
        weight.codes, weight.scale, weight.zero_point, None, None, weight.bits, weight.group_size, weight.dtype
    )


def _int8_obstacle(weight: PackedWeight, needs_symmetric: bool) -> str | None:
    if weight.codes.device.type != "cpu":
        return f"runs on the CPU only, the weight is on {weight.codes.device}"
    if weight.bits != 8 or weight.group_size != weight.shape[1]:
        return f"needs 8 bits and one scale a row, got {weight.bits} bits in groups of {weight.group_size}"
    if needs_symmetric and weight.zero_point is not None:
        return "needs a symmetric grid, got one with zero_points"
    return None


def _aten_int8(weight: PackedWeight) -> Product:
    codes = signed_codes(weight)
    scale = row_scale(weight)
    return lambda inputs: torch._weight_int8pack_mm(inputs, codes, scale.to(inputs.dtype))


def _fbgemm_obstacle(weight: PackedWeight) -> str | None:
    if not {"x86", "fbgemm"} & set(torch.backends.quantized.supported_engines):
        return f"needs torch's x86 or fbgemm engine, this build has {torch.backends.quantized.supported_engines}"
    return _int8_obstacle(weight, needs_symmetric=False)


def _fbgemm_int8(weight: PackedWeight) -> Product:
    codes = signed_codes(weight)
    scale = row_scale(weight).double()
    zeros = torch.zeros_like(scale) if weight.zero_point is None else weight.zero_point.flatten().double() - 128
    zeros = zeros.expand(weight.shape[0]).round().long()
    held = torch.ops.quantized.linear_prepack(torch._make_per_channel_quantized_tensor(codes, scale, zeros, 0), None)
    # Without VNNI the kernel adds pairs of products in 16 bits, which overflow unless activations keep to 7 bits.
    seven_bits = not torch.cpu._is_vnni_supported()

    def product(inputs: Tensor) -> Tensor:
        out: Tensor = torch.ops.quantized.linear_dynamic(inputs.float(), held, seven_bits)
        return out.to(inputs.dtype)

    return product


def _onednn_obstacle(weight: PackedWeight) -> str | None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "needs torch built with oneDNN (torch.backends.mkldnn)"
    if not (torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()):
        return "needs a CPU with VNNI or AMX: without them its sums of 8-bit products overflow"
    return _int8_obstacle(weight, needs_symmetric=True)


def _onednn_int8(weight: PackedWeight) -> Product:
    """Each row of inputs has its own scale: the kernel sums with scale 1, and rows are scaled afterwards."""
    codes = signed_codes(weight)
    held, scale = torch.ops.onednn.qlinear_prepack(codes, None), row_scale(weight).float()
    zeros = torch.zeros(len(scale), dtype=torch.int32)

    def product(inputs: Tensor) -> Tensor:
        wide = inputs.float()
        step = (wide.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        rounded = (wide / step).round().to(torch.int8)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 0, held, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return out.mul_(step).to(inputs.dtype)

    return product


def _aten_int4_obstacle(weight: PackedWeight) -> str | None:
    if weight.codes.device.type != "cpu":
        return f"runs on the CPU only, the weight is on {weight.codes.device}"
    if weight.bits != 4 or weight.group_size not in (32, 64, 128, 256):
        return f"needs 4 bits in groups of 32, 64, 128 or 256, got {weight.bits} bits in groups of {weight.group_size}"
    if weight.shape[0] % 16:
        return f"needs out to be a multiple of 16, got {weight.shape[0]}"
    return None


def _aten_int4(weight: PackedWeight) -> Product:
    codes = unpack_codes(weight.codes, 4).to(torch.int32)
    held = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    # The kernel computes (code - 8) * scale + zero, groups first.
    middle = 8.0 if weight.zero_point is None else weight.zero_point.float()
    pairs = torch.stack([weight.scale.float(), (8.0 - middle) * weight.scale.float()], -1).transpose(0, 1).contiguous()

    def product(inputs: Tensor) -> Tensor:
        kept = pairs.to(inputs.dtype)
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(inputs.contiguous(), held, weight.group_size, kept)
        return out

    return product


def _triton(function: str, weight: PackedWeight) -> Any:
    """Call one of w4a16_triton's functions; importing it imports Triton, so only when asked."""
    return getattr(import_module("reference_impls.quantization.w4a16_triton"), function)(weight)


def _w8a8_obstacle(weight: PackedWeight) -> str | None:
    return cpp.obstacle() or _int8_obstacle(weight, needs_symmetric=True)


PATHS = {
    "dequantize": Path(_no_obstacle, _dequantize),
    "aten_int8": Path(lambda weight: _int8_obstacle(weight, needs_symmetric=True), _aten_int8),
    "aten_int4": Path(_aten_int4_obstacle, _aten_int4),
    "triton": Path(partial(_triton, "obstacle"), partial(_triton, "prepare")),
    "fbgemm_int8": Path(_fbgemm_obstacle, _fbgemm_int8, rounds_activations=True),
    "onednn_int8": Path(_onednn_obstacle, _onednn_int8, rounds_activations=True),
    "w8a8_cpu": Path(_w8a8_obstacle, w8a8_cpu.prepare, rounds_activations=True),
    "triton_w8a8": Path(partial(_triton, "obstacle_w8a8"), partial(_triton, "prepare_w8a8"), rounds_activations=True),
}


def obstacles(weight: PackedWeight) -> dict[str, str | None]:
    """Every path with the reason why it cannot serve this weight on this machine, None where it can."""
    return {name: path.obstacle(weight) for name, path in PATHS.items()}


def choose_path(weight: PackedWeight) -> str:
    """The first weight_only kernel that can serve the weight, or the oracle."""
    able = [name for name, path in PATHS.items() if not path.rounds_activations and path.obstacle(weight) is None]
    return next((name for name in able if name != "dequantize"), "dequantize")


def prepare(weight: PackedWeight, path: str | None = None) -> Product:
    """A function inputs: (batch.., in) -> (batch.., out) that runs the chosen path (None: `choose_path`)."""
    name = choose_path(weight) if path is None else path
    if name not in PATHS:
        raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {name!r}")
    obstacle = PATHS[name].obstacle(weight)
    if obstacle is not None:
        raise ValueError(f"path {name} {obstacle}")
    product = PATHS[name].prepare(weight)
    out, columns = weight.shape

    def multiply(inputs: Tensor) -> Tensor:
        given = grid_inputs(inputs, weight)
        if given.ndim == 2:
            return product(given)
        return product(given.reshape(-1, columns)).reshape(*inputs.shape[:-1], out)

    return multiply


class KernelLinear(nn.Module):
    """A linear layer that multiplies by a packed weight through one path. Effect: kernel, where it is no oracle.

    The kernel's own form of the weight is kept, not the container: it does not move between devices or into a
    state_dict. Save the packed model; make this one from it.
    """

    def __init__(self, weight: PackedWeight, bias: Tensor | None = None, path: str | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.path = choose_path(weight) if path is None else path
        self.effect = "packed" if self.path == "dequantize" else "kernel"
        self.multiply = prepare(weight, self.path)
        self.bias = None if bias is None else bias.detach().clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        outputs = self.multiply(inputs)
        return outputs if self.bias is None else outputs + self.bias.to(outputs.dtype)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"in={self.in_features}, out={self.out_features}, path={self.path}"

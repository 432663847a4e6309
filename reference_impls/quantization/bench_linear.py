"""Time of one linear layer: kernels for packed weights against plain ones, each reading its weights from memory.

A step multiplies by the next of several equal layers (`rotating`), whose weights together exceed what a last-level
cache keeps; one layer called again and again would be read from the cache, at twice the speed of memory or more.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from itertools import cycle

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Step, Workload
from reference_impls.quantization import map_tensors, rtn
from reference_impls.quantization.matmul import PATHS, prepare
from reference_impls.quantization.packed import PackedWeight, pack
from reference_impls.quantization.peers import INT4, torchao_quantize

SIDE = 4096
FEW = 16  # rows
FOOTPRINT = 256 << 20
"""Bytes of weights that one implementation goes through before it meets the first again."""


def linear_cases() -> list[Case]:
    """One layer at batch 1 to 64, on either device."""
    return [_layer_case(batch, device) for device in ("cpu", "cuda") for batch in (1, 4, 16, 64)]


def _layer_case(batch: int, device: str) -> Case:
    baseline = Implementation("bf16", "baseline", "kernel", partial(_plain, torch.bfloat16), limit=byte_limit(16))
    ways = _cpu_ways(batch) if device == "cpu" else _cuda_ways()
    return Case(
        id=f"quantization/linear-{SIDE}-{device}/batch-{batch}",
        title=f"One {SIDE} x {SIDE} linear layer, {batch} rows",
        metric="step_time",
        workload={
            "in": SIDE,
            "out": SIDE,
            "batch": batch,
            "inputs": "bfloat16",
            "weights": f"the next of {FOOTPRINT >> 20} MB of equal layers at every step, so that they come from memory",
        },
        implementations=(baseline, *ways),
        timed=True,
        lossy=True,
        devices=(device,),
    )


def _cpu_ways(batch: int) -> list[Implementation]:
    rounds = "rounds the activations too, one scale for all rows"
    return [
        Implementation("fp32", "peer", "kernel", partial(_plain, torch.float32), limit=byte_limit(32)),
        _dequantize(8, None),
        _kernel("int8-aten", 8, None, "aten_int8"),
        _kernel("int8-fbgemm", 8, None, "fbgemm_int8", rounds),
        _kernel("int8-w8a8", 8, None, "w8a8_cpu", "rounds the activations too, one scale a row"),
        _kernel("int8-onednn", 8, None, "onednn_int8", "rounds the activations too, one scale a row"),
        _kernel("int4-aten", 4, 64, "aten_int4"),
        _torchao("torchao-int8", "Int8WeightOnlyConfig", 8),
        # With more rows it takes half a second a step where the CPU has no bfloat16.
        *([_torchao("torchao-int8-dynamic", "Int8DynamicActivationInt8WeightConfig", 8)] if batch < FEW else []),
        _torchao("torchao-int4", INT4, 4 + 32 / 64, bound=0.15),
        Implementation(
            "hqq-int4",
            "peer",
            "packed",
            partial(_copied, _hqq_layer),
            needs=("hqq",),
            note="without its solver: the same product",
        ),
        Implementation(
            "bitsandbytes-nf4", "peer", "packed", partial(_copied, _bitsandbytes_layer), needs=("bitsandbytes",)
        ),
        Implementation("quanto-int8", "peer", "packed", _quanto, needs=("optimum-quanto",)),
        *([_reading(8)] if batch == 1 else []),
    ]


def _cuda_ways() -> list[Implementation]:
    return [
        _dequantize(8, None),
        _kernel("int8-triton", 8, 128, "triton"),
        _kernel("int4-triton", 4, 128, "triton"),
        Implementation("int4-aten", "peer", "kernel", _aten_int4_cuda, limit=byte_limit(4 + 32 / 128)),
        _torchao("torchao-int8", "Int8WeightOnlyConfig", 8),
    ]


def byte_limit(bits: float) -> Callable[[Workload, Ceilings], Limit | None]:
    """The time to read the weights of the step's layers, at so many bits each, at the measured read bandwidth."""

    def limit(workload: Workload, ceilings: Ceilings) -> Limit | None:
        if ceilings.read_bytes_per_s is None:
            return None
        moved = int(workload.get("layers") or 1) * SIDE * SIDE * bits / 8
        formula = f"{bits:g} bits a weight / read bandwidth of {ceilings.read_bytes_per_s / 1e9:.1f} GB/s"
        return Limit(moved / ceilings.read_bytes_per_s, formula)

    return limit


def rotating(make: Callable[[], Callable[[Tensor], object]], bits: float, inputs: Tensor) -> Step:
    """A step that multiplies by the next of as many layers as make up FOOTPRINT; each holds memory of its own."""
    count = max(2, -(-FOOTPRINT * 8 // int(SIDE * SIDE * bits)))
    layers = cycle([make() for _ in range(count)])

    def step() -> None:
        next(layers)(inputs)

    return step


def _kernel(name: str, bits: int, group_size: int | None, path: str, note: str = "") -> Implementation:
    stored = bits + (0 if group_size is None else 32 / group_size)
    module = "w4a16_triton" if path.startswith("triton") else "w8a8_cpu" if path == "w8a8_cpu" else "matmul"
    step = partial(_packed, bits, group_size, path)
    return Implementation(
        name,
        "method",
        "kernel",
        step,
        quality=_error(bits, group_size),
        limit=byte_limit(stored),
        note=note or f"path {path}",
        module=module,
    )


def _dequantize(bits: int, group_size: int | None) -> Implementation:
    step = partial(_packed, bits, group_size, "dequantize")
    note = "the reference: dequantises at every call, not made to be fast"
    quality = _error(bits, group_size)
    return Implementation(
        f"dequantize-int{bits}", "method", "packed", step, quality=quality, note=note, module="packed"
    )


@cache
def _layer_weight() -> Tensor:
    """(SIDE, SIDE), as a layer of an 8B model has it: normal, deviation 0.02."""
    return torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.02


@cache
def _layer_packed(bits: int, group_size: int | None) -> PackedWeight:
    config = rtn.Config(bits=bits, group_size=group_size, symmetric=group_size is None)
    return pack(rtn.quantize(_layer_weight().to(torch.bfloat16), config))


def _reading(bits: int) -> Implementation:
    """No product at all: the ceiling in the very rounds of the products, whatever else the machine does then."""

    def prepare_step(workload: Workload, device: str) -> Step:
        def make() -> Callable[[Tensor], object]:
            own = torch.ones(SIDE * SIDE * bits // 32, device=device)
            return lambda _rows: own.sum()

        return rotating(make, bits, _inputs(workload, device))

    note = f"adds up as many bytes as {bits}-bit weights have: what a product with them can take at least"
    return Implementation(f"reading-{bits}-bit", "peer", "kernel", prepare_step, limit=byte_limit(bits), note=note)


def _inputs(workload: Workload, device: str, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(int(workload["batch"] or 1), SIDE, generator=generator).to(device, dtype)


def _plain(dtype: torch.dtype, workload: Workload, device: str) -> Step:
    weight = _layer_weight().to(device, dtype)

    def make() -> Callable[[Tensor], object]:
        own = weight.clone()
        return lambda inputs: linear(inputs, own)

    return rotating(make, dtype.itemsize * 8, _inputs(workload, device, dtype))


def _packed(bits: int, group_size: int | None, path: str, workload: Workload, device: str) -> Step:
    packed = map_tensors(_layer_packed(bits, group_size), lambda tensor: tensor.to(device))

    def make() -> Callable[[Tensor], object]:
        own = map_tensors(packed, torch.clone)
        if path == "dequantize":  # the oracle keeps its dequantised weight; here each call pays for making it
            return lambda inputs: PATHS[path].prepare(own)(inputs)
        return prepare(own, path)

    return rotating(make, bits, _inputs(workload, device))


def _error(bits: int, group_size: int | None) -> Callable[[Workload, str], Quality]:
    """The error that the grid makes in this layer's output, whichever code multiplies."""

    def quality(workload: Workload, device: str) -> Quality:  # noqa: ARG001 computed on the CPU
        inputs = _inputs(workload, "cpu", torch.float32)
        exact = linear(inputs, _layer_weight())
        rounded = PATHS["dequantize"].prepare(_layer_packed(bits, group_size))(inputs)
        return Quality("layer_error", float((rounded - exact).norm() / exact.norm()))

    return quality


# Peers: their own quantization of the same weight, checked once against the exact product.


def _checked(make: Callable[[], Callable[[Tensor], object]], bits: float, inputs: Tensor, bound: float) -> Step:
    """`rotating`, after comparing one product with the exact one. Raises ValueError where it is further off."""
    outputs = make()(inputs)
    assert isinstance(outputs, Tensor)
    exact = linear(inputs.float().cpu(), _layer_weight())
    error = float((outputs.float().cpu() - exact).norm() / exact.norm())
    if not error < bound:
        raise ValueError(f"its product is {error:.3g} off the exact one, expected less than {bound}")
    return rotating(make, bits, inputs)


def _plain_layer(device: str, dtype: torch.dtype = torch.bfloat16) -> nn.Sequential:
    layer = nn.Linear(SIDE, SIDE, bias=False, dtype=dtype, device="meta")
    layer.weight = nn.Parameter(_layer_weight().to(device, dtype, copy=True), requires_grad=False)
    return nn.Sequential(layer)


def _peer(name: str, prepare_step: Callable[[Workload, str], Step], package: str, note: str = "") -> Implementation:
    return Implementation(name, "peer", "packed", prepare_step, needs=(package,), note=note)


def _torchao(name: str, config: str, bits: float, bound: float = 0.03) -> Implementation:
    def prepare_step(workload: Workload, device: str) -> Step:
        def make() -> nn.Module:
            layer = _plain_layer(device)
            torchao_quantize(layer, config)
            return layer

        return _checked(make, bits, _inputs(workload, device), bound)

    return Implementation(name, "peer", "kernel", prepare_step, needs=("torchao",), limit=byte_limit(bits), note=config)


@cache
def _hqq_layer(device: str) -> nn.Module:
    """Its layer as it multiplies by default, without its solver, which takes a minute and changes no time."""
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    settings = BaseQuantizeConfig(nbits=4, group_size=64)
    settings["weight_quant_params"]["optimize"] = False
    found: nn.Module = HQQLinear(_plain_layer(device)[0], settings, compute_dtype=torch.bfloat16, device=device)
    return found


@cache
def _bitsandbytes_layer(device: str) -> nn.Module:
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(SIDE, SIDE, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    layer.load_state_dict({"weight": _layer_weight().to(torch.bfloat16)})
    found: nn.Module = layer.to(device)
    return found


def _copied(make: Callable[[str], nn.Module], workload: Workload, device: str) -> Step:
    """Layers of 4 bits that take seconds to quantize: once for all cases, and copied."""
    return _checked(lambda: deepcopy(make(device)), 4, _inputs(workload, device), 0.15)


def _quanto(workload: Workload, device: str) -> Step:
    from optimum.quanto import freeze, qint8, quantize

    def make() -> nn.Module:
        layer = _plain_layer(device)
        quantize(layer, weights=qint8)
        freeze(layer)
        return layer

    return _checked(make, 8, _inputs(workload, device), 0.03)


def _aten_int4_cuda(workload: Workload, device: str) -> Step:
    """torch's tinygemm: groups of 128, its own layout of 8 inner tiles, zero points as offsets of the middle code."""
    grid = rtn.quantize(_layer_weight().to(torch.bfloat16), rtn.Config(bits=4, group_size=128))
    codes = grid.codes.flatten(1).to(device)
    scale, zero = grid.scale[..., 0].to(device), grid.zero_point[..., 0].to(device)
    pairs = torch.stack([scale, (8 - zero) * scale], -1).transpose(0, 1).contiguous().to(torch.bfloat16)
    nibbles = (codes[:, ::2] << 4 | codes[:, 1::2]).to(torch.uint8)

    def make() -> Callable[[Tensor], object]:
        held, own = torch.ops.aten._convert_weight_to_int4pack(nibbles, 8), pairs.clone()
        return lambda inputs: torch.ops.aten._weight_int4pack_mm(inputs, held, 128, own)

    return _checked(make, 4, _inputs(workload, device), 0.15)

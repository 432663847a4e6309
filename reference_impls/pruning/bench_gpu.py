"""Time of single layers on a GPU: 2:4 weights on sparse tensor cores, and feed-forward layers with fewer neurons.

`python -m scripts.bench --device cuda pruning` runs them; on a CPU there is nothing to run.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Step, Workload
from reference_impls.pruning import semi_structured

SHAPES = ((8192, 8192), (14336, 4096), (4096, 14336))
"""(out, in): a square that fills a GPU, and both sides of the feed-forward part of an 8B model."""
BATCHES = (16, 512, 8192)
HIDDEN, NEURONS = 4096, 14336
BOUND = "the larger of FLOPs / rate and bytes / bandwidth; 2:4 has half the FLOPs"


def cases() -> list[Case]:
    """Every case for CUDA."""
    dtypes = (torch.bfloat16, torch.int8)
    layers = [_layer_case(*shape, batch, dtype) for dtype in dtypes for shape in SHAPES for batch in BATCHES]
    return [*layers, *(_width_case(batch) for batch in (1, 64, 2048))]


def _layer_case(out: int, width: int, batch: int, dtype: torch.dtype) -> Case:
    name = (f"{out}" if out == width else f"{out}x{width}") + ("-cuda-int8" if dtype == torch.int8 else "-cuda")
    kind = str(dtype).removeprefix("torch.")
    ways = [
        Implementation("dense", "baseline", "kernel", partial(_dense, dtype), limit=partial(_layer_limit, dtype, 1.0)),
        Implementation(
            "tensor-core",
            "method",
            "kernel",
            partial(_sparse, dtype, "tensor_core"),
            limit=partial(_layer_limit, dtype, 0.5),
            module="semi_structured",
        ),
    ]
    if dtype == torch.bfloat16:
        unpacked = partial(_sparse, dtype, "unpack")
        note = "unpacked at each call: saves bytes, not time"
        ways.append(Implementation("unpack", "method", "packed", unpacked, note=note, module="semi_structured"))
        limit = partial(_layer_limit, dtype, 0.5)
        ways.append(Implementation("torchao-2-of-4", "peer", "kernel", _torchao, ("torchao",), limit=limit))
    return Case(
        id=f"pruning/linear-{name}/batch-{batch}",
        title=f"One {out} x {width} linear layer with 2:4 weights, {batch} rows, {kind}",
        metric="step_time",
        workload={"in": width, "out": out, "batch": batch, "dtype": kind},
        implementations=tuple(ways),
        timed=True,
        devices=("cuda",),
    )


def sparse_weight(work: Workload, device: str, dtype: torch.dtype) -> Tensor:
    """A weight of which two of each four are 0. -> (out, in)"""
    shape = int(work["out"] or 1), int(work["in"] or 1)
    weight = _drawn(shape, dtype, 0).to(device)
    keep = semi_structured.keep_mask(weight.float(), semi_structured.Config())
    return weight * keep


def _drawn(shape: tuple[int, int], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype == torch.int8:
        return torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
    return torch.randn(shape, generator=generator).to(dtype)


def _inputs(work: Workload, device: str, dtype: torch.dtype) -> Tensor:
    return _drawn((int(work["batch"] or 1), int(work["in"] or 1)), dtype, 1).to(device)


def _dense(dtype: torch.dtype, work: Workload, device: str) -> Step:
    weight, inputs = sparse_weight(work, device, dtype), _inputs(work, device, dtype)
    if dtype == torch.int8:
        padded = torch.nn.functional.pad(inputs, (0, 0, 0, max(0, 32 - len(inputs))))  # cuBLAS wants more than 16 rows
        return lambda: _done(torch._int_mm(padded, weight.T))
    return lambda: _done(linear(inputs, weight))


def _sparse(dtype: torch.dtype, path: str, work: Workload, device: str) -> Step:
    weight, inputs = sparse_weight(work, device, dtype), _inputs(work, device, dtype)
    return checked(semi_structured.prepare(semi_structured.pack(weight), path), weight, inputs)


def _torchao(work: Workload, device: str) -> Step:
    from torchao.sparsity import semi_sparse_weight, sparsify_

    weight, inputs = sparse_weight(work, device, torch.bfloat16), _inputs(work, device, torch.bfloat16)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta", dtype=torch.bfloat16)
    layer.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    model: Any = torch.nn.Sequential(layer)
    sparsify_(model, semi_sparse_weight())
    return checked(model, weight, inputs)


def checked(multiply: Callable[[Tensor], Tensor], weight: Tensor, inputs: Tensor) -> Step:
    """A step, after one product was compared with the dense one. Raises ValueError where it is another."""
    found, exact = multiply(inputs).double(), inputs.double() @ weight.double().T
    error = float((found - exact).norm() / exact.norm())
    if not error < 0.02:
        raise ValueError(f"its product is {error:.3g} off the dense one")
    return lambda: _done(multiply(inputs))


def _layer_limit(dtype: torch.dtype, share: float, work: Workload, ceilings: Ceilings) -> Limit | None:
    """share: of the multiplications that are done; a 2:4 weight has two bits of position beside each value."""
    rate = (ceilings.matmul_flops_per_s or {}).get(str(dtype).removeprefix("torch."))
    if rate is None or ceilings.read_bytes_per_s is None:
        return None
    rows, numbers = int(work["batch"] or 1), int(work["in"] or 1) * int(work["out"] or 1)
    bits = dtype.itemsize * 8 if share == 1 else dtype.itemsize * 4 + 1
    seconds = max(2 * rows * numbers * share / rate, numbers * bits / 8 / ceilings.read_bytes_per_s)
    return Limit(seconds, BOUND)


# Fewer neurons: a dense layer of another shape.


def _width_case(batch: int) -> Case:
    ways = (("dense", 0.0), ("neurons-20", 0.2), ("neurons-30", 0.3), ("neurons-50", 0.5))
    return Case(
        id=f"pruning/feed-forward-cuda/batch-{batch}",
        title=f"The feed-forward part of an 8B model without some of its neurons, {batch} rows",
        metric="step_time",
        workload={"hidden": HIDDEN, "neurons": NEURONS, "batch": batch, "dtype": "bfloat16"},
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "dense" else "method",
                "kernel",
                partial(_feed_forward, removed),
                limit=partial(_feed_forward_limit, removed),
                module=None if name == "dense" else "width",
            )
            for name, removed in ways
        ),
        timed=True,
        devices=("cuda",),
    )


def neurons_left(removed: float) -> int:
    """A multiple of 128, as kernels like it; the nearest to the share."""
    return round(NEURONS * (1 - removed) / 128) * 128


def _feed_forward(removed: float, work: Workload, device: str) -> Step:
    left, batch = neurons_left(removed), int(work["batch"] or 1)
    gate, up = (_drawn((left, HIDDEN), torch.bfloat16, seed).to(device) for seed in (0, 1))
    down, inputs = (_drawn(shape, torch.bfloat16, 2).to(device) for shape in ((HIDDEN, left), (batch, HIDDEN)))
    return lambda: _done(linear(silu(linear(inputs, gate)) * linear(inputs, up), down))


def _feed_forward_limit(removed: float, work: Workload, ceilings: Ceilings) -> Limit | None:
    shape = {"in": HIDDEN, "out": 3 * neurons_left(removed), "batch": work["batch"]}
    return _layer_limit(torch.bfloat16, 1.0, shape, ceilings)


def _done(_result: Tensor) -> None:
    """A timed step returns nothing."""

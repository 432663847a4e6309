"""What the machine can do at most, measured in the run that the ceilings are for.

Each figure is the best of several repetitions: a ceiling is what is possible, not what is typical. What other
tenants of a machine leave of it changes within minutes, so the bench measures before and after a run and keeps the
`larger` of both.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from itertools import cycle

import torch

from reference_impls.measurement.case import Ceilings

REPEATS = 9
COPY_BYTES = {"cpu": 512 << 20, "cuda": 2 << 30}
"""More than caches keep: where the last-level cache is large, 64 MB read twice come at twice the speed of memory."""
MATMUL_SIDE = {"cpu": 1024, "cuda": 8192}
DTYPES = {
    "cpu": (torch.float32, torch.bfloat16, torch.int8),
    "cuda": (torch.float32, torch.float16, torch.bfloat16, torch.int8),
}
DISK_BYTES = 128 << 20


def measure_ceilings(device: str) -> Ceilings:
    """Copy and read bandwidth, product rate per dtype, host-to-device link (GPU) and disk."""
    return Ceilings(
        copy_bytes_per_s=_copy(device),
        read_bytes_per_s=_read(device),
        matmul_flops_per_s={str(dtype).removeprefix("torch."): _matmul(device, dtype) for dtype in DTYPES[device]},
        host_to_device_bytes_per_s=_link() if device == "cuda" else None,
        disk_read_bytes_per_s=_disk(),
    )


def larger(one: Ceilings, other: Ceilings) -> Ceilings:
    """Field by field the larger of two measurements; a field that one of them lacks comes from the other."""
    rates = {name: value for part in (one, other) for name, value in (part.matmul_flops_per_s or {}).items()}
    for part in (one, other):
        rates = {name: max(value, (part.matmul_flops_per_s or {}).get(name, value)) for name, value in rates.items()}
    single = {
        field.name: max(
            (v for v in (getattr(one, field.name), getattr(other, field.name)) if v is not None), default=None
        )
        for field in fields(Ceilings)
        if field.name != "matmul_flops_per_s"
    }
    return Ceilings(matmul_flops_per_s=rates or None, **single)


def _best(step: Callable[[], object], device: str) -> float:
    """Seconds of the fastest repetition, after one that is not counted."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _copy(device: str) -> float:
    source = torch.ones(COPY_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), device)  # each byte is read and written


def _read(device: str) -> float:
    """Reading alone, which is what a matrix-vector product does to its weights; by the fastest of three ways to do it.

    One of them is that product itself, over one matrix after the other as cases do it (`rotating` in
    reference_impls/quantization/bench_linear.py): no way to read may beat its own ceiling.
    """
    source = torch.ones(COPY_BYTES[device] // 4, device=device)
    vector, matrices = torch.ones(1, 4096, device=device), source.view(-1, 4096, 4096)
    turns = cycle(matrices)
    rates = [source.nbytes / _best(step, device) for step in (source.sum, lambda: source @ source)]
    return max(*rates, matrices[0].nbytes / _best(lambda: torch.nn.functional.linear(vector, next(turns)), device))


def _matmul(device: str, dtype: torch.dtype) -> float:
    """The rate of products with a square matrix, by the fastest way that there is."""
    side = MATMUL_SIDE[device]
    a = torch.ones(side, side, device=device, dtype=dtype)
    b = torch.ones(side, side, device=device, dtype=dtype)
    multiply = torch._int_mm if dtype == torch.int8 else torch.matmul
    rate = 2 * side**3 / _best(lambda: multiply(a, b), device)
    if dtype == torch.int8 and device == "cpu" and {"x86", "fbgemm"} & set(torch.backends.quantized.supported_engines):
        return max(rate, *(_fbgemm(side, rows) for rows in (16, side)))
    return rate


def _fbgemm(side: int, rows: int) -> float:
    """The rate of the 8-bit product that needs no VNNI, and rounds its inputs itself."""
    codes, scales = torch.ones(side, side, dtype=torch.int8), torch.ones(side, dtype=torch.double)
    weight = torch._make_per_channel_quantized_tensor(codes, scales, torch.zeros(side, dtype=torch.long), 0)
    packed, inputs = torch.ops.quantized.linear_prepack(weight, None), torch.ones(rows, side)
    return 2 * rows * side**2 / _best(lambda: torch.ops.quantized.linear_dynamic(inputs, packed, True), "cpu")


def _link() -> float:
    source = torch.ones(256 << 18, pin_memory=True)
    target = torch.empty_like(source, device="cuda")
    return source.nbytes / _best(lambda: target.copy_(source, non_blocking=True), "cuda")


def _disk() -> float | None:
    """Reading a file whose pages were dropped from the cache; None where they cannot be dropped."""
    if not hasattr(os, "posix_fadvise"):
        return None
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(1 << 20) * (DISK_BYTES >> 20))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        with open(file.name, "rb", buffering=0) as again:  # noqa: PTH123 unbuffered on purpose
            while again.read(1 << 22):
                pass
        return DISK_BYTES / (time.perf_counter() - start)

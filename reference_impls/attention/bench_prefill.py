"""Prefill attention by length: time, and the bytes that live beside the inputs, which is what tiles save."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity, profile

from reference_impls.attention import flash
from reference_impls.attention.bench_time import DIM, HEADS, KV_HEADS, done, inputs
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Value, Workload
from reference_impls.models.attend import causal_mask

TIMED = (256, 1024)
WEIGHED = {"cpu": ("float32", (256, 1024, 2048)), "cuda": ("bfloat16", (1024, 4096))}
"""Device -> type of numbers, and lengths; the whole scores of more are gigabytes."""
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def cases() -> list[Case]:
    """Bytes, then times."""
    weighed = [_memory_case(device, dtype, one) for device, (dtype, found) in WEIGHED.items() for one in found]
    return [*weighed, *(_time_case(length) for length in TIMED)]


def _plain(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The whole matrix of scores. Shapes as in `attend`."""
    groups = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scores = queries @ keys.transpose(2, 3) * DIM**-0.5
    hidden = ~causal_mask(queries.shape[2], keys.shape[2], device=queries.device)
    mixed: Tensor = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ values
    return mixed


def _fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """torch's own kernel. Shapes as in `attend`."""
    return scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)


def _tiled(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """This family's algorithm. Shapes as in `attend`."""
    return flash.attend(queries, keys, values, flash.Config(128, 128))


WAYS: dict[str, tuple[Role, str | None, Attention]] = {
    "whole-scores": ("baseline", None, _plain),
    "flash": ("method", "flash", _tiled),
    "sdpa": ("peer", None, _fused),
}


def _work(length: int, dtype: str, **more: Value) -> dict[str, Value]:
    shape: dict[str, Value] = {"batch": 1, "prompt_tokens": length, "heads": HEADS, "kv_heads": KV_HEADS}
    return {**shape, "dtype": dtype, **more}


# Time.


def _time_case(length: int) -> Case:
    return Case(
        id=f"attention/prefill/tokens-{length}/step_time",
        title=f"Causal attention among {length} tokens",
        metric="step_time",
        workload=_work(length, "float32"),
        implementations=tuple(
            Implementation(name, role, "kernel", partial(_timed, way), limit=_product_limit, module=module)
            for name, (role, module, way) in WAYS.items()
        ),
        timed=True,
        devices=("cpu",),
    )


def _timed(way: Attention, work: Workload, device: str) -> Step:
    given = _inputs(work, device)
    return lambda: done(way(*given))


def _inputs(work: Workload, device: str) -> tuple[Tensor, Tensor, Tensor]:
    length = int(work["prompt_tokens"] or 1)
    return inputs(length, length, getattr(torch, str(work["dtype"])), device)


def _product_limit(work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = (ceilings.matmul_flops_per_s or {}).get("float32")
    if rate is None:
        return None
    flops = 2 * HEADS * int(work["prompt_tokens"] or 1) ** 2 * DIM
    return Limit(flops / rate, "2 * heads * tokens**2 * head_dim FLOPs (causal) / product rate")


# Memory.


def _memory_case(device: str, dtype: str, length: int) -> Case:
    place = "prefill" if device == "cpu" else f"prefill-{device}"
    return Case(
        id=f"attention/{place}/tokens-{length}/peak_memory",
        title=f"Most bytes at a time beside the inputs, causal attention among {length} tokens",
        metric="peak_memory",
        workload=_work(length, dtype, head_dim=DIM, device=device),
        implementations=tuple(
            Implementation(name, role, "packed", partial(_weighed, way), module=module)
            for name, (role, module, way) in WAYS.items()
        ),
        timed=False,
        no_limit="the result alone must be there, and is counted",
        devices=(device,),
    )


def _weighed(way: Attention, work: Workload, device: str) -> Step:
    given = _inputs(work, device)
    return lambda: float(peak_bytes(lambda: way(*given), device))


def peak_bytes(run: Callable[[], Tensor], device: str) -> int:
    """The most bytes that torch's allocator had given out at a time while it ran, beyond those from before."""
    if device == "cuda":
        run()  # the first product takes room to work in, which stays
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    events = [one for one in seen.profiler.kineto_results.events() if one.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda one: one.start_ns()):  # what is given back counts below zero
        live += event.nbytes()
        most = max(most, live)
    return most

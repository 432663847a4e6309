"""Decode and prefill attention by length: on the CPU as algorithms, on a GPU the kernel over a block table."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reference_impls.attention import flash, split_kv
from reference_impls.attention.paged_decode import Blocks, CodeBlocks, Rows, decode
from reference_impls.kv_cache.kivi import quantize
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.models.attend import causal_mask, grouped_attention

HEADS, KV_HEADS, DIM = 32, 8, 128
CPU_CONTEXTS, GPU_CONTEXTS = (1024, 8192), (1024, 4096, 16384, 32768, 131072)
PREFILLS = (256, 1024)
PER_BLOCK, GROUP = 16, 32
Run = Callable[[], Tensor]


def cases() -> list[Case]:
    """By length, and by device."""
    return [
        *(_decode_case("cpu", "float32", length) for length in CPU_CONTEXTS),
        *(_prefill_case(length) for length in PREFILLS),
        *(_scores_case(length) for length in PREFILLS),
        *(_decode_case("cuda", "bfloat16", length) for length in GPU_CONTEXTS),
    ]


# Decode: one query a sequence.


def _decode_case(device: str, dtype: str, length: int) -> Case:
    ways: dict[str, tuple[Role, str | None, float]] = {
        "sdpa": ("baseline", None, 1.0),
        "grouped-products": ("peer", None, 1.0),
        "split-kv": ("method", "split_kv", 1.0),
    }
    if device == "cuda":
        ways["paged-kernel"] = ("method", "paged_decode_triton", 1.0)
        ways["paged-kernel-8-bit"] = ("method", "paged_decode_triton", (8 + 32 / GROUP) / 16)
        ways["paged-kernel-4-bit"] = ("method", "paged_decode_triton", (4 + 32 / GROUP) / 16)
    else:
        ways["paged-cpu"] = ("method", "paged_decode_cpu", 1.0)
        ways["paged-gather"] = ("method", "paged_decode", 1.0)
    return Case(
        id=f"attention/decode-{device}/context-{length}/step_time",
        title=f"Attention of one new token over {length} cached ones, {HEADS} query heads, {KV_HEADS} of keys",
        metric="step_time",
        workload={
            "batch": 1,
            "context_length": length,
            "heads": HEADS,
            "kv_heads": KV_HEADS,
            "head_dim": DIM,
            "dtype": dtype,
            "device": device,
        },
        implementations=tuple(
            Implementation(
                name,
                role,
                "packed" if name == "paged-gather" else "kernel",
                partial(_decode, name),
                needs=("triton",) if "kernel" in name else (),
                limit=partial(_read_limit, share),
                module=module,
                note="the codes are random numbers' own; quality is in the suite of the key-value cache"
                if "bit" in name
                else "",
            )
            for name, (role, module, share) in ways.items()
        ),
        timed=True,
        devices=(device,),
    )


def _inputs(q_seq: int, kv_seq: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """-> queries, keys, values"""
    generator = torch.Generator().manual_seed(0)
    shapes = ((HEADS, q_seq), (KV_HEADS, kv_seq), (KV_HEADS, kv_seq))
    queries, keys, values = (torch.randn(1, *shape, DIM, generator=generator).to(device, dtype) for shape in shapes)
    return queries, keys, values


def _decode(name: str, work: Workload, device: str) -> Step:
    length = int(work["context_length"] or 1)
    queries, keys, values = _inputs(1, length, getattr(torch, str(work["dtype"])), device)
    run = _way(name, queries, keys, values)
    wanted = grouped_attention(queries.float(), keys.float(), values.float())
    error = float((run().float() - wanted).norm() / wanted.norm())
    bound = 0.02 if keys.dtype == torch.bfloat16 else 1e-4
    if error > bound + (0.15 if name.endswith("4-bit") else 0.02 if name.endswith("8-bit") else 0):
        raise ValueError(f"{name}: relative error {error:.2g} against float32")
    return lambda: _done(run())


def _way(name: str, queries: Tensor, keys: Tensor, values: Tensor) -> Run:
    """What one step computes."""
    if name == "sdpa":
        return lambda: scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
    if name == "grouped-products":
        return lambda: grouped_attention(queries, keys, values)
    if name == "split-kv":
        return lambda: split_kv.attend(queries, keys, values, split_kv.Config(8))
    if name.endswith("bit"):
        codes, rows = coded(keys, values, int(name.split("-")[2]))
        return lambda: decode(queries, codes, rows, path="triton")
    blocks, rows = paged(keys, values)
    path = {"paged-kernel": "triton", "paged-cpu": "cpu", "paged-gather": "gather"}[name]
    return lambda: decode(queries, blocks, rows, path=path)


def paged(keys: Tensor, values: Tensor) -> tuple[Blocks, Rows]:
    """One sequence in blocks that lie in random order. keys, values: (1, kv_heads, kv_seq, head_dim)"""
    count = keys.shape[2] // PER_BLOCK
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).to(keys.device)
    held = []
    for part in (keys, values):  # (kv_heads, count, PER_BLOCK, head_dim) -> (count, PER_BLOCK, kv_heads, head_dim)
        lying = torch.empty_like(part[0].view(KV_HEADS, count, PER_BLOCK, DIM).transpose(0, 1))
        lying[order] = part[0].view(KV_HEADS, count, PER_BLOCK, DIM).transpose(0, 1)
        held.append(lying.transpose(1, 2))
    return Blocks(*held), _rows(order, keys.shape[2])


def coded(keys: Tensor, values: Tensor, bits: int) -> tuple[CodeBlocks, Rows]:
    """The same in blocks of codes, keys by channel and values by token."""
    count = keys.shape[2] // GROUP
    order = torch.arange(count, device=keys.device)
    by_block = [part[0].view(KV_HEADS, count, GROUP, DIM).transpose(0, 1) for part in (keys, values)]
    of_keys = quantize(by_block[0].transpose(-1, -2), bits)
    of_values = quantize(by_block[1].reshape(count, KV_HEADS, GROUP, -1, GROUP), bits)
    key_parts, value_parts = ([part.contiguous() for part in parts] for parts in (of_keys, of_values))
    blocks = CodeBlocks(key_parts[0], key_parts[1], key_parts[2], value_parts[0], value_parts[1], value_parts[2], bits)
    return blocks, _rows(order, keys.shape[2])


def _rows(order: Tensor, length: int) -> Rows:
    return Rows(order[None], torch.tensor([length], device=order.device))


def _read_limit(share: float, work: Workload, ceilings: Ceilings) -> Limit | None:
    if ceilings.read_bytes_per_s is None:
        return None
    size = getattr(torch, str(work["dtype"])).itemsize
    moved = 2 * KV_HEADS * DIM * int(work["context_length"] or 1) * size * share
    return Limit(moved / ceilings.read_bytes_per_s, f"{moved / 1e6:.1f} MB of keys and values / read bandwidth")


# Prefill.


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


def _prefill_case(length: int) -> Case:
    ways: dict[str, tuple[Role, str | None, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
        "whole-scores": ("baseline", None, _plain),
        "flash": ("method", "flash", _tiled),
        "sdpa": ("peer", None, _fused),
    }
    return Case(
        id=f"attention/prefill/tokens-{length}/step_time",
        title=f"Causal attention among {length} tokens",
        metric="step_time",
        workload={"batch": 1, "context_length": length, "heads": HEADS, "kv_heads": KV_HEADS, "dtype": "float32"},
        implementations=tuple(
            Implementation(name, role, "kernel", partial(_prefill, way), limit=_product_limit, module=module)
            for name, (role, module, way) in ways.items()
        ),
        timed=True,
        devices=("cpu",),
    )


def _prefill(way: Callable[[Tensor, Tensor, Tensor], Tensor], work: Workload, device: str) -> Step:
    length = int(work["context_length"] or 1)
    inputs = _inputs(length, length, torch.float32, device)
    return lambda: _done(way(*inputs))


def _product_limit(work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = (ceilings.matmul_flops_per_s or {}).get("float32")
    if rate is None:
        return None
    flops = 2 * HEADS * int(work["context_length"] or 1) ** 2 * DIM
    return Limit(flops / rate, "2 * heads * tokens**2 * head_dim FLOPs (causal) / product rate")


def _scores_case(length: int) -> Case:
    """Bytes of the scores that exist at a time: all, or those of one tile of every head."""
    sizes = {"whole-scores": length * length, "flash": min(128, length) ** 2}
    return Case(
        id=f"attention/prefill/tokens-{length}/peak_memory",
        title=f"Scores that exist at a time, {length} tokens",
        metric="peak_memory",
        workload={"batch": 1, "context_length": length, "heads": HEADS, "kv_heads": KV_HEADS, "dtype": "float32"},
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "whole-scores" else "method",
                "packed",
                partial(_constant, 4.0 * HEADS * numbers),
                module=None if name == "whole-scores" else "flash",
                note="counted from the shapes of the tensors",
            )
            for name, numbers in sizes.items()
        ),
        timed=False,
        no_limit="bytes follow from the algorithm",
        devices=("cpu",),
    )


def _constant(value: float, work: Workload, device: str) -> Step:  # noqa: ARG001
    return lambda: value


def _done(_result: Tensor) -> None:
    """A timed step returns nothing."""

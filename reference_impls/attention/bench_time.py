"""Decode attention by length: paged and contiguous, on the CPU and, where launches must not decide, for many rows."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from reference_impls.attention import split_kv
from reference_impls.attention.paged_decode import Blocks, CodeBlocks, Rows, decode
from reference_impls.kv_cache.kivi import quantize
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.models.attend import grouped_attention

HEADS, KV_HEADS, DIM = 32, 8, 128
CPU_SIZES = ((1, 1024), (1, 8192))
GPU_SIZES = (*((1, length) for length in (1024, 4096, 16384, 32768, 131072)), (16, 1024), (16, 8192))
"""Batch and context; a row of a thousand tokens keeps no GPU busy for as long as a launch takes."""
PER_BLOCK, GROUP = 16, 32
Run = Callable[[], Tensor]


def cases() -> list[Case]:
    """By size, and by device."""
    return [
        *(_case("cpu", "float32", batch, length) for batch, length in CPU_SIZES),
        *(_case("cuda", "bfloat16", batch, length) for batch, length in GPU_SIZES),
    ]


def _ways(device: str) -> dict[str, tuple[Role, str | None, float]]:
    """Name -> role, module, and the share of the numbers' bytes that it reads."""
    both: dict[str, tuple[Role, str | None, float]] = {
        "sdpa": ("baseline", None, 1.0),
        "grouped-products": ("peer", None, 1.0),
        "split-kv": ("method", "split_kv", 1.0),
    }
    if device == "cpu":
        return both | {
            "paged-cpu": ("method", "paged_decode_cpu", 1.0),
            "contiguous-cpu": ("method", "paged_decode_cpu", 1.0),
            "paged-gather": ("method", "paged_decode", 1.0),
        }
    return both | {
        "flash-attention": ("peer", None, 1.0),
        "paged-kernel": ("method", "paged_decode_triton", 1.0),
        "contiguous-kernel": ("method", "paged_decode_triton", 1.0),
        "paged-kernel-8-bit": ("method", "paged_decode_triton", (8 + 32 / GROUP) / 16),
        "paged-kernel-4-bit": ("method", "paged_decode_triton", (4 + 32 / GROUP) / 16),
    }


def _note(name: str) -> str:
    if name.endswith("bit"):
        return "the codes are random numbers' own; quality is in the suite of the key-value cache"
    if name.startswith("contiguous"):
        return "what the paged one runs, on one block a sequence"
    return "torch's, asked for by name; sdpa takes what torch chooses" if name == "flash-attention" else ""


def _case(device: str, dtype: str, batch: int, length: int) -> Case:
    rows = f"batch-{batch}-" if batch > 1 else ""
    return Case(
        id=f"attention/decode-{device}/{rows}context-{length}/step_time",
        title=f"Attention of one new token over {length} cached ones, {HEADS} query heads, {KV_HEADS} of keys"
        + (f", {batch} sequences" if batch > 1 else ""),
        metric="step_time",
        workload={
            "batch": batch,
            "cached_tokens": length,
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
                note=_note(name),
            )
            for name, (role, module, share) in _ways(device).items()
        ),
        timed=True,
        devices=(device,),
    )


def inputs(q_seq: int, kv_seq: int, dtype: torch.dtype, device: str, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Random. -> queries: (batch, HEADS, q_seq, DIM); keys, values: (batch, KV_HEADS, kv_seq, DIM)"""
    generator = torch.Generator().manual_seed(0)
    shapes = ((HEADS, q_seq), (KV_HEADS, kv_seq), (KV_HEADS, kv_seq))
    queries, keys, values = (torch.randn(batch, *shape, DIM, generator=generator).to(device, dtype) for shape in shapes)
    return queries, keys, values


def _decode(name: str, work: Workload, device: str) -> Step:
    batch, length = int(work["batch"] or 1), int(work["cached_tokens"] or 1)
    queries, keys, values = inputs(1, length, getattr(torch, str(work["dtype"])), device, batch)
    run = _way(name, queries, keys, values)
    wanted = grouped_attention(queries.float(), keys.float(), values.float())
    error = float((run().float() - wanted).norm() / wanted.norm())
    bound = 0.02 if keys.dtype == torch.bfloat16 else 1e-4
    if error > bound + (0.15 if name.endswith("4-bit") else 0.02 if name.endswith("8-bit") else 0):
        raise ValueError(f"{name}: relative error {error:.2g} against float32")
    return lambda: done(run())


def _way(name: str, queries: Tensor, keys: Tensor, values: Tensor) -> Run:
    """What one step computes."""
    if name == "sdpa":
        return lambda: scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
    if name == "flash-attention":
        return partial(_flash_attention, queries, keys, values)
    if name == "grouped-products":
        return lambda: grouped_attention(queries, keys, values)
    if name == "split-kv":
        return lambda: split_kv.attend(queries, keys, values, split_kv.Config(8))
    if name.endswith("bit"):
        codes, rows = coded(keys, values, int(name.split("-")[2]))
        return lambda: decode(queries, codes, rows, path="triton")
    blocks, rows = (contiguous if name.startswith("contiguous") else paged)(keys, values)
    path = {"kernel": "triton", "cpu": "cpu", "gather": "gather"}[name.split("-")[1]]
    return lambda: decode(queries, blocks, rows, path=path)


def _flash_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(queries, keys, values, enable_gqa=True)


def _by_block(part: Tensor, per_block: int) -> Tensor:
    """(batch, kv_heads, kv_seq, head_dim) -> (batch * blocks of a row, kv_heads, per_block, head_dim)"""
    batch, kv_heads, _, dim = part.shape
    return part.view(batch, kv_heads, -1, per_block, dim).transpose(1, 2).flatten(0, 1)


def paged(keys: Tensor, values: Tensor) -> tuple[Blocks, Rows]:
    """In blocks that lie in random order, each with its heads one after another, as in the pool of `kv_cache.paged`.

    keys, values: (batch, kv_heads, kv_seq, head_dim)
    """
    by_block = [_by_block(part, PER_BLOCK) for part in (keys, values)]
    order = torch.randperm(len(by_block[0]), generator=torch.Generator().manual_seed(1)).to(keys.device)
    held = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in by_block]
    for lying, part in zip(held, by_block, strict=True):
        lying[order] = part
    return Blocks(held[0].transpose(1, 2), held[1].transpose(1, 2)), _rows(order, keys)


def contiguous(keys: Tensor, values: Tensor) -> tuple[Blocks, Rows]:
    """As they are: each sequence is one large block. keys, values: (batch, kv_heads, kv_seq, head_dim)"""
    order = torch.arange(len(keys), device=keys.device)
    return Blocks(keys.transpose(1, 2), values.transpose(1, 2)), _rows(order, keys)


def coded(keys: Tensor, values: Tensor, bits: int) -> tuple[CodeBlocks, Rows]:
    """In blocks of codes, keys by channel and values by token. keys, values: (batch, kv_heads, kv_seq, head_dim)"""
    by_block = [_by_block(part, GROUP) for part in (keys, values)]
    of_keys = quantize(by_block[0].transpose(-1, -2), bits)
    of_values = quantize(by_block[1].reshape(*by_block[1].shape[:-1], -1, GROUP), bits)
    key_parts, value_parts = ([part.contiguous() for part in parts] for parts in (of_keys, of_values))
    blocks = CodeBlocks(key_parts[0], key_parts[1], key_parts[2], value_parts[0], value_parts[1], value_parts[2], bits)
    return blocks, _rows(torch.arange(len(by_block[0]), device=keys.device), keys)


def _rows(order: Tensor, keys: Tensor) -> Rows:
    """order: the place of each block, row by row"""
    lengths = torch.full((len(keys),), keys.shape[2], device=keys.device)
    return Rows(order.view(len(keys), -1), lengths)


def _read_limit(share: float, work: Workload, ceilings: Ceilings) -> Limit | None:
    if ceilings.read_bytes_per_s is None:
        return None
    size = getattr(torch, str(work["dtype"])).itemsize
    tokens = int(work["batch"] or 1) * int(work["cached_tokens"] or 1)
    moved = 2 * KV_HEADS * DIM * tokens * size * share
    return Limit(moved / ceilings.read_bytes_per_s, f"{moved / 1e6:.1f} MB of keys and values / read bandwidth")


def done(_result: Tensor) -> None:
    """A timed step returns nothing."""

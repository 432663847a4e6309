"""On a GPU: whole blocks swapped between device and pinned host memory, against the link's measured rate."""

from functools import partial

from reference_impls.kv_cache.blocks import Config
from reference_impls.kv_cache.paged import PagedPool, Sequence
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Step, Workload

TOKENS = 4096


def cases() -> list[Case]:
    """Swaps by the size of a block."""
    return [_swap_case()]


def shape(device: str) -> CacheShape:
    """The cache of a model of 8 billion parameters: 32 layers, 8 heads of 128, 131,072 bytes a token."""
    import torch

    return CacheShape(32, 1, 8, 128, TOKENS, torch.bfloat16, device)


def _swap_case() -> Case:
    sizes = {"block-16": ("method", 16), "block-64": ("method", 64), "one-block": ("baseline", TOKENS)}
    return Case(
        id="kv_cache/swap/8b-shape/step_time",
        title=f"Swapping a sequence of {TOKENS} tokens out to pinned memory and back",
        metric="step_time",
        workload={"model": "8b-shape", "cached_tokens": TOKENS, "dtype": "bfloat16"},
        implementations=tuple(
            Implementation(
                name,
                "baseline" if role == "baseline" else "method",
                "kernel",
                partial(_swap, size),
                limit=_link_limit,
                module=None if role == "baseline" else "paged",
            )
            for name, (role, size) in sizes.items()
        ),
        timed=True,
        devices=("cuda",),
    )


def _swap(tokens_per_block: int, work: Workload, device: str) -> Step:  # noqa: ARG001 one shape
    blocks = TOKENS // tokens_per_block
    pool = PagedPool(shape(device), Config(tokens_per_block, blocks, blocks))
    sequence: Sequence = pool.new_sequence()
    pool.manager.reserve([(sequence, 0, TOKENS)])
    sequence.length = TOKENS

    def step() -> None:
        pool.swap_out(sequence)
        pool.swap_in(sequence)

    return step


def _link_limit(work: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001 one shape
    if ceilings.host_to_device_bytes_per_s is None:
        return None
    moved = 2 * TOKENS * shape("cpu").bytes_per_token
    return Limit(moved / ceilings.host_to_device_bytes_per_s, f"{moved / 1e6:.0f} MB / host-to-device rate")

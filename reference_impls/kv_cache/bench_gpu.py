"""On a GPU: blocks swapped between device and pinned host memory, against the link's rate and beside computing."""

from functools import partial

import torch

from reference_impls.kv_cache.blocks import Config
from reference_impls.kv_cache.paged import PagedPool, Sequence
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload

TOKENS = 4096
PRODUCTS, SIDE = 160, 4096
"""Of square matrices: some 22 TFLOP, longer on one GPU than the link needs for a swap, so that it can be hidden."""


def cases() -> list[Case]:
    """Swaps by the size of a block, and how much of one hides behind computing."""
    return [_swap_case(), _hiding_case()]


def shape(device: str) -> CacheShape:
    """The cache of a model of 8 billion parameters: 32 layers, 8 heads of 128, 131,072 bytes a token."""
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
    pool, sequence = _full(tokens_per_block, device)

    def step() -> None:
        pool.swap_out(sequence)
        pool.swap_in(sequence)

    return step


def _full(tokens_per_block: int, device: str) -> tuple[PagedPool, Sequence]:
    """A pool, and the sequence that takes all of it."""
    blocks = TOKENS // tokens_per_block
    pool = PagedPool(shape(device), Config(tokens_per_block, blocks, blocks))
    sequence = pool.new_sequence()
    pool.manager.reserve([(sequence, 0, TOKENS)])
    sequence.length = TOKENS
    return pool, sequence


def _hiding_case() -> Case:
    """A swap that is hidden takes as long as the products alone; one that is not, as long as both."""
    ways: dict[str, tuple[Role, str | None]] = {
        "products-alone": ("baseline", None),
        "swap-then-products": ("method", "paged"),
        "swap-beside-products": ("method", "paged"),
    }
    return Case(
        id="kv_cache/swap/8b-shape-beside-products/step_time",
        title=f"Swapping {TOKENS} tokens out and back while the device multiplies",
        metric="step_time",
        workload={
            "model": "8b-shape",
            "cached_tokens": TOKENS,
            "products": PRODUCTS,
            "side": SIDE,
            "dtype": "bfloat16",
        },
        implementations=tuple(
            Implementation(name, role, "kernel", partial(_beside, name), module=module, limit=_product_limit)
            for name, (role, module) in ways.items()
        ),
        timed=True,
        devices=("cuda",),
    )


def _beside(name: str, work: Workload, device: str) -> Step:
    pool, sequence = _full(16, device)
    rows = torch.randn(int(work["side"] or 1), int(work["side"] or 1), dtype=torch.bfloat16, device=device)
    stream = torch.cuda.Stream() if name == "swap-beside-products" else None  # type: ignore[no-untyped-call]

    def step() -> None:
        if name != "products-alone":
            pool.swap_out(sequence, stream)
            pool.swap_in(sequence, stream)
        for _ in range(int(work["products"] or 1)):
            rows @ rows
        pool.wait()

    return step


def _product_limit(work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = (ceilings.matmul_flops_per_s or {}).get("bfloat16")
    if rate is None:
        return None
    flops = 2 * int(work["products"] or 0) * int(work["side"] or 0) ** 3
    return Limit(flops / rate, f"{flops / 1e12:.1f} TFLOP / product rate: what a hidden swap adds nothing to")


def _link_limit(work: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001 one shape
    if ceilings.host_to_device_bytes_per_s is None:
        return None
    moved = 2 * TOKENS * shape("cpu").bytes_per_token
    return Limit(moved / ceilings.host_to_device_bytes_per_s, f"{moved / 1e6:.0f} MB / host-to-device rate")

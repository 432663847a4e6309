"""How near to its tier's own bandwidth the fetch of a layer comes: against one copy, or one file read, as large.

Both go into two buffers in turn, as fetches do. The baselines run in the same rounds: they are the tier's
bandwidth at that size, some of which a large processor's cache may lend to both.
"""

import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from itertools import cycle

import torch

from reference_impls.kv_cache.sealed import Parts
from reference_impls.kv_cache.tiers import DiskPlace, HostPlace, drop_pages, fill
from reference_impls.measurement.case import Case, Implementation, Step, Workload

SEGMENTS, SEQUENCES, KV_HEADS, GROUP, HEAD_DIM = 64, 4, 8, 32, 128
"""One layer of a model of 8 billion parameters, 4 sequences of 2,048 tokens in 16 bits: 34 MB."""
CPU = torch.device("cpu")


def cases() -> list[Case]:
    """Memory, and the disk."""
    return [
        _case("host", "the host's memory", "one-copy", _copy, HostPlace(CPU)),
        _case("disk", "a disk", "one-file", _read, DiskPlace(CPU, page_cache=False)),
    ]


@cache
def layer() -> Parts:
    """Keys and values. -> (segments, sequences, kv_heads, group, head_dim) each"""
    generator = torch.Generator().manual_seed(0)
    shape = SEGMENTS, SEQUENCES, KV_HEADS, GROUP, HEAD_DIM
    return tuple(torch.randn(shape, generator=generator).bfloat16() for _ in range(2))


def nbytes() -> int:
    """Of a fetch."""
    return 2 * 2 * SEGMENTS * SEQUENCES * KV_HEADS * GROUP * HEAD_DIM


def _case(
    tier: str,
    called: str,
    plain: str,
    baseline: Callable[[Workload, str], Step],
    place: HostPlace | DiskPlace,
) -> Case:
    note = "files are read past the page cache" if tier == "disk" else ""
    return Case(
        id=f"kv_cache/tiers/{tier}/step_time",
        title=f"Fetching the cache of one layer from {called}",
        metric="step_time",
        workload={"tokens": SEGMENTS * GROUP, "batch": SEQUENCES, "bytes": nbytes(), "dtype": "bfloat16"},
        implementations=(
            Implementation(plain, "baseline", "kernel", baseline, note=note),
            Implementation("fetch", "method", "kernel", partial(_fetch, place), module="offload", note=note),
        ),
        timed=True,
        no_limit="the baseline is the tier's bandwidth, measured in the same rounds",
        devices=("cpu",),
    )


def _fetch(place: HostPlace | DiskPlace, work: Workload, device: str) -> Step:  # noqa: ARG001
    if not place.nbytes:
        place.put(0, layer())

    def step() -> None:
        place.get(0)

    return step


def _copy(work: Workload, device: str) -> Step:  # noqa: ARG001
    source = torch.ones(nbytes() // 4)
    targets = cycle([torch.empty_like(source), torch.empty_like(source)])

    def step() -> None:
        next(targets).copy_(source)

    return step


def _read(work: Workload, device: str) -> Step:  # noqa: ARG001
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 it lives as long as the step
    file.write(os.urandom(nbytes()))
    file.flush()
    os.fsync(file.fileno())
    targets = cycle([torch.empty(nbytes(), dtype=torch.uint8) for _ in range(2)])

    def step() -> None:
        with open(file.name, "rb", buffering=0) as again:  # noqa: PTH123 unbuffered on purpose
            drop_pages(again)
            fill(next(targets), again)

    return step

"""Paging against one contiguous block of memory: slots wasted, time of a step; and a shared prefix."""

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from reference_impls.attention.paged_decode import in_place
from reference_impls.kv_cache import paged, shape_of
from reference_impls.kv_cache.blocks import BlockManager, Config
from reference_impls.kv_cache.paged import PagedPool
from reference_impls.kv_cache.prefix import PrefixTree
from reference_impls.measurement.case import (
    Case,
    Ceilings,
    Implementation,
    Limit,
    NotInstalledError,
    Role,
    Step,
    Workload,
)
from reference_impls.models.decoder import Decoder
from reference_impls.pruning.bench_models import SEEDS, Way, load_model, tokens_of, value_case

MAX_TOKENS, REQUESTS = 2048, 64
SHARED, OWN = 192, 32
"""Tokens of the prefix that requests share, and of what each adds."""
DTYPES = {"cpu": "float32", "cuda": "bfloat16"}


def cases() -> list[Case]:
    """Waste, steps, a prefix."""
    settings = (("tiny-target", 8, 512), ("smollm2-135m", 1, 256), ("smollm2-135m", 1, 1024), ("smollm2-135m", 4, 256))
    steps = [_step_case(*setting) for setting in settings]
    steps += [_step_case(*setting, "cuda") for setting in (("smollm2-135m", 1, 1024), ("smollm2-135m", 16, 1024))]
    return [_waste_case(), *steps, _prefix_case()]


# Slots that hold no token, over the life of requests whose lengths nobody knows.


def lengths(seed: int) -> list[int]:
    """Lengths in the middle of their lives: lognormal totals around 300 tokens, each seen at a random moment."""
    rng = np.random.default_rng(seed)
    totals = np.clip(rng.lognormal(np.log(300), 0.9, REQUESTS), 2, MAX_TOKENS)
    return [int(total) for total in np.maximum(1, totals * rng.uniform(0.2, 1.0, REQUESTS))]


def _waste(tokens_per_block: int | None, _model: str, seed: int) -> float:
    found = lengths(seed)
    if tokens_per_block is None:
        return 100 * (1 - sum(found) / (MAX_TOKENS * REQUESTS))
    manager = BlockManager(Config(tokens_per_block, REQUESTS * MAX_TOKENS // tokens_per_block))
    reserved = 0
    for length in found:
        sequence = manager.new_sequence()
        manager.reserve([(sequence, 0, length)])
        reserved += len(sequence.blocks) * tokens_per_block
    return 100 * (1 - sum(found) / reserved)


def _waste_case() -> Case:
    ways = [
        Way("reserve-maximum", partial(_waste, None), role="baseline", effect="packed"),
        *(Way(f"paged-{size}", partial(_waste, size), "blocks", effect="packed") for size in (1, 16, 64, 256)),
    ]
    return value_case(
        "kv_cache/paged/lognormal/kv_waste",
        f"Reserved slots that hold no token, {REQUESTS} requests of unknown length",
        "kv_waste",
        ways,
        {"model": "tiny-target", "lengths": "lognormal around 300, sigma 0.9, seen midway", "max_tokens": MAX_TOKENS},
        trials=SEEDS,
        why="at most tokens_per_block - 1 slots a sequence",
    )


# Time of a decode step.


@cache
def model_on(name: str, device: str, dtype: torch.dtype = torch.float32) -> Decoder:
    """The model there, in this type; on a CPU in float32 the one that all cases share."""
    model = load_model(name)
    return model if (device, dtype) == ("cpu", torch.float32) else deepcopy(model).to(device, dtype)


def _step_case(model: str, batch: int, cached: int, device: str = "cpu") -> Case:
    ways: dict[str, tuple[Role, int | None, bool]] = {
        "contiguous": ("baseline", None, False),
        "paged-16": ("method", 16, True),
        "paged-64": ("method", 64, True),
        "paged-16-gather": ("method", 16, False),
        "one-page": ("method", cached + 8, True),
    }
    notes = {"paged-16-gather": "copies the pages into one tensor before each layer's attention"}
    if device == "cpu":
        notes |= {
            "paged-16": "a pool asks the system for large pages of memory; the contiguous cache takes what it is given",
            "one-page": "one page holds the whole sequence: what the loops in C++ change, apart from the pages",
        }
    group = "paged" if device == "cpu" else "paged-cuda"
    return Case(
        id=f"kv_cache/{group}/{model}/batch-{batch}-tokens-{cached}/decode_throughput",
        title=f"Decoding {model} with {batch} sequences of {cached} tokens in pages",
        metric="decode_throughput",
        workload={"model": model, "batch": batch, "cached_tokens": cached, "dtype": DTYPES[device]},
        implementations=tuple(
            Implementation(
                name,
                role,
                "kernel",
                partial(_decode, tokens_per_block, reads_in_place),
                limit=_read_limit,
                module="paged" if tokens_per_block else None,
                note=notes.get(name, ""),
            )
            for name, (role, tokens_per_block, reads_in_place) in ways.items()
        ),
        amount=float(batch),
        timed=True,
        devices=(device,),
    )


def _sizes(work: Workload) -> tuple[str, int, int, torch.dtype]:
    """Model, batch, cached tokens and type."""
    dtype: torch.dtype = getattr(torch, str(work["dtype"]))
    return str(work["model"]), int(work["batch"] or 1), int(work["cached_tokens"] or 1), dtype


def _decode(tokens_per_block: int | None, reads_in_place: bool, work: Workload, device: str) -> Step:
    name, batch, cached, dtype = _sizes(work)
    model = model_on(name, device, dtype)
    text = tokens_of(name)[: batch * (cached + 1)].view(batch, -1).to(device)
    own: Any = model.new_cache(batch, cached + 8)
    if tokens_per_block:
        own = paged.new_cache(shape_of(model, batch, cached + 8), Config(tokens_per_block))
    with torch.inference_mode():
        for start in range(0, cached, 256):
            model.hidden_states(text[:, start : min(start + 256, cached)], own)

    def step() -> None:
        with in_place(model, own) if reads_in_place else nullcontext() as path:
            if path == "gather":
                raise NotInstalledError("a kernel that reads pages in place here: Triton, or a compiler of C++")
            model(text[:, cached:], own)
        own.crop(cached)

    return step


def _read_limit(work: Workload, ceilings: Ceilings) -> Limit | None:
    if ceilings.read_bytes_per_s is None:
        return None
    name, batch, cached, dtype = _sizes(work)
    decoder = load_model(name)
    weights = sum(weight.numel() for weight in decoder.parameters()) * dtype.itemsize
    moved = weights + batch * cached * replace(shape_of(decoder), dtype=dtype).bytes_per_token
    return Limit(
        batch * ceilings.read_bytes_per_s / moved, f"read bandwidth / {moved / 1e6:.0f} MB of weights and cache"
    )


# A prefix that requests share.


def _prefix_case() -> Case:
    return Case(
        id="kv_cache/prefix/smollm2-135m/ttft",
        title=f"First token of a request of {SHARED + OWN} tokens, {SHARED} of them known",
        metric="ttft",
        workload={"model": "smollm2-135m", "batch": 1, "shared_tokens": SHARED, "own_tokens": OWN, "dtype": "float32"},
        implementations=(
            Implementation("recompute", "baseline", "kernel", partial(_first_token, False), limit=_compute_limit),
            Implementation(
                "prefix", "method", "kernel", partial(_first_token, True), limit=_compute_limit, module="prefix"
            ),
        ),
        timed=True,
        devices=("cpu",),
    )


def _first_token(reuse: bool, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    model = load_model("smollm2-135m")
    text = tokens_of("smollm2-135m")
    system, asked = text[:SHARED], text[2000 : 2000 + OWN]
    request = torch.cat([system, asked])
    pool = PagedPool(shape_of(model), Config(16, 64))
    tree = PrefixTree(pool.manager)
    with torch.inference_mode():
        first = pool.new_sequence()
        model.hidden_states(system[None], pool.batch([first]))
        tree.keep(system.tolist(), first)

    def step() -> None:
        sequence = tree.start(request.tolist()) if reuse else pool.new_sequence()
        states = model.hidden_states(request[None, sequence.length :], pool.batch([sequence]))
        model.head(states[:, -1])
        pool.free(sequence)

    return step


def _compute_limit(work: Workload, ceilings: Ceilings) -> Limit | None:
    """What the request's own tokens take at the machine's product rate: no cache can spare those."""
    rate = (ceilings.matmul_flops_per_s or {}).get("float32")
    if rate is None:
        return None
    numbers = sum(weight.numel() for weight in load_model(str(work["model"])).blocks.parameters())
    return Limit(2 * numbers * OWN / rate, "2 FLOPs for each weight of the blocks and new token / product rate")

"""Bytes moved against the formula, throughput against a stated link, and the share of waiting.

Links are slowed down to stated rates, so that what is measured is the schedule and not this machine's memory; one of
them is this machine's disk, read past the page cache.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import kivi, offload, shape_of
from reference_impls.kv_cache.bench_quality import scored
from reference_impls.kv_cache.compose import compose
from reference_impls.kv_cache.shape import CacheShape
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Step, Workload
from reference_impls.models.cache import Cache
from reference_impls.pruning.bench_models import SEEDS, Way, load_model, tokens_of, value_case

MODEL = "tiny-target"
BATCH, TOKENS, GROUP = 8, 512, 32
LINKS: dict[str, float | None] = {"2-gb-per-s": 2e9, "400-mb-per-s": 4e8, "disk": None}
"""Bytes a second; None: as they are. The name `free` is a link to the host without a bound."""
PASSES = 8


def cases() -> list[Case]:
    """Values, then times."""
    return [
        _bytes_case(),
        *map(_stall_case, LINKS),
        *map(_speed_case, LINKS),
    ]


def shape() -> CacheShape:
    """Eight sequences of the tiny target."""
    return shape_of(load_model(MODEL), BATCH, TOKENS + 64)


def caches(link: str) -> dict[str, Callable[[], Cache]]:
    """Every way to keep the sequences, by name."""
    return {
        "resident": lambda: load_model(MODEL).new_cache(BATCH, TOKENS + 64),
        "ahead": lambda: offload.new_cache(shape(), _away(link)),
        "not-ahead": lambda: offload.new_cache(shape(), _away(link, ahead=False)),
        "half-ahead": lambda: offload.new_cache(shape(), _away(link, share=0.5)),
        "ahead-4-bit": lambda: compose(shape(), ("kivi", kivi.Config(4, GROUP, GROUP)), ("offload", _away(link))),
    }


def _away(link: str, share: float = 1.0, *, ahead: bool = True) -> offload.Config:
    """So many of the layers behind a link."""
    if link == "disk":
        return offload.Config(0.0, share, group_size=GROUP, ahead=ahead, page_cache=False)
    return offload.Config(share, group_size=GROUP, ahead=ahead, bytes_per_s=LINKS.get(link))


def _work(**more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "batch": BATCH,
        "cached_tokens": TOKENS,
        "segment_tokens": GROUP,
        "dtype": "float32",
        **more,
    }


def filled(cache_of: Callable[[], Cache]) -> tuple[Any, Tensor]:
    """A cache that holds the prompts, and the next tokens. -> cache, (batch, 1)"""
    own: Any = cache_of()
    text = tokens_of(MODEL)[: BATCH * (TOKENS + 1)].view(BATCH, -1)
    with torch.inference_mode():
        load_model(MODEL).hidden_states(text[:, :TOKENS], own)
    return own, text[:, TOKENS:]


def _bytes(name: str, formula: bool, _model: str, _seed: int) -> float:
    """Bytes that one pass fetches: as counted, or as the formula says."""
    if formula:
        return float(offload.bytes_per_pass(shape(), _away("free"), TOKENS // GROUP))
    own, newest = filled(caches("free")[name])
    before = own.place.log.bytes_in
    with torch.inference_mode():
        load_model(MODEL)(newest, own)
    return float(own.place.log.bytes_in - before)


def _bytes_case() -> Case:
    ways = [
        Way("formula", partial(_bytes, "", True), role="baseline", effect="packed"),
        Way("ahead", partial(_bytes, "ahead", False), "offload", effect="packed"),
        Way("half-ahead", partial(_bytes, "half-ahead", False), "offload", effect="packed"),
        Way("ahead-4-bit", partial(_bytes, "ahead-4-bit", False), "compose", effect="packed"),
    ]
    why = "the formula is the bound: sealed tokens of the layers that are away, once a pass"
    title = "Bytes fetched in one decode pass with the cache offloaded"
    return value_case(f"kv_cache/offload/{MODEL}/bytes_moved", title, "bytes_moved", ways, _work(), why=why)


def _stall(link: str, name: str, _model: str, _seed: int) -> float:
    own, newest = _ready(link, name)
    log = own.place.log
    with torch.inference_mode():
        load_model(MODEL)(newest, own)
        own.crop(TOKENS)
        before, start = log.wait_s, time.perf_counter()
        for _ in range(PASSES):
            load_model(MODEL)(newest, own)
            own.crop(TOKENS)
        waited: float = log.wait_s - before
        return 100 * waited / (time.perf_counter() - start)


@cache
def _ready(link: str, name: str) -> tuple[Any, Tensor]:
    """Kept, so that the cases of one link fill their caches once."""
    return filled(caches(link)[name])


def _stall_case(link: str) -> Case:
    ways = [
        Way("not-ahead", partial(_stall, link, "not-ahead"), "offload", role="baseline", effect="kernel"),
        Way("ahead", partial(_stall, link, "ahead"), "offload", effect="kernel"),
        Way("half-ahead", partial(_stall, link, "half-ahead"), "offload", effect="kernel"),
        Way("ahead-4-bit", partial(_stall, link, "ahead-4-bit"), "compose", effect="kernel"),
    ]
    case = value_case(
        f"kv_cache/offload/{link}/stall_share",
        f"Share of a decode pass spent waiting for the cache over {_called(link)}",
        "stall_share",
        ways,
        _work(bytes_per_s=LINKS[link], passes=PASSES),
        trials=SEEDS,
        why="at least the first layer's load, which has nothing to hide behind",
    )
    return replace(case, deterministic=False)


def _speed_case(link: str) -> Case:
    modules = {"resident": None, "ahead-4-bit": "compose"}
    return Case(
        id=f"kv_cache/offload/{link}/decode_throughput",
        title=f"Decoding with the cache behind {_called(link)}",
        metric="decode_throughput",
        workload=_work(bytes_per_s=LINKS[link]),
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "resident" else "method",
                "kernel",
                partial(_decode, link, name),
                limit=None if name == "resident" else partial(_link_limit, link, name),
                quality=partial(_quality, name),
                module=modules.get(name, "offload"),
                note="" if name == "resident" else _pace(link),
            )
            for name in caches(link)
        ),
        amount=float(BATCH),
        timed=True,
        devices=("cpu",),
    )


def _decode(link: str, name: str, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    own, newest = _ready(link, name)

    def step() -> None:
        load_model(MODEL)(newest, own)
        own.crop(TOKENS)

    return step


def _link_limit(link: str, name: str, work: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001
    own, _ = _ready(link, name)
    moved, rate = own.place.nbytes_away, LINKS[link] or ceilings.disk_read_bytes_per_s
    if rate is None:
        return None
    whose = "stated link rate" if LINKS[link] else "disk read bandwidth"
    return Limit(rate * BATCH / moved, f"{whose} / {moved / 1e6:.2f} MB a pass, for {BATCH} sequences")


def _called(link: str) -> str:
    return "this machine's disk" if link == "disk" else f"a link of {link.replace('-', ' ')}"


def _pace(link: str) -> str:
    rate = LINKS[link]
    return f"the link is slowed down to {rate:.0e} bytes a second" if rate else "files are read past the page cache"


def _quality(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001 of the values alone
    setting = ("bits-4", "kivi") if name.endswith("4-bit") else ("bits-4", "full")
    return Quality("perplexity", scored(MODEL, *setting))

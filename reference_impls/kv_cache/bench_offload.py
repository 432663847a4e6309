"""Bytes moved against the formula, throughput against a stated link, and the share of waiting.

Links are slowed down to stated rates, so that what is measured is the schedule and not this machine's memory; one of
them is this machine's disk, read past the page cache. What a pass can reach at most depends on which takes longer: its
computing, which is measured with all segments in memory, or its bytes at the rate of the tier, which is the stated one,
or what the disk gives to the same fetches with nothing beside them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
GROUP = 32
LINKS: dict[str, float | None] = {"2-gb-per-s": 2e9, "400-mb-per-s": 4e8, "disk": None}
"""Bytes a second; None: as they are. The name `free` is a link to the host without a bound."""
PASSES = 8
IN_A_ROW = 4
"""Passes of a timed step, the first of which finds nothing fetched: what a link brings while others are timed is no
rate of its own."""
ALL_WAYS = ("resident", "segments-here", "fetched-alone", "ahead", "not-ahead", "half-ahead", "ahead-4-bit")


@dataclass(frozen=True)
class Size:
    """batch: sequences; tokens: those each of them holds."""

    batch: int
    tokens: int

    @property
    def folder(self) -> str:
        """Part of a case's id: none for the small one."""
        return "" if self == SMALL else f"/batch-{self.batch}-tokens-{self.tokens}"


SMALL, LARGE = Size(8, 512), Size(32, 960)
"""Fixed costs are a good part of a pass of the small one; in the large one bytes decide."""


def cases() -> list[Case]:
    """Values, then times."""
    large = "ahead", "not-ahead", "half-ahead"
    return [
        _bytes_case(),
        *(_stall_case(link, SMALL, ALL_WAYS[3:]) for link in LINKS),
        _stall_case("disk", LARGE, large),
        *(_speed_case(link, SMALL, ALL_WAYS) for link in LINKS),
        _speed_case("disk", LARGE, (*ALL_WAYS[:3], *large)),
    ]


def shape(size: Size) -> CacheShape:
    """Sequences of the tiny target."""
    return shape_of(load_model(MODEL), size.batch, size.tokens + 64)


def new_cache(link: str, size: Size, name: str) -> Cache:
    """One way to keep the sequences."""
    away = {
        "segments-here": _away(link, share=0.0),
        "ahead": _away(link),
        "not-ahead": _away(link, ahead=False),
        "half-ahead": _away(link, share=0.5),
    }
    if name == "resident":
        return load_model(MODEL).new_cache(size.batch, size.tokens + 64)
    if name.endswith("-4-bit"):
        codes = kivi.Config(4, GROUP, GROUP)
        return compose(shape(size), ("kivi", codes), ("offload", away[name.removesuffix("-4-bit")]))
    return offload.new_cache(shape(size), away[name])


def _away(link: str, share: float = 1.0, *, ahead: bool = True) -> offload.Config:
    """So many of the layers behind a link."""
    if link == "disk":
        return offload.Config(0.0, share, group_size=GROUP, ahead=ahead, page_cache=False)
    return offload.Config(share, group_size=GROUP, ahead=ahead, bytes_per_s=LINKS.get(link))


def _work(size: Size, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "batch": size.batch,
        "cached_tokens": size.tokens,
        "segment_tokens": GROUP,
        "dtype": "float32",
        **more,
    }


@cache
def filled(link: str, size: Size, name: str) -> tuple[Any, Tensor]:
    """A cache that holds the prompts, and the next tokens; kept, so that the cases of one link fill theirs once.

    -> cache, (batch, 1)
    """
    own: Any = new_cache(link, size, name)
    text = tokens_of(MODEL)[: size.batch * (size.tokens + 1)].view(size.batch, -1)
    with torch.inference_mode():
        load_model(MODEL).hidden_states(text[:, : size.tokens], own)
    return own, text[:, size.tokens :]


def step_of(link: str, size: Size, name: str) -> Step:
    """Decodes one token of every sequence, and takes it back; or fetches what that needs, and no more."""
    own, newest = filled(link, size, _owner(name))
    if name == "fetched-alone":
        return lambda: [own.place.get(layer) for layer in range(own.shape.layers)].clear()

    def step() -> None:
        load_model(MODEL)(newest, own)
        own.crop(size.tokens)

    return step


def _owner(name: str) -> str:
    """The way whose cache it works on."""
    return "not-ahead" if name == "fetched-alone" else name


def _bytes(name: str, formula: bool, _model: str, _seed: int) -> float:
    """Bytes that one pass fetches: as counted, or as the formula says."""
    if formula:
        return float(offload.bytes_per_pass(shape(SMALL), _away("free"), SMALL.tokens // GROUP))
    own, _ = filled("free", SMALL, name)
    before = own.place.log.bytes_in
    with torch.inference_mode():
        step_of("free", SMALL, name)()
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
    return value_case(f"kv_cache/offload/{MODEL}/bytes_moved", title, "bytes_moved", ways, _work(SMALL), why=why)


def _stall(link: str, size: Size, name: str, _model: str, _seed: int) -> float:
    log, step = filled(link, size, name)[0].place.log, step_of(link, size, name)
    with torch.inference_mode():
        step()
        before, start = log.wait_s, time.perf_counter()
        for _ in range(PASSES):
            step()
        waited: float = log.wait_s - before
        return 100 * waited / (time.perf_counter() - start)


def _module(name: str) -> str | None:
    return None if name == "resident" else "compose" if name.endswith("4-bit") else "offload"


def _stall_case(link: str, size: Size, names: Sequence[str]) -> Case:
    ways = [
        Way(name, partial(_stall, link, size, name), _module(name), "baseline" if name == "not-ahead" else "method")
        for name in names
    ]
    case = value_case(
        f"kv_cache/offload/{link}{size.folder}/stall_share",
        f"Share of a decode pass of {size.batch} sequences spent waiting for the cache over {_called(link)}",
        "stall_share",
        [replace(way, effect="kernel") for way in ways],
        _work(size, bytes_per_s=LINKS[link], passes=PASSES),
        trials=SEEDS,
        why="with layers ahead what the tier takes beyond the computing is waited for; else all that the tier takes",
    )
    return replace(case, deterministic=False)


def _speed_case(link: str, size: Size, names: Sequence[str]) -> Case:
    notes = {
        "resident": "",
        "segments-here": "the same cache, with nothing to fetch: what computing alone takes",
        "fetched-alone": f"the fetches of a pass, with nothing computed; {_pace(link)}",
    }
    return Case(
        id=f"kv_cache/offload/{link}{size.folder}/decode_throughput",
        title=f"Decoding {size.batch} sequences of {size.tokens} tokens with the cache behind {_called(link)}",
        metric="decode_throughput",
        workload=_work(size, bytes_per_s=LINKS[link], passes=IN_A_ROW),
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "resident" else "method",
                "kernel",
                partial(_decode, link, size, name),
                limit=None if name in ALL_WAYS[:2] else partial(_limit, link, size, name),
                quality=partial(_quality, name),
                module=_module(name),
                note=notes.get(name, _pace(link)),
            )
            for name in names
        ),
        amount=float(size.batch * IN_A_ROW),
        timed=True,
        devices=("cpu",),
    )


def _decode(link: str, size: Size, name: str, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    if name not in ALL_WAYS[:3]:
        _alone(link, size, name)
    place, one = getattr(filled(link, size, _owner(name))[0], "place", None), step_of(link, size, name)

    def step() -> None:
        if place is not None:
            place.forget_ahead()
        for _ in range(IN_A_ROW):
            one()

    return step


_fastest: dict[tuple[str, Size, str], float] = {}


def shortest(link: str, size: Size, name: str) -> float:
    """Seconds of a step: the shortest of all that were taken so far, and some now. As a bound on what is possible."""
    step = step_of(link, size, name)
    with torch.inference_mode():
        for _ in range(PASSES):
            start = time.perf_counter()
            step()
            took = time.perf_counter() - start
            _fastest[link, size, name] = min(took, _fastest.get((link, size, name), took))
    return _fastest[link, size, name]


def _alone(link: str, size: Size, name: str) -> tuple[float, float | None]:
    """Seconds of a pass's computing, and of its fetches from the disk, each alone."""
    computing = shortest("free", size, "segments-here" + "-4-bit" * name.endswith("-4-bit"))
    return computing, None if LINKS[link] else shortest(link, size, "fetched-alone")


def _limit(link: str, size: Size, name: str, work: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001
    """The slower of computing and moving where they overlap, and both where they do not."""
    whole, moved = (filled(link, size, one)[0].place.nbytes_away for one in ("not-ahead", _owner(name)))
    if name == "fetched-alone":
        rate = LINKS[link] or ceilings.disk_read_bytes_per_s
        whose = "stated link rate" if LINKS[link] else "disk read bandwidth"
        return Limit(size.batch * rate / moved, f"{whose} / {moved / 1e6:.2f} MB a pass") if rate else None
    computing, fetching = _alone(link, size, name)
    rate = LINKS[link] or whole / (fetching or 1.0)
    return limit_of(size.batch, computing, moved, rate, overlaps=name != "not-ahead", stated=link != "disk")


def limit_of(batch: int, computing_s: float, moved: float, rate: float, *, overlaps: bool, stated: bool) -> Limit:
    """Tokens a second of passes that compute so long and move so many bytes."""
    computes = f"computing alone, {1e3 * computing_s:.1f} ms a pass"
    moves = f"{moved / 1e6:.2f} MB a pass / {'stated link rate' if stated else 'rate of the fetches alone'}"
    moves += f", {1e3 * moved / rate:.1f} ms"
    if not overlaps:
        return Limit(batch / (computing_s + moved / rate), f"{computes} + {moves}")
    if computing_s > moved / rate:
        return Limit(batch / computing_s, f"bound by computing: {computes}; {moves}")
    return Limit(batch * rate / moved, f"bound by the tier: {moves}; {computes}")


def _called(link: str) -> str:
    return "this machine's disk" if link == "disk" else f"a link of {link.replace('-', ' ')}"


def _pace(link: str) -> str:
    rate = LINKS[link]
    return f"the link is slowed down to {rate:.0e} bytes a second" if rate else "files are read past the page cache"


def _quality(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001 of the values alone
    setting = ("bits-4", "kivi") if name.endswith("4-bit") else ("bits-4", "full")
    return Quality("perplexity", scored(MODEL, *setting))

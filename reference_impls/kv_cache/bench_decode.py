"""Time of one new token: behind caches that keep less, and against computing a window again.

A step starts each time from the same cache: what it added is taken off again, so a cache neither grows nor ages.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import evict, h2o, kivi, random_eviction, shape_of, snapkv, streaming_llm
from reference_impls.kv_cache.evaluate import fill, read_prompt
from reference_impls.kv_cache.evict import EvictingCache, Layer
from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.pruning.bench_models import load_model, tokens_of

MODEL = "tiny-target"
CONTEXTS, BUDGET, BITS = (448, 1000), 64, 4
"""Tokens cached; between them and the next multiple of a group no token of KIVI's waits to be rounded."""
WINDOWS, SINKS = (256, 1000), 4
FIXED = "a model that fits the processor's cache: what every pass costs, whatever it reads, is most of a step"
METHODS: dict[str, tuple[Any, Any]] = {
    "h2o": (h2o, h2o.Config(BUDGET)),
    "snapkv": (snapkv, snapkv.Config(BUDGET)),
    "streaming-llm": (streaming_llm, streaming_llm.Config(BUDGET, SINKS)),
    "random": (random_eviction, random_eviction.Config(BUDGET, 16)),
}
NOTES = {
    "h2o": "the weights of attention are computed a second time to be seen",
    "snapkv": "the prompt was cut before; what is decoded stays",
    "streaming-llm": "keys are turned to their places in the cache anew",
    "kivi": "all codes are read back to numbers; rounding, once for a group of tokens, is not in the step",
}


def cases() -> list[Case]:
    """By the length of the cache, and by the window."""
    return [*(_evicting_case(length) for length in CONTEXTS), *(_window_case(length) for length in WINDOWS)]


@cache
def _read(length: int) -> tuple[list[Layer], Tensor]:
    """The first tokens of the text as the model read them, and the one behind them. -> layers, (1, 1)"""
    model, tokens = load_model(MODEL), tokens_of(MODEL)[None]
    return read_prompt(model, shape_of(model), tokens[:, :length]), tokens[:, length : length + 1]


# Caches that keep less.


def _evicting_case(length: int) -> Case:
    names = {"full": None, **{name: method.__name__.rpartition(".")[2] for name, (method, _) in METHODS.items()}}
    return Case(
        id=f"kv_cache/evict/{MODEL}/context-{length}/decode_throughput",
        title=f"One new token behind {length}, of which {BUDGET} are kept, or all in {BITS} bits: {MODEL}",
        metric="decode_throughput",
        workload={
            "model": MODEL,
            "batch": 1,
            "cached_tokens": length,
            "budget": BUDGET,
            "bits": BITS,
            "dtype": "float32",
        },
        implementations=tuple(
            Implementation(
                name,
                "method" if module else "baseline",
                "packed" if name == "kivi" else "kernel",
                partial(_behind, name),
                module=module,
                note=NOTES.get(name, ""),
            )
            for name, module in {**names, "kivi": "kivi"}.items()
        ),
        amount=1.0,
        timed=True,
        no_limit=FIXED,
        devices=("cpu",),
    )


def filled(name: str, length: int) -> tuple[Any, Callable[[], None]]:
    """A cache that holds the text, and how to take off it what a step added."""
    model = load_model(MODEL)
    if name in METHODS:
        return _held(evict.new_cache(shape_of(model), *METHODS[name]), length)
    own: Any = kivi.new_cache(shape_of(model), kivi.Config(BITS)) if name == "kivi" else model.new_cache()
    fill(own, _read(length)[0])
    return own, partial(own.crop, length)


def _held(own: EvictingCache, length: int) -> tuple[EvictingCache, Callable[[], None]]:
    """What has left cannot be cropped back, so the layers of before are put in again; no step writes into them."""
    fill(own, _read(length)[0])
    before = own.layers

    def put_back() -> None:
        own.layers = [replace(layer) for layer in before]

    put_back()
    return own, put_back


def _behind(name: str, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    length = int(work["cached_tokens"] or 1)
    own, take_off = filled(name, length)
    model, newest = load_model(MODEL), _read(length)[1]

    def step() -> None:
        with observing(own):
            model(newest, own, torch.tensor([own.length]))
        take_off()

    return step


def observing(own: Any) -> Any:
    """Attention is shown to methods that go on looking at it."""
    looks = isinstance(own, EvictingCache) and own.watches and not own.once
    return evict.observing(load_model(MODEL), own) if looks else nullcontext()


# Against computing the window again.


def _window_case(length: int) -> Case:
    included = "every token of the window, and the head for the last"
    return Case(
        id=f"kv_cache/stream/{MODEL}/budget-{length}/step_time",
        title=f"The next token of a stream, {length} tokens of it in view: {MODEL}",
        metric="step_time",
        workload={"model": MODEL, "batch": 1, "budget": length, "sink_tokens": SINKS, "dtype": "float32"},
        implementations=(
            Implementation("recomputed", "baseline", "kernel", _recompute, note=included),
            Implementation("streaming-llm", "method", "kernel", _stream, module="streaming_llm"),
        ),
        timed=True,
        no_limit=FIXED,
        devices=("cpu",),
    )


def _recompute(work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    model, window = load_model(MODEL), tokens_of(MODEL)[None, : int(work["budget"] or 1)]

    def step() -> None:
        model.head(model.hidden_states(window)[:, -1:])

    return step


def _stream(work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    """The window is full: a token comes, one leaves."""
    length = int(work["budget"] or 1)
    model, newest = load_model(MODEL), _read(length)[1]
    config = streaming_llm.Config(length, SINKS)
    own, _ = _held(evict.new_cache(shape_of(model), streaming_llm, config), length)
    model(newest, own)  # from now on keys stand elsewhere than they were turned for
    before = own.layers

    def step() -> None:
        own.layers = [replace(layer) for layer in before]
        model(newest, own)

    return step

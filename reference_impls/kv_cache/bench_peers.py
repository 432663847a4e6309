"""Whole calls of generate, with the caches of this family and with those of transformers, in the same run."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import kivi, paged, shape_of
from reference_impls.kv_cache.bench_quality import scored
from reference_impls.kv_cache.blocks import Config
from reference_impls.measurement.case import Case, Implementation, Quality, Step, Workload
from reference_impls.models.generate import generate
from reference_impls.pruning.bench_models import load_model, tokens_of

PROMPT, NEW = 256, 16


def cases() -> list[Case]:
    """One case."""
    return [_peer_case()]


def _peer_case() -> Case:
    ours: dict[str, tuple[str | None, Callable[[], Any]]] = {
        "contiguous": (None, lambda: load_model("tiny-target").new_cache(1, PROMPT + NEW)),
        "paged-16": ("paged", lambda: paged.new_cache(_peer_shape(), Config(16))),
        "kivi-4": ("kivi", lambda: kivi.new_cache(_peer_shape(), kivi.Config(4))),
    }
    hqq = {"backend": "hqq", "nbits": 4, "q_group_size": 32, "residual_length": 32, "axis_key": 1, "axis_value": 1}
    theirs: dict[str, dict[str, Any]] = {
        "transformers-dynamic": {},
        "transformers-static": {"cache_implementation": "static"},
        "transformers-quantised": {"cache_implementation": "quantized", "cache_config": hqq},
        "transformers-offloaded": {"cache_implementation": "offloaded"},
    }
    return Case(
        id="kv_cache/peers/tiny-target/decode_throughput",
        title=f"Generating {NEW} tokens behind {PROMPT}, by kind of cache",
        metric="decode_throughput",
        workload={"model": "tiny-target", "batch": 1, "prompt_tokens": PROMPT, "new_tokens": NEW, "dtype": "float32"},
        implementations=(
            *(
                Implementation(
                    name,
                    "method" if module else "baseline",
                    "kernel" if name != "kivi-4" else "packed",
                    partial(_ours, make),
                    quality=partial(_peer_quality, name),
                    module=module,
                    note="the prompt's pass is included, as in transformers' generate",
                )
                for name, (module, make) in ours.items()
            ),
            *(
                Implementation(
                    name,
                    "peer",
                    "kernel",
                    partial(_theirs, options),
                    needs=("transformers", "hqq") if "quantised" in name else ("transformers",),
                    note="needs CUDA" if "offloaded" in name else "",
                )
                for name, options in theirs.items()
            ),
            Implementation("kvpress-snapkv", "peer", "kernel", _kvpress, needs=("kvpress",)),
        ),
        amount=float(NEW),
        timed=True,
        no_limit="whole generate calls: fixed costs of two libraries are what differs",
        devices=("cpu",),
    )


def _peer_shape() -> Any:
    return shape_of(load_model("tiny-target"), 1, PROMPT + NEW)


def _prompt() -> Tensor:
    return tokens_of("tiny-target")[None, :PROMPT]


def _ours(make: Callable[[], Any], work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    return lambda: _done(generate(load_model("tiny-target"), _prompt(), NEW, cache=make()))


def _peer_quality(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001 of the values alone
    return Quality("perplexity", scored("tiny-target", "bits-4", "kivi" if name == "kivi-4" else "full"))


@cache
def _hugging_face() -> Any:
    from reference_impls.quantization.peers import to_transformers

    model = to_transformers(load_model("tiny-target"))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def _theirs(options: dict[str, Any], work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    model, tokens = _hugging_face(), _prompt()
    seen = torch.ones_like(tokens)
    return lambda: _done(model.generate(tokens, attention_mask=seen, max_new_tokens=NEW, do_sample=False, **options))


def _kvpress(work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    import kvpress

    model, tokens = _hugging_face(), _prompt()
    press = kvpress.SnapKVPress(compression_ratio=0.5, window_size=16)
    seen = torch.ones_like(tokens)

    def step() -> None:
        with press(model):
            model.generate(tokens, attention_mask=seen, max_new_tokens=NEW, do_sample=False)

    return step


def _done(_result: Any) -> None:
    """A timed step returns nothing."""

"""Whole calls of generate, with the caches of this family and with those of transformers, in the same run."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.attention.paged_decode import in_place
from reference_impls.kv_cache import kivi, paged, shape_of
from reference_impls.kv_cache.bench_paged import model_on
from reference_impls.kv_cache.bench_quality import scored
from reference_impls.kv_cache.blocks import Config
from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Quality, Step, Workload
from reference_impls.models.decoder import Decoder
from reference_impls.models.generate import generate
from reference_impls.pruning.bench_models import tokens_of

PROMPT, NEW = 256, 16


def cases() -> list[Case]:
    """One case."""
    return [_peer_case()]


def _peer_case() -> Case:
    def pages(model: Decoder) -> Any:
        return paged.new_cache(shape_of(model, 1, PROMPT + NEW), Config(16))

    included = "the prompt's pass is included, as in transformers' generate"
    ours: dict[str, tuple[str | None, Callable[[Decoder], Any], str]] = {
        "contiguous": (None, lambda model: model.new_cache(1, PROMPT + NEW), included),
        "paged-16": ("paged", pages, f"{included}; new tokens read the pages where they lie"),
        "paged-16-gather": ("paged", pages, f"{included}; each pass copies the pages into one tensor first"),
        "kivi-4": ("kivi", lambda model: kivi.new_cache(shape_of(model, 1, PROMPT + NEW), kivi.Config(4)), included),
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
                    partial(_ours, make, name == "paged-16"),
                    quality=partial(_peer_quality, name),
                    module=module,
                    note=note,
                )
                for name, (module, make, note) in ours.items()
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
    )


def _prompt(device: str) -> Tensor:
    return tokens_of("tiny-target")[None, :PROMPT].to(device)


def _ours(make: Callable[[Decoder], Any], reads_in_place: bool, work: Workload, device: str) -> Step:  # noqa: ARG001
    model, tokens = model_on("tiny-target", device), _prompt(device)

    def step() -> None:
        own = make(model)
        with in_place(model, own) if reads_in_place else nullcontext() as path:
            if path == "gather":
                raise NotInstalledError("a kernel that reads pages in place here: Triton, or a compiler of C++")
            generate(model, tokens, NEW, cache=own)

    return step


def _peer_quality(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001 of the values alone
    return Quality("perplexity", scored("tiny-target", "bits-4", "kivi" if name == "kivi-4" else "full"))


@cache
def _hugging_face(device: str) -> Any:
    from reference_impls.quantization.peers import to_transformers

    model = to_transformers(model_on("tiny-target", device))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def _theirs(options: dict[str, Any], work: Workload, device: str) -> Step:  # noqa: ARG001 one model
    if device == "cpu" and options.get("cache_implementation") == "offloaded":
        raise NotInstalledError("a CUDA GPU, whose streams fetch what transformers keeps on the host")
    model, tokens = _hugging_face(device), _prompt(device)
    seen = torch.ones_like(tokens)
    return lambda: _done(model.generate(tokens, attention_mask=seen, max_new_tokens=NEW, do_sample=False, **options))


def _kvpress(work: Workload, device: str) -> Step:  # noqa: ARG001 one model
    import kvpress

    model, tokens = _hugging_face(device), _prompt(device)
    press = kvpress.SnapKVPress(compression_ratio=0.5, window_size=16)
    seen = torch.ones_like(tokens)

    def step() -> None:
        with press(model):
            model.generate(tokens, attention_mask=seen, max_new_tokens=NEW, do_sample=False)

    return step


def _done(_result: Any) -> None:
    """A timed step returns nothing."""

"""Time of what pruning really leaves out: decode and prefill of smaller models, and 2:4 weights where they are packed.

Zeros in a dense weight save no time, so no unstructured method is here.
"""

from functools import cache, partial
from typing import Any

import torch

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Step, Workload
from reference_impls.models.decoder import Decoder
from reference_impls.pruning import contextual, layers, surgery, wanda
from reference_impls.pruning.apply import prune_model
from reference_impls.pruning.bench_models import (
    dense_perplexity,
    load_model,
    perplexity,
    stats_of,
    tokens_of,
    workload,
)
from reference_impls.pruning.bench_structures import influence, shrunk
from reference_impls.pruning.semi_structured import SemiStructuredLinear

CACHED, PROMPT = 64, 256
"""Tokens in the cache of a decode step; tokens of a prefill."""


def cases() -> list[Case]:
    """Whole models on the CPU; `bench_gpu.py` has single layers on a GPU."""
    return _model_cases("smollm2-135m")


def _model_cases(model: str) -> list[Case]:
    decode, prefill = (tuple(_ways(step)) for step in ("decode", "prefill"))
    return [
        Case(
            id=f"pruning/decode/{model}",
            title=f"Decoding with a pruned {model} at batch 1",
            metric="decode_throughput",
            workload=workload(model, batch=1, cached_tokens=CACHED),
            implementations=decode,
            amount=1.0,
            timed=True,
            lossy=True,
            devices=("cpu",),
        ),
        Case(
            id=f"pruning/prefill/{model}",
            title=f"Reading {PROMPT} tokens with a pruned {model}",
            metric="prefill_throughput",
            workload=workload(model, batch=1, prompt_tokens=PROMPT),
            implementations=prefill,
            amount=float(PROMPT),
            timed=True,
            lossy=True,
            devices=("cpu",),
        ),
    ]


def _ways(step: str) -> list[Implementation]:
    prepare: Any = _decode if step == "decode" else _prefill
    bound: Any = _decode_limit if step == "decode" else _prefill_limit
    ways = [
        Implementation("dense", "baseline", "kernel", partial(prepare, "dense"), limit=partial(bound, "dense")),
        _way("neurons-20", "width", "kernel", prepare, bound),
        _way("neurons-50", "width", "kernel", prepare, bound),
        _way("blocks-5", "layers", "kernel", prepare, bound),
        _way(
            "two-of-four", "semi_structured", "packed", prepare, bound, "unpacked at each call: saves bytes, not time"
        ),
    ]
    if step == "decode":  # several tokens at once are masked, which saves nothing
        ways.append(_way("active-30", "contextual", "kernel", prepare, bound, "the gate chooses the neurons"))
    return ways


def _way(name: str, module: str, effect: Any, prepare: Any, bound: Any, note: str = "") -> Implementation:
    return Implementation(
        name,
        "method",
        effect,
        partial(prepare, name),
        quality=partial(_quality, name),
        limit=partial(bound, name),
        note=note,
        module=module,
    )


@cache
def _variant(name: str, model: str) -> Decoder:
    dense = load_model(model)
    if name == "dense":
        return dense
    if name.startswith("neurons"):
        return shrunk(model, "width", int(name.rpartition("-")[2]) / 100, 0)
    if name == "blocks-5":
        return surgery.remove_blocks(dense, layers.least_influential(influence(model, 0), 5))
    if name == "active-30":
        return contextual.shrink(dense, contextual.Config(0.3, "gate"))
    found = prune_model(dense, wanda, wanda.Config(n_of_m=(2, 4)), stats_of(model, 0), effect="packed")
    return surgery.as_decoder(found)


@cache
def _perplexity(name: str, model: str) -> float:
    return dense_perplexity(model) if name == "dense" else perplexity(model, _variant(name, model))


def _quality(name: str, work: Workload, device: str) -> Quality:  # noqa: ARG001 of the model alone
    return Quality("perplexity", _perplexity(name, str(work["model"])))


def _decode(name: str, work: Workload, device: str) -> Step:
    model = _variant(name, str(work["model"]))
    tokens = tokens_of(str(work["model"]))[: CACHED + 1].to(device)
    cache = model.new_cache(1, CACHED + 8)
    with torch.inference_mode():
        model(tokens[None, :CACHED], cache)

    def step() -> None:
        model(tokens[None, CACHED:], cache)
        cache.crop(CACHED)

    return step


def _prefill(name: str, work: Workload, device: str) -> Step:
    model = _variant(name, str(work["model"]))
    tokens = tokens_of(str(work["model"]))[:PROMPT].to(device)

    def step() -> None:
        states = model.hidden_states(tokens[None])
        model.head(states[:, -1])

    return step


def _bytes_read(name: str, model: str) -> float:
    """Weights that a decode step must read: the embedding once, as the head; of active-30 all gates and 30 % else."""
    variant = _variant(name, model)
    held = {id(t): t.nbytes for t in (*variant.parameters(), *variant.buffers())}
    total = float(sum(held.values()))
    if name == "active-30":
        total -= 0.7 * sum(2 * block.ffn.up.weight.nbytes for block in surgery.decoder_blocks(variant))
    return total


def _decode_limit(name: str, work: Workload, ceilings: Ceilings) -> Limit | None:
    if ceilings.read_bytes_per_s is None:
        return None
    moved = _bytes_read(name, str(work["model"]))
    return Limit(ceilings.read_bytes_per_s / moved, f"read bandwidth / {moved / 1e6:.0f} MB of weights")


def _prefill_limit(name: str, work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = (ceilings.matmul_flops_per_s or {}).get("float32")
    if rate is None:
        return None
    numbers = sum(_numbers(module) for module in _variant(name, str(work["model"])).blocks.modules())
    return Limit(rate / (2 * numbers), "product rate / 2 FLOPs for each weight of the blocks and token")


def _numbers(module: torch.nn.Module) -> int:
    """Weights multiplied with; packed ones are multiplied as dense ones here."""
    if isinstance(module, SemiStructuredLinear):
        return module.out_features * module.in_features
    return module.weight.numel() if isinstance(module, torch.nn.Linear) else 0

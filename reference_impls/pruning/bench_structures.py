"""Cases of models that really are smaller: without some of their neurons, or without some of their blocks."""

from functools import cache, partial

import torch
from torch import Tensor

from reference_impls.measurement.case import Case
from reference_impls.models.decoder import Decoder
from reference_impls.pruning import layers, structured, surgery, width
from reference_impls.pruning.bench_models import (
    Way,
    calibration_of,
    dense_way,
    load_model,
    perplexity,
    value_case,
    workload,
)


def structure_cases(model: str, percent: int, trials: int) -> list[Case]:
    """The same number of neurons removed by gradient or by activation; and the bytes of what is left."""
    share = percent / 100
    ways = [
        Way("llm-pruner", partial(_shrunk_perplexity, "structured", share), "structured", effect="kernel"),
        Way("width", partial(_shrunk_perplexity, "width", share), "width", effect="kernel"),
    ]
    if model == "tiny-target":
        ways.append(Way("llm-pruner-lora", partial(_recovered_perplexity, share), "structured", effect="kernel"))
    size = [
        Way("dense", lambda name, _seed: _bytes(load_model(name)), role="baseline"),
        *(Way(one.name, partial(_shrunk_bytes, one.module or "", share), one.module, effect="kernel") for one in ways),
    ]
    work = workload(model, removed_neurons=share)
    name, title = f"pruning/{model}/neurons-{percent}", f"{model} without {percent} % of its neurons"
    return [
        value_case(f"{name}/perplexity", f"Perplexity of {title}", "perplexity", [dense_way(), *ways], work, trials),
        value_case(f"{name}/weight_bytes", f"Bytes of {title}", "weight_bytes", size, work),
    ]


@cache
def _scores(model: str, method: str, seed: int) -> list[surgery.BlockScores]:
    decoder, calibration = load_model(model), calibration_of(model, seed)
    if method == "width":
        return width.activation_scores(decoder, calibration)
    products = structured.gradient_products(decoder, calibration.batches)
    blocks = surgery.decoder_blocks(decoder)
    return [structured.block_scores(block, products, structured.Config()) for block in blocks]


def shrunk(model: str, method: str, share: float, seed: int) -> Decoder:
    """The model without that share of its neurons; scores are found once a seed."""
    return surgery.cut(load_model(model), _scores(model, method, seed), surgery.ShrinkConfig(share))


def _shrunk_perplexity(method: str, share: float, model: str, seed: int) -> float:
    return perplexity(model, shrunk(model, method, share, seed))


def _shrunk_bytes(method: str, share: float, model: str, seed: int) -> float:
    """LoRA recovery is merged, so it leaves the bytes as they are."""
    return _bytes(shrunk(model, method, share, seed))


def _recovered_perplexity(share: float, model: str, seed: int) -> float:
    batches = calibration_of(model, seed).batches
    pairs = [torch.cat([*batches[start : start + 2]]) for start in range(0, len(batches), 2)]
    small = shrunk(model, "structured", share, seed)
    recovery, generator = structured.Recovery(steps=24), torch.Generator().manual_seed(seed)
    return perplexity(model, structured.recover(small, pairs, recovery, generator))


def _bytes(model: Decoder) -> float:
    return float(sum(parameter.nbytes for parameter in model.parameters()))


def blocks_cases(model: str, removed: int, trials: int) -> list[Case]:
    """The least influential blocks removed, or those before the last, or any; and the bytes left.

    What SmolLM2 is without its last but one is clear from a few numbers of blocks; any are tried on the tiny model.
    """
    ways = [Way("shortgpt", partial(_without_blocks, "shortgpt", removed), "layers", effect="kernel")]
    if model == "tiny-target" or removed in (1, 5, 10):
        ways.append(Way("last-but-one", partial(_without_blocks, "last", removed), role="peer", effect="kernel"))
    if model == "tiny-target":
        ways.append(Way("random", partial(_without_blocks, "random", removed), role="peer", effect="kernel"))
    size = [
        Way("dense", lambda name, _seed: _bytes(load_model(name)), role="baseline"),
        *(Way(one.name, partial(_bytes_without, removed), one.module, one.role, "kernel") for one in ways),
    ]
    work = workload(model, removed_blocks=removed)
    name, title = f"pruning/{model}/blocks-{removed}", f"{model} without {removed} of its blocks"
    return [
        value_case(f"{name}/perplexity", f"Perplexity of {title}", "perplexity", [dense_way(), *ways], work, trials),
        value_case(f"{name}/weight_bytes", f"Bytes of {title}", "weight_bytes", size, work),
    ]


def _bytes_without(removed: int, model: str, _seed: int) -> float:
    """All blocks are of one size."""
    return _bytes(surgery.remove_blocks(load_model(model), tuple(range(removed))))


@cache
def influence(model: str, seed: int) -> Tensor:
    """-> (layers,)"""
    return layers.block_influence(load_model(model), calibration_of(model, seed))


def _without_blocks(choice: str, removed: int, model: str, seed: int) -> float:
    total = len(load_model(model).blocks)
    if choice == "shortgpt":
        gone = layers.least_influential(influence(model, seed), removed)
    elif choice == "last":  # the blocks before the last, which turns states into what the head reads
        gone = list(range(total - 1 - removed, total - 1))
    else:
        gone = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:removed].tolist()
    return _perplexity_without(model, tuple(sorted(gone)))


@cache
def _perplexity_without(model: str, gone: tuple[int, ...]) -> float:
    return perplexity(model, surgery.remove_blocks(load_model(model), gone))

"""The cases of this family: what pruning costs in quality, what it saves in bytes, and what of it saves time.

Quality is that of whole models, over three draws of the calibration text. Time is that of whole decode and prefill
steps (`bench_speed.py`).
"""

from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload
from reference_impls.pruning import (
    bench_gpu,
    bench_speed,
    bench_structures,
    bitmask,
    compose,
    contextual,
    magnitude,
    semi_structured,
    sparsegpt,
    surgery,
    wanda,
)
from reference_impls.pruning.bench_models import (
    CONTEXT,
    EVALUATED,
    SEEDS,
    Way,
    calibration_of,
    dense_way,
    load_model,
    perplexity,
    pruned,
    tokens_of,
    value_case,
    workload,
)
from reference_impls.quantization import awq, rtn
from reference_impls.quantization.apply import find_linears, quantize_model
from reference_impls.quantization.calibration import Calibration, collect

MODELS = ("tiny-target", "smollm2-135m")
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FEW = 3
"""Draws where no paper's claim is tested."""
WEIGHT_METHODS = {"magnitude": magnitude, "wanda": wanda, "sparsegpt": sparsegpt}


def cases() -> list[Case]:
    """Every case of the family."""
    quality = [case for model in MODELS for case in _quality(model)]
    return [*quality, *_compositions(), *_storage(), *bench_speed.cases(), *bench_gpu.cases()]


def _quality(model: str) -> list[Case]:
    small = model == "tiny-target"
    found = [_sparsity_case(model, share) for share in SHARES]
    found += [_pattern_case(model, pattern, SEEDS if small else 1) for pattern in ((2, 4), (4, 8))[: 2 if small else 1]]
    for percent in (10, 20, 30):
        draws = SEEDS if percent == 20 else FEW  # on SmolLM2, which is slow, one
        found += bench_structures.structure_cases(model, percent, draws if small else 1)
    for removed in range(1, 6 if small else 11):
        found += bench_structures.blocks_cases(model, removed, SEEDS if small else 1)
    return found + [case for percent in ((10, 30, 50) if small else (30,)) for case in _active_cases(model, percent)]


# Unstructured and n of m.


def _sparsity_case(model: str, sparsity: float) -> Case:
    """Half has as many draws as an interval needs, and on the tiny model what the papers' claims name besides."""
    claimed = sparsity == 0.5 or (model == "tiny-target" and sparsity == 0.6)
    configs = {name: method.Config(sparsity) for name, method in WEIGHT_METHODS.items()}
    name, title = f"sparsity-{sparsity * 100:.0f}", f"{sparsity:.0%} unstructured"
    return _mask_case(model, name, title, configs, SEEDS if claimed else FEW, sparsity=sparsity)


def _pattern_case(model: str, pattern: tuple[int, int], trials: int) -> Case:
    configs = {name: method.Config(n_of_m=pattern) for name, method in WEIGHT_METHODS.items()}
    text = f"{pattern[0]}:{pattern[1]}"
    return _mask_case(model, f"{pattern[0]}-of-{pattern[1]}", text, configs, trials, sparsity=0.5, n_of_m=text)


def _mask_case(model: str, name: str, title: str, configs: dict[str, Any], trials: int, **more: Any) -> Case:
    ways = [Way(key, partial(_masked_perplexity, key, config), key) for key, config in configs.items()]
    return value_case(
        f"pruning/{model}/{name}/perplexity",
        f"Perplexity of {model}, {title}",
        "perplexity",
        [dense_way(), *ways],
        workload(model, **more),
        trials,
    )


def _masked_perplexity(name: str, config: Any, model: str, seed: int) -> float:
    method = WEIGHT_METHODS[name]
    return _kept_perplexity(name, config, model, seed if hasattr(method, "NEEDS") else 0)


@cache
def _kept_perplexity(name: str, config: Any, model: str, seed: int) -> float:
    return perplexity(model, pruned(model, WEIGHT_METHODS[name], config, seed))


# Neurons chosen for each token.


def _active_cases(model: str, percent: int) -> list[Case]:
    choices = ("oracle", "gate", "learned") if model == "tiny-target" else ("oracle", "gate")
    quality = [Way(choice, partial(_active, choice, percent, 0), "contextual") for choice in choices]
    recalls = [
        Way(choice, partial(_active, choice, percent, 1), "contextual", "baseline" if choice == "oracle" else "method")
        for choice in choices
    ]
    work = workload(model, neurons_kept=percent / 100, predictor_tokens=CALIBRATION_ROWS)
    name, title = f"pruning/{model}/active-{percent}", f"{model}, {percent} % of the neurons for each token"
    return [
        value_case(f"{name}/perplexity", f"Perplexity of {title}", "perplexity", [dense_way(), *quality], work),
        value_case(f"{name}/recall", f"Recall of the active neurons, {title}", "recall", recalls, work),
    ]


CALIBRATION_ROWS = 4096


def _active(choice: Any, percent: int, which: int, model: str, seed: int) -> float:
    return _active_quality(choice, percent, model, seed)[which]


@cache
def _active_quality(choice: Any, percent: int, model: str, seed: int) -> tuple[float, float]:
    """-> perplexity, mean recall over the layers on the tokens evaluated."""
    config = contextual.Config(percent / 100, choice, seed=seed)
    sparse = contextual.shrink(load_model(model), config, calibration_of(model, seed, CALIBRATION_ROWS))
    unseen = _evaluated_inputs(model)
    recalls = []
    blocks = surgery.decoder_blocks(load_model(model))
    for index, (dense, block) in enumerate(zip(blocks, surgery.decoder_blocks(sparse), strict=True)):
        inputs, sparse_ffn = unseen[index], cast(Any, block.ffn)
        recalls.append(contextual.recall(dense.ffn, sparse_ffn.predictor, inputs, config.kept))
    return perplexity(model, sparse), sum(recalls) / len(recalls)


@cache
def _evaluated_inputs(model: str) -> list[Tensor]:
    """Some inputs of each feed-forward layer on the tokens evaluated. -> (rows, hidden) each"""
    decoder, windows = load_model(model), tokens_of(model)[: EVALUATED[model]].view(-1, 1, CONTEXT)
    gates = {str(index): block.ffn.gate for index, block in enumerate(surgery.decoder_blocks(decoder))}
    found = collect(decoder, dict(gates), Calibration([*windows], sample_rows=512), hessian=False)
    return [stats.sample for stats in found.values()]


# With quantization.


def _compositions() -> list[Case]:
    grid = rtn.Config(4, 64)
    scaled = awq.Config(4, 64)
    configs = {
        "sparsegpt-rtn": compose.Config("sparsegpt", sparsegpt.Config(), "rtn", grid),
        "sparsegpt-joint": compose.Config("sparsegpt", sparsegpt.Config(), "rtn", grid, "joint"),
        "wanda-rtn": compose.Config("wanda", wanda.Config(), "rtn", grid),
        "wanda-awq": compose.Config("wanda", wanda.Config(), "awq", scaled),
        "rtn-wanda": compose.Config("wanda", wanda.Config(), "rtn", grid, "quantize_first"),
        "awq-wanda": compose.Config("wanda", wanda.Config(), "awq", scaled, "quantize_first"),
    }
    model = "tiny-target"
    work = workload(model, sparsity=0.5, bits=4, group_size=64)
    ways = [Way(name, partial(_composed, config, 0), "compose") for name, config in configs.items()]
    bits = [Way(name, partial(_composed, config, 1), "compose") for name, config in configs.items()]
    dense_bits = Way("dense", lambda _model, _seed: 32.0, role="baseline")
    name, title = f"pruning/{model}/half-and-4-bit", f"{model}, half removed and 4 bits"
    return [
        value_case(f"{name}/perplexity", f"Perplexity of {title}", "perplexity", [dense_way(), *ways], work, SEEDS),
        value_case(f"{name}/bits_per_weight", f"Stored bits of {title}", "bits_per_weight", [dense_bits, *bits], work),
    ]


def _composed(config: compose.Config, which: int, model: str, seed: int) -> float:
    result = quantize_model(load_model(model), compose, config, calibration_of(model, seed))
    if which == 0:
        return perplexity(model, result)
    found: list[Any] = [*find_linears(result).values()]
    counts = [layer.out_features * layer.in_features for layer in found]
    bits = [layer.quantized.bits_per_weight for layer in found]
    return float(sum(one * n for one, n in zip(bits, counts, strict=True)) / sum(counts))


# Bytes.


def _storage() -> list[Case]:
    return [_storage_case(percent) for percent in (30, 50, 70, 90)]


def _storage_case(percent: int) -> Case:
    ways = {"dense": lambda w: w.nbytes, "bitmask": lambda w: bitmask.pack(w).nbytes, "csr": bitmask.csr_bytes}
    modules = {"dense": None, "bitmask": "bitmask", "csr": None}
    if percent == 50:
        ways["two-of-four"] = lambda w: semi_structured.pack(w).nbytes
        modules["two-of-four"] = "semi_structured"
    roles: dict[str, Role] = {"dense": "baseline", "csr": "peer"}

    def prepare(name: str, work: Workload, device: str) -> Step:  # noqa: ARG001 bytes do not depend on either
        weight = torch.randn(1536, 576, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
        config = magnitude.Config(percent / 100, n_of_m=(2, 4) if name == "two-of-four" else None)
        sparse = weight * magnitude.keep_mask(weight, config)
        return lambda: float(ways[name](sparse))

    return Case(
        id=f"pruning/storage-{percent}/weight_bytes",
        title=f"Bytes of a 1536 x 576 layer of which {percent} % are removed",
        metric="weight_bytes",
        workload={"out": 1536, "in": 576, "sparsity": percent / 100, "dtype": "bfloat16"},
        implementations=tuple(
            Implementation(name, roles.get(name, "method"), "packed", partial(prepare, name), module=modules[name])
            for name in ways
        ),
        timed=False,
        deterministic=True,
        no_limit="a count of bytes",
        devices=("cpu",),
    )

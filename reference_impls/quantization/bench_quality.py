"""What quantization costs in quality and saves in bytes: perplexity and stored bits of whole models.

Two models: the tiny target, trained by this project and never quantised, and SmolLM2-135M where it is installed. The
weights of SmolLM2 were Q4_1 once, a grid of 4 bits in groups of 32 with an offset; no case here uses groups of 32, on
which it would look lossless, and every workload says where its weights come from. Each value has a spread: over
calibration texts on the small model, over evaluated texts on the larger one, where all methods meet the same texts, so
that ratios are of pairs.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from itertools import cycle
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Role, Step, Workload
from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import mean_loss
from reference_impls.quantization import LayerStats, rtn
from reference_impls.quantization.apply import find_linears, quantize_model
from reference_impls.quantization.bench_recipes import STACKED, Recipe, grid_recipes, groups
from reference_impls.quantization.calibration import Calibration, collect
from reference_impls.quantization.fused import fuse

CONTEXT = 256
TEXTS = 6
EVALUATED = {"tiny-target": 4096, "smollm2-135m": TEXTS * 192}
"""Tokens; of the larger model they are cut into TEXTS texts of one window each, and every text is a trial."""
CALIBRATED = 8 * CONTEXT
POOL = 12_000
"""Tokens after those evaluated, from which each seed draws its windows of calibration."""
SEEDS = 6


def _trials(model: str, name: str) -> int:
    """Where there are many bits, calibration texts make less of a difference than the last digit shown."""
    return SEEDS // 2 if model == "tiny-target" and name in ("8-bit", "6-bit", "5-bit") else SEEDS


def quality_cases() -> list[Case]:
    """Perplexity and stored bits, for both models."""
    found = []
    for model in EVALUATED:
        for name, recipes in groups(small=model == "tiny-target").items():
            case = f"quantization/{model}/{name}"
            found.append(
                _case(f"{case}/perplexity", f"Perplexity of {model}, {name}", model, recipes, _trials(model, name))
            )
            found.append(_case(f"{case}/bits_per_weight", f"Stored bits a weight of {model}, {name}", model, recipes))
    return [*found, _seeds_case()]


def _seeds_case() -> Case:
    """What the choice of calibration text makes on the larger model, beside the spread over evaluated texts."""
    recipe = next(one for one in grid_recipes(3) if one.name == "gptq")
    name = "quantization/smollm2-135m/3-bit-seeds/perplexity"
    title = "Perplexity of smollm2-135m, 3-bit, over calibration texts"
    return _case(name, title, "smollm2-135m", [recipe], SEEDS // 2, _over_seeds)


def _case(
    name: str, title: str, model: str, recipes: list[Recipe], trials: int = 1, measure: "Measure | None" = None
) -> Case:
    metric = name.rpartition("/")[2]
    measure = measure or (_perplexity if metric == "perplexity" else _bits)
    over = "calibration texts" if model == "tiny-target" or measure is _over_seeds else "evaluated texts"
    return Case(
        id=name,
        title=title,
        metric=metric,
        workload=dict(workload_of(model)) | ({"trials_over": over} if trials > 1 else {}),
        implementations=tuple(quality_implementation(one, measure) for one in [None, *recipes]),
        timed=False,
        deterministic=True,
        no_limit="a property of the model and the text, not of the machine",
        devices=("cpu",),
        trials=trials,
    )


def workload_of(model: str) -> Workload:
    """What every case of a model shares."""
    origins = {
        "tiny-target": "trained in bf16, never quantised",
        "smollm2-135m": "dequantised from Q4_1: 4-bit once already",
    }
    return {
        "model": model,
        "weights": origins[model],
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": EVALUATED[model],
        "context_length": context_of(model),
        "calibration_tokens": CALIBRATED,
        "calibration_text": f"windows drawn from the {POOL} tokens after those evaluated",
        "layers": "query, key and value stacked, gate and up stacked, for methods that work row by row",
        "group_size": "64 unless the method has its own",
        "dtype": "float32",
    }


def context_of(model: str) -> int:
    """Tokens of a window."""
    return CONTEXT if model == "tiny-target" else EVALUATED[model] // TEXTS


def _perplexity(model: str, recipe: Recipe | None, trial: int) -> float:
    """The tiny model over the whole text, each trial with another calibration; the larger one over the trial's text."""
    if model == "tiny-target":
        return _over_seeds(model, recipe, trial)
    return math.exp(quality_of(model, recipe, 0)[0][trial])


def _over_seeds(model: str, recipe: Recipe | None, seed: int) -> float:
    """Over all texts, calibrated with that seed."""
    losses = quality_of(model, recipe, seed if recipe and _needs(recipe) else 0)[0]
    return math.exp(sum(losses) / len(losses))


def _bits(model: str, recipe: Recipe | None, _trial: int) -> float:
    return quality_of(model, recipe, 0)[1]


Measure = Callable[[str, Recipe | None, int], float]


def quality_implementation(recipe: Recipe | None, measure: Measure = _perplexity) -> Implementation:
    """A method of a case of this module, by its value in each trial; None: the unquantised baseline."""

    def prepare_step(workload: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on the device
        seeds = cycle(range(SEEDS))
        return lambda: measure(str(workload["model"]), recipe, next(seeds))

    role: Role = "method" if recipe else "baseline"
    name, module = (recipe.name, recipe.module) if recipe else ("float32", None)
    return Implementation(name, role, "simulated", prepare_step, module=module)


def _needs(recipe: Recipe) -> tuple[str, ...]:
    return tuple(getattr(recipe.method, "NEEDS", ()))


@cache
def quality_of(model: str, recipe: Recipe | None, seed: int) -> tuple[tuple[float, ...], float]:
    """-> mean loss over each evaluated text, stored bits a weight.

    Both at once, so that a model is quantised once and need not be kept.
    """
    quantized = _quantized(model, recipe, seed)  # first, so that a model that is not here is told as such
    losses = tuple(mean_loss(quantized, text, context_of(model)) for text in texts_of(model))
    return losses, 32.0 if recipe is None else mean_bits(quantized)


def texts_of(model: str) -> list[Tensor]:
    """What is evaluated: one text of many windows, or TEXTS of one window each. -> (seq,) each"""
    tokens = tokens_of(model)[: EVALUATED[model]]
    return [tokens] if model == "tiny-target" else [*tokens.view(TEXTS, -1)]


def mean_bits(quantized: nn.Module) -> float:
    """Stored bits a weight over all layers that a method went through."""
    layers: list[Any] = [one for one in quantized.modules() if hasattr(one, "quantized")]
    counts = [layer.out_features * layer.in_features for layer in layers]
    bits = [count * layer.quantized.bits_per_weight for count, layer in zip(counts, layers, strict=True)]
    return float(sum(bits) / sum(counts))


def _quantized(model: str, recipe: Recipe | None, seed: int) -> nn.Module:
    if recipe is None:
        return model_of(model)
    stacked = recipe.method in STACKED
    stats = _stats(model, seed, stacked) if _needs(recipe) else None
    return quantize_model(_fused(model) if stacked else model_of(model), recipe.method, recipe.config, stats)


@cache
def _stats(model: str, seed: int, stacked: bool) -> Mapping[str, LayerStats]:
    decoder = _fused(model) if stacked else model_of(model)
    return collect(decoder, dict(find_linears(decoder)), Calibration([*calibration_windows(model, seed)]))


def calibration_windows(model: str, seed: int) -> Tensor:
    """Windows of one seed, none of them from the text that is evaluated. -> (windows, 1, CONTEXT)"""
    pool = tokens_of(model)[EVALUATED[model] :]
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(len(pool) - CONTEXT, (CALIBRATED // CONTEXT,), generator=generator)
    return torch.stack([pool[None, start : start + CONTEXT] for start in starts.tolist()])


@cache
def _fused(model: str) -> Decoder:
    """Layers with the same inputs stacked: a third fewer layers to go through."""
    return fuse(model_of(model))


@cache
def model_of(name: str) -> Decoder:
    """The named model in float32, loaded once. Raises NotInstalledError where SmolLM2's file is not at hand."""
    if name == "tiny-target":
        return tiny.load_target()
    try:
        return smollm2.load_smollm2()
    except FileNotFoundError as error:
        raise NotInstalledError(str(error)) from error


@cache
def tokens_of(model: str) -> Tensor:
    """The text as the model's tokens: those to evaluate, then the pool for calibration. -> (seq,)"""
    count = EVALUATED[model] + POOL
    if model == "tiny-target":
        return tiny.heldout_tokens(count)
    return torch.as_tensor(smollm2.load_smollm2_tokenizer().encode(tiny.heldout_text()))[:count]


def rtn_perplexity(model: str, config: rtn.Config) -> Callable[[], float]:
    """The perplexity that a grid leaves, as the quality beside a speed; computed when called, once."""
    return partial(_over_seeds, model, Recipe("rtn", rtn, config), 0)

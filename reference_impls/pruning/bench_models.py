"""What the cases of pruning and low rank share: models, text, calibration by seed, and perplexities kept for reuse.

Two models: the trained tiny target, and SmolLM2-135M where it is installed, whose weights were 4-bit once already.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Role, Step, Value, Workload
from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_perplexity
from reference_impls.pruning.apply import prune_weight
from reference_impls.quantization import LayerStats
from reference_impls.quantization.apply import find_linears
from reference_impls.quantization.calibration import Calibration, collect

CONTEXT = 256
EVALUATED = {"tiny-target": 2048, "smollm2-135m": 1024}
CALIBRATED = {"tiny-target": 4096, "smollm2-135m": 2048}
SEEDS = 6
"""Draws of the calibration text where a method reads any: as many as an interval of their median needs."""
PROPERTY = "a property of the model and the text, not of the machine"
Effect = Literal["simulated", "packed", "kernel"]


def workload(model: str, **more: Value) -> dict[str, Value]:
    """What every case on a whole model states."""
    origin = "trained in bf16, never pruned" if model == "tiny-target" else "dequantised from Q4_1: 4-bit once already"
    return {
        "model": model,
        "weights": origin,
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": EVALUATED[model],
        "context_length": CONTEXT,
        "calibration_tokens": CALIBRATED[model],
        "calibration_text": "windows of the same text behind the tokens evaluated, drawn anew for each sample",
        "dtype": "float32",
        **more,
    }


@cache
def load_model(name: str) -> Decoder:
    """Kept for the whole run; never changed."""
    model = tiny.load_target() if name == "tiny-target" else smollm2.load_smollm2()
    return model.eval().requires_grad_(False)


@cache
def tokens_of(name: str) -> Tensor:
    """The held-out text. -> (seq,)"""
    if name == "tiny-target":
        return tiny.heldout_tokens()
    return torch.as_tensor(smollm2.load_smollm2_tokenizer().encode(tiny.heldout_text()))


def calibration_of(name: str, seed: int, sample_rows: int = 256) -> Calibration:
    """Windows of CONTEXT tokens from behind the evaluated ones, drawn without overlap."""
    windows = tokens_of(name)[EVALUATED[name] :].unfold(0, CONTEXT, CONTEXT)
    chosen = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    return Calibration([*windows[chosen[: CALIBRATED[name] // CONTEXT], None]], sample_rows=sample_rows)


@lru_cache(maxsize=SEEDS)
def stats_of(name: str, seed: int) -> dict[str, LayerStats]:
    """Statistics of every linear layer of the dense model; what is read together is summed up once."""
    model = load_model(name)
    calibration = replace(calibration_of(name, seed), forward=_without_head)
    layers = find_linears(model)
    found = collect(model, {one: layer for one, layer in layers.items() if one == _reader(one)}, calibration)
    return {one: found[_reader(one)] for one in layers}


def _without_head(model: Any, tokens: Tensor) -> Tensor:
    """The head reads no calibration text. tokens: (batch, seq) -> (batch, seq, hidden)"""
    states: Tensor = model.hidden_states(tokens)
    return states


def _reader(layer: str) -> str:
    """The layer that stands for all that read the same input: queries for keys and values, the gate for `up`."""
    block, _, part = layer.rpartition(".")
    return f"{block}.{ {'key': 'query', 'value': 'query', 'up': 'gate'}.get(part, part) }"


def pruned(name: str, method: Any, config: Any, seed: int) -> Decoder:
    """The model with every linear layer pruned, all on statistics of the dense one."""
    model = deepcopy(load_model(name))
    layers = find_linears(model)
    if hasattr(method, "fit"):
        config = method.fit([layer.weight for layer in layers.values()], config)
    stats = stats_of(name, seed) if hasattr(method, "NEEDS") else {}
    for layer_name, layer in layers.items():
        layer.weight.data = prune_weight(layer.weight.detach(), method, config, stats.get(layer_name))
    return model


def perplexity(name: str, model: Any) -> float:
    """On the tokens that are evaluated."""
    return token_perplexity(model, tokens_of(name)[: EVALUATED[name]], CONTEXT)


@cache
def dense_perplexity(name: str) -> float:
    """Of the model as it is."""
    return perplexity(name, load_model(name))


def by_seed(measure: Callable[[str, int], float]) -> Callable[[Workload, str], Step]:
    """A case's prepare whose step returns measure(model, 0), then (model, 1) and so on: one seed a sample."""

    def prepare(workload: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on the device
        seeds, model = count(), str(workload["model"])
        if model in EVALUATED:  # where it is missing, that is said before anything is measured
            load_model(model)
        return lambda: measure(model, next(seeds))

    return prepare


@dataclass(frozen=True)
class Way:
    """One contestant of a case of values: its name, what it measures, and the module it exercises."""

    name: str
    measure: Callable[[str, int], float]
    module: str | None = None
    role: Role = "method"
    effect: Effect = "simulated"


def value_case(
    name: str, title: str, metric: str, ways: Sequence[Way], work: Workload, trials: int = 1, why: str = PROPERTY
) -> Case:
    """A case whose samples are values, one for each calibration seed."""
    return Case(
        id=name,
        title=title,
        metric=metric,
        workload=work,
        implementations=tuple(
            Implementation(way.name, way.role, way.effect, by_seed(way.measure), module=way.module) for way in ways
        ),
        timed=False,
        deterministic=True,
        no_limit=why,
        devices=("cpu",),
        trials=trials,
    )


def dense_way() -> Way:
    """The baseline of every perplexity."""
    return Way("dense", lambda model, _seed: dense_perplexity(model), role="baseline")

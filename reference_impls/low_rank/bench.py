"""The cases of this family: perplexity against the share of parameters kept, and the bytes of the factors."""

from functools import partial
from typing import Any

from reference_impls.low_rank import activation_aware_svd, svd
from reference_impls.low_rank.apply import factorize_model
from reference_impls.measurement.case import Case
from reference_impls.pruning.bench import MODELS
from reference_impls.pruning.bench_models import (
    SEEDS,
    Way,
    calibration_of,
    dense_way,
    load_model,
    perplexity,
    value_case,
    workload,
)
from reference_impls.quantization.apply import weight_bytes

METHODS: dict[str, tuple[Any, Any]] = {
    "svd": (svd, svd.Config),
    "whitened-svd": (activation_aware_svd, activation_aware_svd.Config),
    "scaled-svd": (activation_aware_svd, partial(activation_aware_svd.Config, weighting="diagonal")),
}


def cases() -> list[Case]:
    """Every case of the family."""
    shares = {"tiny-target": (90, 80, 60, 40), "smollm2-135m": (80, 60)}
    return [case for model in MODELS for percent in shares[model] for case in _rank_cases(model, percent)]


def _rank_cases(model: str, percent: int) -> list[Case]:
    small = model == "tiny-target"
    ways = [
        Way(name, partial(_perplexity, name, percent), method.__name__.rpartition(".")[2], effect="kernel")
        for name, (method, _) in METHODS.items()
        if small or name != "scaled-svd"
    ]
    size = [
        Way("dense", lambda name, _seed: float(weight_bytes(load_model(name))), role="baseline"),
        Way("factors", partial(_bytes, percent), "svd", effect="kernel"),
    ]
    work = workload(model, kept=percent / 100)
    name, title = f"low_rank/{model}/kept-{percent}", f"{model}, {percent} % of the parameters of each layer kept"
    found = [
        value_case(
            f"{name}/perplexity",
            f"Perplexity of {title}",
            "perplexity",
            [dense_way(), *ways],
            work,
            SEEDS if small else 1,
        )
    ]
    if small:
        found.append(value_case(f"{name}/weight_bytes", f"Bytes of {title}", "weight_bytes", size, work))
    return found


def _perplexity(name: str, percent: int, model: str, seed: int) -> float:
    method, make = METHODS[name]
    calibration = calibration_of(model, seed)
    return perplexity(model, factorize_model(load_model(model), method, make(percent / 100), calibration))


def _bytes(percent: int, model: str, _seed: int) -> float:
    return float(weight_bytes(factorize_model(load_model(model), svd, svd.Config(percent / 100))))

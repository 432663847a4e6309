"""The files of one model that cold starts are compared on, and whole lives of processes that serve them.

A trial runs every way once, in an order drawn anew, so that whatever disturbs the machine disturbs all. Files are
dropped from the page cache before each start. A way is named after the method that made its file smaller, where one
did: by that name the pages of the methods find it.
"""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.measurement.case import NotInstalledError, Role
from reference_impls.models import smollm2
from reference_impls.serverless import Config, artifact, prefix_snapshot
from reference_impls.serverless.fork_server import ForkServer
from reference_impls.serverless.runner import Function, Life, StartFailedError, one_life

HANDLER = "reference_impls.serverless.handlers:"
TRIALS = {"tiny-target": 6, "smollm2-135m": 4}
"""Lives of each way; those of the larger model take seconds each."""
PROMPT, NEW = 32, 2
PREFIX = 256
MEMORY_MB = 8192
"""Address space, not the size of the function: files are mapped into it whole."""


@dataclass(frozen=True)
class Way:
    """One contestant. source: how the model was made smaller before it was written."""

    variant: str = "bfloat16"
    format: str = "safetensors"
    expand: bool = False
    source: str = "dense"
    handler: str = "Generate"
    forked: bool = False
    role: Role = "method"
    module: str | None = "artifact"

    @property
    def is_packed(self) -> bool:
        """Whether layers are stored in another form than they compute in."""
        return self.variant in artifact.CODES or self.source == "semi-structured"


SHARED = {
    "mapped-bfloat16": Way(role="baseline", module=None),
    "mapped-float32": Way("float32"),
    "pickle-float32": Way("float32", "pickle", role="peer", module=None),
    "rtn-int8": Way("int8", handler="GeneratePacked"),
    "rtn-int4": Way("int4", handler="GeneratePacked"),
    "rtn-int4-expanded": Way("int4", expand=True, handler="GeneratePacked"),
    "magnitude-zeros": Way(source="magnitude"),
    "semi-structured-packed": Way(source="semi-structured", handler="GenerateSparse"),
    "layers-fewer": Way(source="layers"),
    "svd-half": Way(source="svd", handler="GenerateLowRank"),
}
WAYS: dict[str, dict[str, Way]] = {
    "tiny-target": {
        **SHARED,
        "forked-int4": Way("int4", handler="GeneratePacked", forked=True, module="fork_server"),
        "eager-imports": Way(handler="EagerGenerate", role="peer", module=None),
    },
    "smollm2-135m": {
        **SHARED,
        "nf4-packed": Way("nf4", handler="GeneratePacked"),
        "gguf-expanded": Way(format="gguf", handler="GenerateGguf", role="peer", module=None),
    },
}


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files are; gone with the process."""
    return tempfile.TemporaryDirectory(prefix="serverless-")


@cache
def source(model: str, how: str) -> Any:
    """The model, or a smaller one: without the fifth of its blocks that change their input least, with half of each
    layer's weights 0, with two of each four, or with factors of half the parameters.
    """
    from reference_impls.low_rank import svd
    from reference_impls.low_rank.apply import factorize_model
    from reference_impls.pruning import layers, magnitude, semi_structured
    from reference_impls.pruning.apply import prune_model
    from reference_impls.pruning.bench_models import calibration_of, load_model

    require(model)
    dense = load_model(model)
    if how == "layers":
        return layers.shrink(dense, layers.Config(max(1, dense.config.layers // 5)), calibration_of(model, 0))
    if how == "magnitude":
        return prune_model(dense, "magnitude", magnitude.Config(sparsity=0.5))
    if how == "semi-structured":
        return prune_model(dense, "semi_structured", semi_structured.Config(), effect="packed")
    return factorize_model(dense, "svd", svd.Config(kept=0.5)) if how == "svd" else dense


def require(model: str) -> None:
    """Say how to get the model where it is not here."""
    if model == "smollm2-135m" and smollm2.smollm2_path() is None:
        raise NotInstalledError(smollm2.HOW_TO_GET_IT)


@cache
def built(model: str, variant: str, kind: str, how: str = "dense") -> tuple[str, int]:
    """-> path and bytes of a file, written once; a GGUF file is the one that the model came in."""
    if kind == "gguf":
        require(model)
        given = smollm2.checked_path()
        return str(given), given.stat().st_size
    path = Path(folder().name) / f"{model}-{how}-{variant}.{kind}"
    return str(path), artifact.write(source(model, how), path, artifact.Config(variant, kind))


def bytes_of(model: str, way: Way) -> int:
    """Of the way's file."""
    return built(model, way.variant, way.format, way.source)[1]


@cache
def prompt(model: str, length: int) -> tuple[int, ...]:
    """Tokens of the held-out text."""
    from reference_impls.pruning.bench_models import tokens_of

    return tuple(tokens_of(model)[:length].tolist())


def function_of(model: str, way: Way, **options: Any) -> Function:
    """What is deployed."""
    path, _ = built(model, way.variant, way.format, way.source)
    how = {"variant": way.variant, "format": way.format, "expand": way.expand, **options}
    return Function(HANDLER + way.handler, path, how, Config(memory_mb=MEMORY_MB, timeout_s=120, format=way.format))


def _live(function: Function, event: dict[str, Any], forked: bool) -> Life | StartFailedError:
    """A way that fails is kept as its error, so that the others of its round are still measured."""
    if function.model:
        artifact.drop_from_page_cache(function.model)
    try:
        if not forked:
            return one_life(function, event)
        with ForkServer(function.handler) as server:  # it was there before the request: its own start does not count
            return one_life(function, event, server.launch)
    except StartFailedError as error:
        return error


def life_of(found: Life | StartFailedError) -> Life:
    """The life, where it was lived."""
    if isinstance(found, StartFailedError):
        raise found
    return found


@cache
def trial(model: str, number: int) -> dict[str, Life | StartFailedError]:
    """Every way once."""
    names = list(WAYS[model])
    event = {"tokens": [*prompt(model, PROMPT)], "new_tokens": NEW}
    functions = {name: function_of(model, WAYS[model][name]) for name in names}
    order = np.random.default_rng(number).permutation(names)
    return {name: _live(functions[name], event, WAYS[model][name].forked) for name in order.tolist()}


@cache
def prefix_trial(model: str, number: int) -> dict[str, Life | StartFailedError]:
    """The same long prompt, computed and from a snapshot."""
    from reference_impls.serverless.artifact import load

    way = Way("bfloat16")
    path, _ = built(model, way.variant, way.format)
    snapshot = Path(folder().name) / f"{model}-prefix"
    if not snapshot.exists():
        import torch

        prefix_snapshot.write(load(path), torch.tensor(prompt(model, PREFIX)), snapshot)
    event = {"tokens": [*prompt(model, PREFIX + PROMPT)], "new_tokens": 1}
    functions = {
        "computed-prefix": function_of(model, way),
        "mapped-snapshot": function_of(model, way, snapshot=str(snapshot)),
    }
    order = np.random.default_rng(number).permutation(list(functions))
    return {name: _live(functions[name], event, forked=False) for name in order.tolist()}


@cache
def quality_of(model: str, way: Way) -> float:
    """Perplexity of the file's model."""
    from reference_impls.pruning.bench_models import perplexity

    path, _ = built(model, way.variant, way.format, way.source)
    return perplexity(model, artifact.load(path, artifact.Config(way.variant, way.format, way.is_packed)).float())

"""The files of one model that cold starts are compared on, and whole lives of processes that serve them.

Two ways to begin: a new interpreter, whose imports outlast everything else; and a fork of a process that has imported
all of it, where what the weights cost is seen. A trial runs every way once, in an order drawn anew, so that whatever
disturbs the machine disturbs all. Files are dropped from the page cache before each start. A way is named after the
method that made its file smaller, where one did: by that name the pages of the methods find it.
"""

import atexit
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reference_impls.measurement.case import NotInstalledError, Role
from reference_impls.models import smollm2
from reference_impls.serverless import Config, artifact, prefix_snapshot
from reference_impls.serverless.fork_server import ForkServer
from reference_impls.serverless.runner import Function, Life, StartFailedError, one_life

Start = Literal["cold", "forked"]
HANDLER = "reference_impls.serverless.handlers:"
TRIALS: dict[Start, dict[str, int]] = {
    "cold": {"tiny-target": 5, "smollm2-135m": 3},
    "forked": {"tiny-target": 10, "smollm2-135m": 6},
}
"""Lives of each way."""
PROMPT, NEW = 32, 5
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
    start: Start = "forked"
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
    "layers-fewer": Way(source="layers"),
    "svd-four-fifths": Way(source="svd", handler="GenerateLowRank"),
}
SMALL = {
    "nf4-packed": Way("nf4", handler="GeneratePacked"),
    "semi-structured-packed": Way(source="semi-structured", handler="GenerateSparse"),
}
WHOLE = {
    "mapped-bfloat16": Way(start="cold", role="baseline", module=None),
    "pickle-float32": Way("float32", "pickle", start="cold", role="peer", module=None),
    "mapped-int4": Way("int4", handler="GeneratePacked", start="cold"),
    "forked-int4": Way("int4", handler="GeneratePacked", module="fork_server"),
}
EAGER = Way(handler="EagerGenerate", start="cold", role="peer", module=None)
GGUF = Way(format="gguf", handler="GenerateGguf", role="peer", module=None)
WAYS: dict[Start, dict[str, dict[str, Way]]] = {
    "cold": {"tiny-target": {**WHOLE, "eager-imports": EAGER}, "smollm2-135m": WHOLE},
    "forked": {"tiny-target": {**SHARED, **SMALL}, "smollm2-135m": {**SHARED, "gguf-expanded": GGUF}},
}
"""How it begins -> model -> its ways."""


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files are; gone with the process."""
    return tempfile.TemporaryDirectory(prefix="serverless-")


@cache
def source(model: str, how: str) -> Any:
    """The model, or a smaller one: without the fifth of its blocks that change their input least, with half of each
    layer's weights 0, with two of each four, or with factors of four fifths of the parameters.
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
    return factorize_model(dense, "svd", svd.Config(kept=0.8)) if how == "svd" else dense


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


@cache
def zygote() -> ForkServer:
    """It was there before any request: its own start does not count."""
    server = ForkServer(HANDLER + "GenerateAny")
    atexit.register(server.__exit__, None, None, None)
    return server


def _live(function: Function, event: dict[str, Any], start: Start) -> Life | StartFailedError:
    """A way that fails is kept as its error, so that the others of its round are still measured."""
    if function.model:
        artifact.drop_from_page_cache(function.model)
    try:
        return one_life(function, event, zygote().launch if start == "forked" else None)
    except StartFailedError as error:
        return error


def life_of(found: Life | StartFailedError) -> Life:
    """The life, where it was lived."""
    if isinstance(found, StartFailedError):
        raise found
    return found


@cache
def trial(start: Start, model: str, number: int) -> dict[str, Life | StartFailedError]:
    """Every way once."""
    ways = WAYS[start][model]
    event = {"tokens": [*prompt(model, PROMPT)], "new_tokens": NEW}
    functions = {name: function_of(model, way) for name, way in ways.items()}
    order = np.random.default_rng(number).permutation(list(ways))
    return {name: _live(functions[name], event, ways[name].start) for name in order.tolist()}


@cache
def prefix_trial(model: str, number: int) -> dict[str, Life | StartFailedError]:
    """The same long prompt, computed and from a snapshot."""
    from reference_impls.serverless.artifact import load

    way = Way()
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
    return {name: _live(functions[name], event, "forked") for name in order.tolist()}


def quality_of(model: str, way: Way) -> float:
    """Perplexity of the file's model."""
    return _perplexity(model, way.variant, way.source)


@cache
def _perplexity(model: str, variant: str, how: str) -> float:
    """Once for all ways whose weights are the same, whatever the file's format."""
    from reference_impls.pruning.bench_models import perplexity

    path, _ = built(model, variant, "safetensors", how)
    return perplexity(model, artifact.load(path, artifact.Config(variant, expand=True)).float())

"""Cold starts of one model in several files, each a whole life of a process: the phases of one run, as several cases.

A trial runs every way once, in an order drawn anew, so that whatever disturbs the machine disturbs all. Files are
dropped from the page cache before each start.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from reference_impls.measurement.case import (
    Case,
    Ceilings,
    Implementation,
    Limit,
    NotInstalledError,
    Quality,
    Role,
    Step,
    Workload,
)
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

    variant: str = "float32"
    format: str = "safetensors"
    expand: bool = False
    source: str = "dense"
    handler: str = "Generate"
    forked: bool = False
    role: Role = "method"
    module: str | None = "artifact"


SHARED = {
    "pickle-float32": Way(format="pickle", role="baseline", module=None),
    "mapped-float32": Way(),
    "mapped-int4": Way("int4"),
    "mapped-int4-expanded": Way("int4", expand=True),
}
WAYS: dict[str, dict[str, Way]] = {
    "tiny-target": {
        **SHARED,
        "forked-int4": Way("int4", forked=True, module="fork_server"),
        "eager-imports": Way(handler="EagerGenerate", role="peer", module=None),
    },
    "smollm2-135m": {
        **SHARED,
        "mapped-bfloat16": Way("bfloat16"),
        "mapped-int8": Way("int8"),
        "mapped-nf4": Way("nf4"),
        "fewer-layers": Way("bfloat16", source="fewer-layers"),
    },
}
PHASES = {
    "process": "process_s",
    "imports": "imports_s",
    "load": "load_s",
    "first": "first_s",
    "teardown": "teardown_s",
}


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files are; gone with the process."""
    return tempfile.TemporaryDirectory(prefix="serverless-")


@cache
def source(model: str, how: str) -> Any:
    """The model, or the model without a fifth of its blocks, those that change their input least."""
    from reference_impls.pruning import layers
    from reference_impls.pruning.bench_models import calibration_of, load_model

    if model == "smollm2-135m" and smollm2.smollm2_path() is None:
        raise NotInstalledError(smollm2.HOW_TO_GET_IT)
    dense = load_model(model)
    removed = max(1, dense.config.layers // 5)
    return dense if how == "dense" else layers.shrink(dense, layers.Config(removed), calibration_of(model, 0))


@cache
def built(model: str, variant: str, kind: str, how: str = "dense") -> tuple[str, int]:
    """-> path and bytes of a file, written once."""
    path = Path(folder().name) / f"{model}-{how}-{variant}.{kind}"
    return str(path), artifact.write(source(model, how), path, artifact.Config(variant, kind))


@cache
def prompt(model: str, length: int) -> tuple[int, ...]:
    """Tokens of the held-out text."""
    from reference_impls.pruning.bench_models import tokens_of

    return tuple(tokens_of(model)[:length].tolist())


def function_of(model: str, way: Way, **options: Any) -> Function:
    """What is deployed."""
    path, _ = built(model, way.variant, way.format, way.source)
    how = {"variant": way.variant, "format": way.format, "expand": way.expand, **options}
    handler = "GeneratePacked" if way.variant in artifact.CODES else way.handler
    return Function(HANDLER + handler, path, how, Config(memory_mb=MEMORY_MB, timeout_s=120, format=way.format))


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
    expand = way.variant in artifact.CODES
    return perplexity(model, artifact.load(path, artifact.Config(way.variant, way.format, expand)).float())


def cases() -> list[Case]:
    """Both models, and the prefix of the larger one."""
    return [case for model in WAYS for case in _model_cases(model)] + [_prefix_case("smollm2-135m")]


def _workload(model: str, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "prompt_tokens": PROMPT,
        "new_tokens": NEW,
        "batch": 1,
        "file": "dropped from the page cache before each start",
        "start": "a new process on this machine, no container",
        "expanded_or_not": "codes stay packed unless the name says expanded",
        **more,
    }


def _case(model: str, name: str, metric: str, title: str, read: Callable[[Life], float], **more: Any) -> Case:
    ways = WAYS[model]
    is_whole = metric in ("cold_start_latency", "tpot")
    limited = metric == "cold_start_latency"
    return Case(
        id=f"serverless/{name}",
        title=title,
        metric=metric,
        workload=_workload(model, **more),
        implementations=tuple(
            Implementation(
                one,
                way.role,
                "packed" if way.variant in artifact.CODES else "kernel",
                partial(_prepare, one, read),
                quality=partial(_quality, way) if is_whole else None,
                limit=partial(_limit, way) if limited else None,
                module=way.module,
            )
            for one, way in ways.items()
        ),
        timed=False,
        trials=TRIALS[model],
        lossy=is_whole,
        no_limit="" if limited else "a part of the whole, whose limit stands with the latency",
        devices=("cpu",),
    )


def _prepare(name: str, read: Callable[[Life], float], work: Workload, _device: str) -> Step:
    numbers, model = count(), str(work["model"])
    return lambda: read(life_of(trial(model, next(numbers))[name]))


def _quality(way: Way, work: Workload, _device: str) -> Quality:
    return Quality("perplexity", quality_of(str(work["model"]), way))


def _limit(way: Way, work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = ceilings.disk_read_bytes_per_s or ceilings.copy_bytes_per_s
    if not rate:
        return None
    _, size = built(str(work["model"]), way.variant, way.format, way.source)
    words = "disk" if ceilings.disk_read_bytes_per_s else "copy"
    return Limit(size / rate, f"{size / 1e6:.1f} MB of weights / {words} bandwidth")


def _model_cases(model: str) -> list[Case]:
    found = [
        _case(
            model,
            f"cold/{model}/cold_start_latency",
            "cold_start_latency",
            f"Cold start of {model}: from nothing to the first token",
            lambda life: life.phases.cold_start_s,
        ),
        _case(
            model,
            f"cold/{model}/tpot",
            "tpot",
            f"Later tokens of {model}, once it is warm",
            lambda life: life.phases.later_s / (NEW - 1),
        ),
    ]
    for phase, field in PHASES.items():
        title = f"Cold start of {model}: {phase}"
        read = partial(_phase, field)
        found.append(_case(model, f"cold/{model}/{phase}/phase_time", "phase_time", title, read, phase=phase))
    return [*found, _size_case(model)]


def _phase(field: str, life: Life) -> float:
    return float(getattr(life.phases, field))


def _size_case(model: str) -> Case:
    def prepare(way: Way, _work: Workload, _device: str) -> Step:
        return lambda: float(built(model, way.variant, way.format, way.source)[1])

    return Case(
        id=f"serverless/cold/{model}/weight_bytes",
        title=f"Bytes that a cold start of {model} loads",
        metric="weight_bytes",
        workload=_workload(model),
        implementations=tuple(
            Implementation(
                name,
                way.role,
                "packed" if way.variant in artifact.CODES else "kernel",
                partial(prepare, way),
                module=way.module,
            )
            for name, way in WAYS[model].items()
        ),
        timed=False,
        no_limit="a property of the file",
        devices=("cpu",),
    )


def _prefix_case(model: str) -> Case:
    def prepare(name: str, _work: Workload, _device: str) -> Step:
        numbers = count()
        return lambda: life_of(prefix_trial(model, next(numbers))[name]).phases.cold_start_s

    ways: tuple[tuple[str, Role, str | None], ...] = (
        ("computed-prefix", "baseline", None),
        ("mapped-snapshot", "method", "prefix_snapshot"),
    )
    return Case(
        id=f"serverless/prefix/{model}/cold_start_latency",
        title=f"Cold start of {model} with a prefix of {PREFIX} tokens: computed, or mapped from a file",
        metric="cold_start_latency",
        workload=_workload(model, prefix_tokens=PREFIX, prompt_tokens=PREFIX + PROMPT, new_tokens=1),
        implementations=tuple(
            Implementation(name, role, "kernel", partial(prepare, name), module=module) for name, role, module in ways
        ),
        timed=False,
        trials=TRIALS[model],
        no_limit="the bytes of the weights, which both load, stand with the cold start",
        devices=("cpu",),
    )

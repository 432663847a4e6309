"""Cold starts on a GPU: weights from the host to the device, the context, the first token.

Weights are random, of the shape of Llama 3 8B with a quarter of its layers: bytes and their way are what is measured.
"""

import tempfile
from dataclasses import replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.serverless import Config, artifact
from reference_impls.serverless.runner import Function, Life, one_life

SHAPE, LAYERS = "llama-3-8b", 8
TRIALS = 6
VARIANTS: dict[str, Role] = {
    "bfloat16": "baseline",
    "fp8": "method",
    "int8": "method",
    "int4": "method",
    "nf4": "method",
}
PHASES = {"imports": "imports_s", "load": "load_s", "first": "first_s"}
CONTEXT = "context-alone"


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files are."""
    return tempfile.TemporaryDirectory(prefix="serverless-gpu-")


@cache
def built(variant: str) -> tuple[str, int]:
    """-> path and bytes of a file, written once."""
    from reference_impls.models.shapes import SHAPES, random_model

    path = Path(folder().name) / variant
    generator = torch.Generator("cuda").manual_seed(0)
    model = random_model(replace(SHAPES[SHAPE], layers=LAYERS), generator, torch.bfloat16).requires_grad_(False)
    return str(path), artifact.write(model, path, artifact.Config(variant))


def _step(variant: str, _work: Workload, device: str) -> Step:
    """Load from the page cache to the device."""
    path, _ = built(variant)

    def step() -> None:
        artifact.load(path, artifact.Config(variant), device)

    return step


def _limit(variant: str, _work: Workload, ceilings: Ceilings) -> Limit | None:
    if not ceilings.host_to_device_bytes_per_s:
        return None
    size = built(variant)[1]
    return Limit(size / ceilings.host_to_device_bytes_per_s, f"{size / 1e9:.2f} GB of weights / link to the device")


@cache
def trial(number: int) -> dict[str, Life]:
    """A process for each variant and one that makes the context alone, in an order drawn anew."""
    config = Config(timeout_s=300)
    functions = {CONTEXT: Function(_handler("bench_handlers:DeviceContext"), None, {"device": "cuda"}, config, False)}
    for variant in VARIANTS:
        options: dict[str, Any] = {"device": "cuda", "variant": variant}
        functions[variant] = Function(_handler("handlers:GeneratePacked"), built(variant)[0], options, config, False)
    event = {"tokens": [*range(1, 33)], "new_tokens": 4}
    order = np.random.default_rng(number).permutation(list(functions))
    return {name: one_life(functions[name], event) for name in order.tolist()}


def _handler(name: str) -> str:
    return f"reference_impls.serverless.{name}"


def cases() -> list[Case]:
    """Loading alone, timed; and whole lives by phase."""
    work = {"model": f"{SHAPE}, {LAYERS} layers, random", "file": "in the page cache"}
    load = Case(
        id="serverless/gpu/load/phase_time",
        title="Weights from a mapped file to the device",
        metric="phase_time",
        workload={**work, "phase": "load"},
        implementations=tuple(
            Implementation(
                variant, role, "packed", partial(_step, variant), limit=partial(_limit, variant), module=_module(role)
            )
            for variant, role in VARIANTS.items()
        ),
        timed=True,
        devices=("cuda",),
    )
    return [load, _life_case(work, "whole"), *(_life_case(work, phase) for phase in PHASES)]


def _module(role: Role) -> str | None:
    return "artifact" if role == "method" else None


def _life_case(work: dict[str, str], phase: str) -> Case:
    is_whole = phase == "whole"

    def prepare(name: str, _work: Workload, _device: str) -> Step:
        numbers = count()

        def step() -> float:
            phases = trial(next(numbers))[name].phases
            return phases.cold_start_s if is_whole else float(getattr(phases, PHASES[phase]))

        return step

    roles: dict[str, Role] = {**VARIANTS, CONTEXT: "peer"}
    metric = "cold_start_latency" if is_whole else "phase_time"
    return Case(
        id=f"serverless/gpu/cold/{phase}/{metric}",
        title=f"Cold start on a GPU: {'from nothing to the first token' if is_whole else phase}",
        metric=metric,
        workload=work if is_whole else {**work, "phase": phase},
        implementations=tuple(
            Implementation(
                name,
                role,
                "packed",
                partial(prepare, name),
                limit=partial(_limit, name) if is_whole and name != CONTEXT else None,
                module=_module(role),
            )
            for name, role in roles.items()
        ),
        timed=False,
        trials=TRIALS,
        no_limit="" if is_whole else "a part of the whole",
        devices=("cuda",),
    )

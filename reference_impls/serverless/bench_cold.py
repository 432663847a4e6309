"""Cold starts of one model in several files, each a whole life of a process: the phases of one run, as several cases.

Which compression makes a cold start shorter, and which the later tokens alone, is read from the first two cases of a
model: every way against the same weights in bfloat16, mapped.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Role, Step, Workload
from reference_impls.serverless.bench_ways import (
    NEW,
    PREFIX,
    PROMPT,
    TRIALS,
    WAYS,
    Way,
    bytes_of,
    life_of,
    prefix_trial,
    quality_of,
    require,
    trial,
)
from reference_impls.serverless.runner import Life

PHASES = {
    "process": "process_s",
    "imports": "imports_s",
    "load": "load_s",
    "first": "first_s",
    "teardown": "teardown_s",
}


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
                "packed" if way.is_packed else "kernel",
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
    require(model)
    return lambda: read(life_of(trial(model, next(numbers))[name]))


def _quality(way: Way, work: Workload, _device: str) -> Quality:
    return Quality("perplexity", quality_of(str(work["model"]), way))


def _limit(way: Way, work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = ceilings.disk_read_bytes_per_s or ceilings.copy_bytes_per_s
    if not rate:
        return None
    size = bytes_of(str(work["model"]), way)
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
    address = partial(_case, model, f"cold/{model}/peak_memory", "peak_memory", f"Address space of {model}, at most")
    found.append(address(lambda life: life.answer.peak_memory_mb * 2**20, counted="as the limit of memory counts it"))
    return [*found, _size_case(model)]


def _phase(field: str, life: Life) -> float:
    return float(getattr(life.phases, field))


def _size_case(model: str) -> Case:
    def prepare(way: Way, _work: Workload, _device: str) -> Step:
        return lambda: float(bytes_of(model, way))

    return Case(
        id=f"serverless/cold/{model}/weight_bytes",
        title=f"Bytes that a cold start of {model} loads",
        metric="weight_bytes",
        workload=_workload(model),
        implementations=tuple(
            Implementation(
                name,
                way.role,
                "packed" if way.is_packed else "kernel",
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
        require(model)
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

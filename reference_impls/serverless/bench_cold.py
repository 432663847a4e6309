"""Cold starts of one model in several files, each a whole life of a process: the phases of one run, as several cases.

Which compression makes a cold start shorter, and which the later tokens alone, is read from two cases of a model, where
every way begins as a fork and is compared with the same weights in bfloat16. What imports make of it, the cases say
that begin with a new interpreter.
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
    Start,
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
    """Both models, begun both ways, and the prefix of the larger one."""
    groups = [(start, model) for start, models in WAYS.items() for model in models]
    return [case for group in groups for case in _group_cases(*group)] + [_prefix_case("smollm2-135m")]


STARTS: dict[Start, str] = {
    "cold": "a new process on this machine, no container",
    "forked": "a fork of a process that has imported everything",
}


def _workload(model: str, start: Start, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "prompt_tokens": PROMPT,
        "new_tokens": NEW,
        "batch": 1,
        "file": "dropped from the page cache before each start",
        "start": STARTS[start],
        "expanded_or_not": "codes stay packed unless the name says expanded",
        **more,
    }


def _case(
    start: Start, model: str, metric: str, title: str, read: Callable[[Life], float], part: str = "", **more: Any
) -> Case:
    ways = WAYS[start][model]
    is_whole = metric in ("cold_start_latency", "tpot")
    limited = metric == "cold_start_latency"
    return Case(
        id=f"serverless/{start}/{model}/{part}{metric}",
        title=title,
        metric=metric,
        workload=_workload(model, start, **more),
        implementations=tuple(
            Implementation(
                one,
                way.role,
                "packed" if way.is_packed else "kernel",
                partial(_prepare, start, one, read),
                quality=partial(_quality, way) if is_whole else None,
                limit=partial(_limit, way) if limited else None,
                module=way.module,
            )
            for one, way in ways.items()
        ),
        timed=False,
        trials=TRIALS[start][model],
        lossy=is_whole,
        no_limit="" if limited else "a part of the whole, whose limit stands with the latency",
        devices=("cpu",),
    )


def _prepare(start: Start, name: str, read: Callable[[Life], float], work: Workload, _device: str) -> Step:
    numbers, model = count(), str(work["model"])
    require(model)
    return lambda: read(life_of(trial(start, model, next(numbers))[name]))


def _quality(way: Way, work: Workload, _device: str) -> Quality:
    return Quality("perplexity", quality_of(str(work["model"]), way))


def _limit(way: Way, work: Workload, ceilings: Ceilings) -> Limit | None:
    rate = ceilings.disk_read_bytes_per_s or ceilings.copy_bytes_per_s
    if not rate:
        return None
    size = bytes_of(str(work["model"]), way)
    words = "disk" if ceilings.disk_read_bytes_per_s else "copy"
    return Limit(size / rate, f"{size / 1e6:.1f} MB of weights / {words} bandwidth")


def _group_cases(start: Start, model: str) -> list[Case]:
    words = {"cold": "from nothing", "forked": "from the fork"}[start]
    case = partial(_case, start, model)
    found = [
        case(
            "cold_start_latency",
            f"Cold start of {model}: {words} to the first token",
            lambda life: life.phases.cold_start_s,
        ),
        case("tpot", f"Later tokens of {model}, once it is warm", lambda life: life.phases.later_s / (NEW - 1)),
    ]
    for phase, field in PHASES.items():
        title = f"Cold start of {model}: {phase}"
        found.append(case("phase_time", title, partial(_phase, field), part=f"{phase}/", phase=phase))
    if start == "cold":
        return found
    peak = case(
        "peak_memory",
        f"Address space of {model}, at most",
        lambda life: life.answer.peak_memory_mb * 2**20,
        counted="as the limit of memory counts it",
    )
    return [*found, peak, _size_case(start, model)]


def _phase(field: str, life: Life) -> float:
    return float(getattr(life.phases, field))


def _size_case(start: Start, model: str) -> Case:
    def prepare(way: Way, _work: Workload, _device: str) -> Step:
        return lambda: float(bytes_of(model, way))

    return Case(
        id=f"serverless/{start}/{model}/weight_bytes",
        title=f"Bytes that a cold start of {model} loads",
        metric="weight_bytes",
        workload=_workload(model, start),
        implementations=tuple(
            Implementation(
                name,
                way.role,
                "packed" if way.is_packed else "kernel",
                partial(prepare, way),
                module=way.module,
            )
            for name, way in WAYS[start][model].items()
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
        workload=_workload(model, "forked", prefix_tokens=PREFIX, prompt_tokens=PREFIX + PROMPT, new_tokens=1),
        implementations=tuple(
            Implementation(name, role, "kernel", partial(prepare, name), module=module) for name, role, module in ways
        ),
        timed=False,
        trials=TRIALS["forked"][model],
        no_limit="the bytes of the weights, which both load, stand with the cold start",
        devices=("cpu",),
    )

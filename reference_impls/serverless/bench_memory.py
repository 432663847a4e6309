"""Memory, latency and cost of one warm function, and what the searches choose from it.

One instance is measured at every size by changing its share of a core, so memory enters through that share alone: the
limit of memory itself is a cliff and no slope, and where it lies is a case of the cold starts. The searches then look
at the latencies that were recorded, so that all of them choose from the same numbers.
"""

from collections.abc import Iterator
from functools import cache, partial
from itertools import cycle

from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload
from reference_impls.measurement.superflow import Config as RuleConfig
from reference_impls.measurement.superflow import Stopper, collect
from reference_impls.serverless import bench_ways, cpu_share
from reference_impls.serverless.bench_ways import Way, function_of, prompt
from reference_impls.serverless.cpu_quota import DutyCycle
from reference_impls.serverless.memory_tuning import SEARCHES, Choice, Config
from reference_impls.serverless.runner import Instance

MODEL = "tiny-target"
SIZES = (256, 320, 384, 448, 512, 640, 768, 896, 1024, 1152, 1280, 1408, 1536, 1664, 1769, 2048, 2560, 3008)
NEW = 8
RULE = RuleConfig(error_bound=0.05, max_n=25)
SLACK = 3.0
"""The target: this many times the median of the largest size."""


@cache
def recorded() -> dict[int, tuple[float, ...]]:
    """Size -> latencies, each measured until the SuperFlow rule stops."""
    event = {"tokens": [*prompt(MODEL, bench_ways.PROMPT)], "new_tokens": NEW}
    found = {}
    with Instance(function_of(MODEL, Way())) as instance, DutyCycle(instance.pid, 1.0) as quota:
        for _ in range(3):
            instance.invoke(event)

        def latencies() -> Iterator[float]:
            while True:
                yield instance.invoke(event).latency_s

        for size in SIZES:
            quota.set(cpu_share(size))
            found[size] = collect(latencies(), Stopper(RULE)).samples
    return found


@cache
def choice(name: str) -> Choice:
    """What a search takes from the recorded latencies."""
    samples = recorded()
    slo = SLACK * sorted(samples[SIZES[-1]])[len(samples[SIZES[-1]]) // 2]
    return SEARCHES[name](lambda size: cycle(samples[size]), SIZES, Config(slo_s=slo, rule=RULE))


def cases() -> list[Case]:
    """The curve, a case for each size; and the searches against the grid."""
    curve = [case for size in SIZES for case in (_curve_case(size, "latency"), _curve_case(size, "invocation_cost"))]
    return curve + [_search_case(metric) for metric in ("memory_size", "invocation_cost", "probes")]


def _work(**more: int) -> dict[str, str | int]:
    words = f"P95 within {SLACK:g} times the median of {SIZES[-1]} MB"
    quota = "a share of one core by stopping and continuing the process"
    return {"model": MODEL, "new_tokens": NEW, "target": words, "quota": quota, **more}


def _curve_case(size: int, metric: str) -> Case:
    def prepare(_work: Workload, _device: str) -> Step:
        if metric == "latency":
            samples = cycle(recorded()[size])
            return lambda: next(samples)
        return lambda: next(probe.cost for probe in choice("grid").probes if probe.memory_mb == size)

    return Case(
        id=f"serverless/memory/{MODEL}/{size:05}-mb/{metric}",
        title=f"A warm request to a function of {size} MB",
        metric=metric,
        workload=_work(memory_mb=size),
        implementations=(Implementation("warm-function", "baseline", "kernel", prepare, module="memory_tuning"),),
        timed=False,
        trials=2 * RULE.interval if metric == "latency" else 1,
        no_limit="the quota sets the pace",
        devices=("cpu",),
    )


def _search_case(metric: str) -> Case:
    def prepare(name: str, _work: Workload, _device: str) -> Step:
        def step() -> float:
            found = choice(name)
            if metric == "probes":
                return float(len(found.probes))
            if found.best is None:
                raise ValueError(found.reason)
            return float(found.best.memory_mb) if metric == "memory_size" else found.best.cost

        return step

    roles: dict[str, Role] = {"grid": "baseline"}
    return Case(
        id=f"serverless/memory/{MODEL}/searches/{metric}",
        title="What each search chooses, against measuring every size",
        metric=metric,
        workload=_work(),
        implementations=tuple(
            Implementation(name, roles.get(name, "method"), "kernel", partial(prepare, name), module="memory_tuning")
            for name in SEARCHES
        ),
        timed=False,
        no_limit="the grid's choice is the best there is",
        devices=("cpu",),
    )

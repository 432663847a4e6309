"""The cases of this family: cold starts, memory sizes, keep-alive policies, leaks; the quick ones are here."""

from functools import cache, partial
from itertools import count

import numpy as np

from reference_impls.measurement.case import Case, Implementation, Role, Step, Value, Workload
from reference_impls.serverless import bench_cold, bench_gpu, bench_memory, bench_ways
from reference_impls.serverless.data_security import canary_test
from reference_impls.serverless.hybrid_histogram import HybridHistogram
from reference_impls.serverless.keep_alive import Arrival, FixedTtl, Outcome, Policy, simulate
from reference_impls.serverless.runner import Function, Instance

HOURS = 8
CALLERS = 24
MEMORY_MB = 512
SEEDS = 6
HANDLERS = "reference_impls.serverless.bench_handlers:"


def cases() -> list[Case]:
    """Every case of the family."""
    return [*bench_cold.cases(), *bench_memory.cases(), *_keep_alive_cases(), _leak_case(), *bench_gpu.cases()]


@cache
def traces(seed: int) -> tuple[tuple[Arrival, ...], ...]:
    """A third of the callers are periodic, a third Poisson, a third come in bursts; gaps of a minute to three hours."""
    rng, horizon = np.random.default_rng(seed), HOURS * 3600
    found = []
    for caller in range(CALLERS):
        gap = float(np.exp(rng.uniform(np.log(60), np.log(10_800))))
        number = int(horizon / gap) + 2
        if caller % 3 == 0:
            times = rng.uniform(0, gap) + gap * np.arange(number)
        elif caller % 3 == 1:
            times = np.cumsum(rng.exponential(gap, number))
        else:  # bursts of five a few seconds apart, with the same mean gap
            times = (np.cumsum(rng.exponential(5 * gap, number // 5 + 1))[:, None] + rng.uniform(0, 20, 5)).ravel()
        kept = times[times < horizon]
        found.append(tuple(Arrival(float(at), 1.0) for at in kept))
    return tuple(found)


def _policies(name: str) -> Policy:
    minutes = {"fixed-1-min": 1, "fixed-10-min": 10, "fixed-60-min": 60, "never-kept": 0}
    return FixedTtl(60.0 * minutes[name]) if name in minutes else HybridHistogram()


@cache
def outcomes(name: str, seed: int) -> tuple[Outcome, ...]:
    """Each caller with a policy of its own."""
    return tuple(simulate(trace, _policies(name), HOURS * 3600.0) for trace in traces(seed))


def _cold_rate(name: str, seed: int) -> float:
    found = outcomes(name, seed)
    return 100 * sum(one.cold_starts for one in found) / sum(len(one.cold) for one in found)


def _idle(name: str, seed: int) -> float:
    return sum(one.idle_gb_seconds(MEMORY_MB) for one in outcomes(name, seed))


def _keep_alive_cases() -> list[Case]:
    work: dict[str, Value] = {
        "trace": f"{CALLERS} callers for {HOURS} h: periodic, Poisson and in bursts, drawn anew for each sample",
        "memory_mb": MEMORY_MB,
        "model": "any",
    }
    ways: list[tuple[str, Role, str | None]] = [
        ("fixed-10-min", "baseline", "keep_alive"),
        ("never-kept", "peer", None),
        ("fixed-1-min", "peer", None),
        ("fixed-60-min", "peer", None),
        ("hybrid-histogram", "method", "hybrid_histogram"),
    ]

    def prepare(name: str, measure: partial[float], _work: Workload, _device: str) -> Step:
        seeds = count()
        return lambda: measure(name, next(seeds))

    return [
        Case(
            id=f"serverless/keep-alive/{metric}",
            title=f"Keep-alive policies on one trace: {words}",
            metric=metric,
            workload=work,
            implementations=tuple(
                Implementation(name, role, "simulated", partial(prepare, name, partial(measure)), module=module)
                for name, role, module in ways
            ),
            timed=False,
            trials=SEEDS,
            no_limit="a trade between two quantities: either can be 0 alone",
            devices=("cpu",),
        )
        for metric, measure, words in (
            ("cold_start_rate", _cold_rate, "invocations that start cold"),
            ("idle_memory", _idle, "memory that waits"),
        )
    ]


def _leak_case() -> Case:
    def prepare(handler: str, _work: Workload, _device: str) -> Step:
        def step() -> float:
            path, _ = bench_ways.built("tiny-target", "float32", "safetensors")
            with Instance(Function(HANDLERS + handler, path)) as instance:
                leak = canary_test(lambda text: str(instance.invoke({"text": text}).result), instance.remembers)
            return 100 * max(leak.answers, leak.memory) / leak.rounds

        return step

    ways: tuple[tuple[str, Role, str], ...] = (
        ("planted-global-cache", "baseline", "CachingText"),
        ("generate", "method", "GenerateText"),
    )
    return Case(
        id="serverless/warm-state/leaks_found",
        title="Canaries of one request found in a warm instance after a later one",
        metric="leaks_found",
        workload={"model": "tiny-target", "rounds": 3, "looked_at": "answers, and texts in reach of the handler"},
        implementations=tuple(
            Implementation(name, role, "simulated", partial(prepare, handler), ("tokenizers",), module=_module(role))
            for name, role, handler in ways
        ),
        timed=False,
        no_limit="a property of the program, not of the machine",
        devices=("cpu",),
    )


def _module(role: Role) -> str | None:
    return "data_security" if role == "method" else None

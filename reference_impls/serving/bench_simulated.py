"""Cases of simulated servers: every policy on three traces at five loads, with the assumed costs of `cost.CostModel`.

A trial is a seed: all policies see the same requests, so ratios are paired. One run gives all metrics of its trial.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from typing import Any

from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload
from reference_impls.serving import Limits, Scheduler, fastserve, fcfs, fixed_priority, mlfq, run_to_completion, srpt
from reference_impls.serving.cost import CostModel
from reference_impls.serving.metrics import SUMMARIES, goodput_per_s, latencies
from reference_impls.serving.serve import Record
from reference_impls.serving.simulate import capacity, simulate
from reference_impls.serving.traces import Config as TraceConfig
from reference_impls.serving.traces import generate

REQUESTS, RATED_REQUESTS, MANY = 400, 2000, 10_000
"""Of cases with conditions of their own, of searches for the highest rate, and of those at a given load, which is so
many that beginning and end do not count."""
TRIALS = 6
LOADS = (50, 70, 90, 100, 120)
TRACES = {"conversation": "poisson", "zipf": "poisson", "bimodal": "bursts"}
COST = CostModel()
LIMITS = Limits(batch=16, tokens=2048)
TARGET_S = 0.3
"""Seconds a token, waiting included: about ten decode steps, as in FastServe's evaluation."""

NO_LIMIT = "a simulation: its bound is the oracle's schedule, which is one of the implementations"
METRICS: dict[str, Callable[[Record], float]] = {
    "jct": SUMMARIES["jct"],
    "jct_tail": SUMMARIES["jct_p95"],
    "latency_per_token": SUMMARIES["per_token"],
    "latency_per_token_tail": SUMMARIES["per_token_p95"],
    "ttft": SUMMARIES["ttft"],
    "goodput": partial(goodput_per_s, per_token_s=TARGET_S),
}
SPREAD = {
    f"{name}_{of}": SUMMARIES[f"{summary}_{percentile}"]
    for name, summary in (("jct", "jct"), ("latency_per_token", "per_token"))
    for of, percentile in (("median", "p50"), ("far_tail", "p99"), ("max", "max"))
}
"""The rest of each distribution, for the load at which waiting begins to matter."""
SPREAD_LOAD = 90


@dataclass(frozen=True)
class Contender:
    """A policy under the name that records use, and the limits that it runs with."""

    name: str
    module: str
    make: Callable[[], Scheduler]
    limits: Limits = LIMITS
    role: Role = "method"
    note: str = ""


CONTENDERS = (
    Contender("fcfs", "fcfs", fcfs.Scheduler, role="baseline", note="continuous batching in order of arrival"),
    Contender("fcfs-request-batches", "run_to_completion", run_to_completion.Scheduler),
    Contender("fixed-priority", "fixed_priority", fixed_priority.Scheduler, note="short prompts first"),
    Contender("naive-mlfq", "mlfq", partial(mlfq.Scheduler, mlfq.Config(quantum_s=0.025))),
    Contender(
        "fastserve", "fastserve", partial(fastserve.Scheduler, fastserve.Config(0.025, ageing_s=None)), note="no ageing"
    ),
    Contender(
        "fastserve-ageing-0.3s", "fastserve", partial(fastserve.Scheduler, fastserve.Config(0.025, ageing_s=0.3))
    ),
    Contender("fastserve-ageing-3s", "fastserve", partial(fastserve.Scheduler, fastserve.Config(0.025, ageing_s=3.0))),
    Contender("srpt-oracle", "srpt", srpt.Scheduler, note="knows the length of every answer"),
)


@cache
def requests_of(
    lengths: str, arrivals: str, load: float, seed: int, limits: Limits = LIMITS, count: int = REQUESTS
) -> Any:
    """A trace at a share of what the server can finish at most, in percent."""
    base = TraceConfig(lengths, count, 1.0, arrivals, seed)
    rate = capacity(generate(TraceConfig(lengths, 4000, 1.0, "together", 12345)), COST, limits) * load / 100
    return generate(TraceConfig(base.lengths, base.count, rate, base.arrivals, base.seed))


@cache
def outcome(
    contender: Contender, lengths: str, arrivals: str, load: float, seed: int, requests: int = REQUESTS
) -> Mapping[str, float]:
    """Every metric of one run."""
    trace = requests_of(lengths, arrivals, load, seed, LIMITS, requests)
    record = simulate(trace, contender.make(), COST, contender.limits)
    found = latencies(record)
    values = {name: of(record) for name, of in (METRICS | SPREAD).items()}
    values["preemptions"] = float(found.preemptions.mean())
    values["tpot"] = SUMMARIES["tpot"](record)
    values["queueing_share"] = float(100 * found.ttft.sum() / found.jct.sum())
    values["tbt_tail"] = SUMMARIES["tbt_p99"](record)
    return values


def by_seed(value: Callable[[int], float], _workload: Workload, _device: str) -> Step:
    """Trial after trial, of seeds 0, 1, and on."""
    seeds = count()
    return lambda: value(next(seeds))


def value_case(
    name: str, title: str, metric: str, workload: Workload, ways: list[Implementation], trials: int = TRIALS
) -> Case:
    """A case whose steps return what a simulation gave."""
    return Case(
        id=name,
        title=title,
        metric=metric,
        workload=workload,
        implementations=tuple(ways),
        timed=False,
        deterministic=True,
        no_limit=NO_LIMIT,
        devices=("cpu",),
        trials=trials,
    )


def workload_of(lengths: str, arrivals: str, load: float | None) -> dict[str, Any]:
    """The setting as records show it; every number that the simulation used."""
    shown: dict[str, Any] = {"trace": lengths, "arrivals": arrivals, "requests": REQUESTS}
    if load is not None:
        shown["load_percent"] = load
    costs = f"{COST.a:g} s + {COST.b:g} s/prompt token + {COST.c:g} s/decode + {COST.d:g} s/cached token, assumed"
    return shown | {"batch": LIMITS.batch, "batch_tokens": LIMITS.tokens, "iteration_cost": costs}


def load_cases() -> list[Case]:
    """Latencies of every policy, trace and load."""
    found = []
    for lengths, arrivals in TRACES.items():
        for load in LOADS:
            metrics = [*METRICS, *SPREAD] if load == SPREAD_LOAD else METRICS
            found += [_load_case(lengths, arrivals, load, metric, CONTENDERS) for metric in metrics]
    return found


def _load_case(lengths: str, arrivals: str, load: int, metric: str, contenders: Iterable[Contender]) -> Case:
    ways = [_way(one, lengths, arrivals, load, metric, MANY) for one in contenders]
    work = workload_of(lengths, arrivals, load) | {"requests": MANY}
    title = f"Simulated {lengths} requests at {load} % load"
    return value_case(f"serving/{lengths}/load-{load}/{metric}", title, metric, work, ways)


def _way(
    one: Contender, lengths: str, arrivals: str, load: float, metric: str, requests: int = REQUESTS
) -> Implementation:
    def value(seed: int) -> float:
        return outcome(one, lengths, arrivals, load, seed, requests)[metric]

    return Implementation(one.name, one.role, "simulated", partial(by_seed, value), note=one.note, module=one.module)


def other_cases() -> list[Case]:
    """Preemptions, times of later tokens, the share of waiting; and long prompts, where charging and mixing decide."""
    preempting = [one for one in CONTENDERS if one.role == "baseline" or one.make().preempts]
    found = [_load_case("conversation", "poisson", 100, "queueing_share", CONTENDERS)]
    for lengths, arrivals in TRACES.items():
        found += [_load_case(lengths, arrivals, load, "preemptions", preempting) for load in LOADS]
        found.append(_load_case(lengths, arrivals, 100, "tpot", CONTENDERS))
    for lengths, arrivals in TRACES.items():
        for metric in ("latency_per_token", "jct"):
            ways = [_way(one, lengths, arrivals, 90, metric, MANY) for one in quanta_contenders()]
            shown = workload_of(lengths, arrivals, 90) | {"requests": MANY, "ageing": "none"}
            title = f"Simulated {lengths} requests at 90 % load, by how quanta grow"
            found.append(value_case(f"serving/{lengths}/quanta/{metric}", title, metric, shown, ways))
    work = workload_of("long-prompts", "poisson", 90) | {"ratio": "prompts at least 64 times as long as answers"}
    for metric in ("latency_per_token", "jct"):
        ways = [_way(one, "long-prompts", "poisson", 90, metric) for one in long_prompt_contenders()]
        title = "Simulated long prompts with short answers"
        found.append(value_case(f"serving/long-prompts/load-90/{metric}", title, metric, work, ways))
    return found


def quanta_contenders() -> list[Contender]:
    """The factor from a level's quantum to the next one's, between the baseline and the bound."""
    named = {one.name: one for one in CONTENDERS}
    made = [
        Contender(
            f"fastserve-factor-{factor:g}",
            "fastserve",
            partial(fastserve.Scheduler, fastserve.Config(0.025, factor, ageing_s=None)),
        )
        for factor in (1.5, 2.0, 4.0, 8.0)
    ]
    return [named["fcfs"], *made, named["srpt-oracle"]]


def long_prompt_contenders() -> list[Contender]:
    """The switches on which the sources differ: who pays for a prompt, and whether it shares its iteration."""
    apart = Limits(LIMITS.batch, LIMITS.tokens, mixing="separate")
    feedback = mlfq.Config(quantum_s=0.025)
    base = fastserve.Config(0.025, ageing_s=None)
    skip = {"wall-one": base, "own-one": replace(base, charge="own"), "wall-fit": replace(base, demotion="fit")}
    return [
        CONTENDERS[0],
        Contender("naive-mlfq-mixed", "mlfq", partial(mlfq.Scheduler, feedback)),
        Contender("naive-mlfq-separate", "mlfq", partial(mlfq.Scheduler, feedback), apart),
        *(
            Contender(f"skip-join-mixed-{rules}", "fastserve", partial(fastserve.Scheduler, config))
            for rules, config in skip.items()
        ),
        Contender("skip-join-separate", "fastserve", partial(fastserve.Scheduler, base), apart),
        Contender("fixed-priority", "fixed_priority", fixed_priority.Scheduler),
    ]


def throughput_cases() -> list[Case]:
    """The highest rate at which the mean, or the 95th percentile, of time a token stays within the target.

    The oracle keeps the mean within it at three times what the server can finish: the few that starve weigh little.
    """
    return [
        value_case(
            f"serving/{lengths}/{of}-target/throughput_at_slo",
            f"Simulated {lengths} requests: highest rate with the {of} of time a token within {TARGET_S} s",
            "throughput_at_slo",
            workload_of(lengths, "poisson", None)
            | {"requests": RATED_REQUESTS, "target_s_per_token": TARGET_S, "of": of},
            [
                Implementation(
                    one.name,
                    one.role,
                    "simulated",
                    partial(by_seed, partial(highest_rate, one, lengths, metric)),
                    note=one.note,
                    module=one.module,
                )
                for one in CONTENDERS
                if one.module != "srpt"
            ],
        )
        for lengths in ("conversation", "instructions")
        for of, metric in (("mean", "latency_per_token"), ("tail", "latency_per_token_tail"))
    ]


@cache
def highest_rate(one: Contender, lengths: str, metric: str, seed: int) -> float:
    """Of loads of 1 to 300 %; requests a second. Overload ends with the trace."""

    def met(load: float) -> bool:
        return outcome(one, lengths, "poisson", round(load, 3), seed, RATED_REQUESTS)[metric] <= TARGET_S

    whole = generate(TraceConfig(lengths, 4000, 1.0, "together", 12345))
    return capacity(whole, COST, LIMITS) * highest(met, 1.0, 300.0) / 100


def highest(met: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number for which it holds, to 4 %, by halving the interval of logarithms.

    Raises ValueError where it lies outside: the end of the search would be no finding.
    """
    if met(high) or not met(low):
        raise ValueError(f"what is looked for lies {'above' if met(high) else 'below'} {low:g} to {high:g}")
    while high - low > 0.04 * high:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if met(middle) else (low, middle)
    return low


def cases() -> list[Case]:
    """All of this module."""
    return [*load_cases(), *other_cases(), *throughput_cases()]

"""The cases of sharing: what the guard is worth, what the device's three gauges say, how good the pairs are.

Simulated days of services with made-up profiles (muxflow.py), on the table of the contention model; the table of real
processes is measured in bench_pairs.py, and `muxflow.simulate` takes either.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from reference_impls.cluster import bench_pairs, contention, muxflow, tails, traces
from reference_impls.cluster.muxflow import BestEffort, Outcome
from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload

GPUS, JOBS, TRIALS = 8, 28, 6
SHARES = range(10, 101, 10)
SHARED: dict[str, muxflow.Config] = {
    "alone": muxflow.Config(sharing="alone"),
    "time-slices": muxflow.Config(sharing="time-slices"),
    "uncontrolled": muxflow.Config(sharing="uncontrolled"),
    "half": muxflow.Config(sharing="half"),
    "muxflow": muxflow.Config(),
    "muxflow-random": muxflow.Config(pairing="random"),
    "muxflow-greedy": muxflow.Config(pairing="greedy"),
}
Value = Callable[[str, int], float]
SIMULATED = "simulated; profiles and contention are assumed"


def cases() -> list[Case]:
    """One for each thing that is looked at."""
    worst, usual, half = partial(_growth, 99.0, 100.0), partial(_growth, 99.0, 50.0), partial(_growth, 50.0, 50.0)
    table: list[tuple[str, str, str, Value]] = [
        ("online_slowdown", "p99-worst-hour", "Growth of the services' 99th percentile, worst hour", worst),
        ("offline_throughput", "p99-worst-hour", "Best-effort work done, in GPUs of its own", _done),
        ("online_slowdown", "p99-median-hour", "Growth of the services' 99th percentile, median hour", usual),
        ("online_slowdown", "p50-median-hour", "Growth of the services' median latency, median hour", half),
        ("sm_activity", "gauges", "Multiprocessors at work", lambda name, seed: 100 * day(name, seed).sm_activity),
        ("gpu_utilisation", "gauges", "Any kernel resident", lambda name, seed: 100 * day(name, seed).utilisation),
        ("gpu_memory_used", "gauges", "Memory in use", lambda name, seed: 100 * day(name, seed).memory),
    ]
    return [
        *(_case(f"{name}/{metric}", title, metric, value) for metric, name, title, value in table),
        _measured_case("online_slowdown", "growth of the 99th percentile, worst hour"),
        _measured_case("offline_throughput", "best-effort work done, in cores of its own"),
    ]


@cache
def day(name: str, seed: int) -> Outcome:
    """One simulated day."""
    table = contention.tabulate(muxflow.SERVICES, muxflow.BEST_EFFORT, SHARES, contention.Config())
    return muxflow.simulate(
        services(seed), jobs(seed), table, muxflow.SERVICES | muxflow.BEST_EFFORT, SHARED[name], seed
    )


def services(seed: int) -> list[tuple[str, NDArray[np.float64]]]:
    """A service a GPU, each with a day of its own."""
    names = list(muxflow.SERVICES)
    period = muxflow.Config().period_s
    return [
        (names[at % len(names)], traces.online_load(traces.DAY_S, period, 0.35, 0.6, 1000 * seed + at))
        for at in range(GPUS)
    ]


def jobs(seed: int) -> list[BestEffort]:
    """More than there are GPUs, so that there is a choice."""
    rng, names = np.random.default_rng(seed), list(muxflow.BEST_EFFORT)
    return [BestEffort(at, names[at % len(names)], float(rng.uniform(4, 16) * 3600)) for at in range(JOBS)]


@cache
def _hours(name: str, seed: int) -> dict[float, list[float]]:
    """Growth of two percentiles in every hour of every service."""
    outcome, period = day(name, seed), SHARED[name].period_s
    found: dict[float, list[float]] = {50.0: [], 99.0: []}
    for at, (service, load) in enumerate(services(seed)):
        seen = tails.latencies(load, outcome.slowdown[at], period, muxflow.SERVICES[service].t_step, at)
        for percentile, hours in found.items():
            hours += tails.hourly_growth(*seen, percentile)
    return found


def _growth(percentile: float, of_hours: float, name: str, seed: int) -> float:
    return float(np.percentile(_hours(name, seed)[percentile], of_hours))


def _done(name: str, seed: int) -> float:
    return day(name, seed).done_s / traces.DAY_S / GPUS


def _case(name: str, title: str, metric: str, value: Value) -> Case:
    def prepare(which: str, _workload: Workload, _device: str) -> Step:
        seeds = count()
        return lambda: value(which, next(seeds))

    def role(which: str) -> Role:
        return "baseline" if which == ("uncontrolled" if metric == "offline_throughput" else "alone") else "method"

    shown = [which for which in SHARED if which != "alone" or metric != "offline_throughput"]
    return Case(
        id=f"cluster/sharing/{name}",
        title=title,
        metric=metric,
        workload={"gpus": GPUS, "jobs": JOBS, "services": "four kinds, made up", "mean_load": 0.35, "hours": 24},
        implementations=tuple(
            Implementation(which, role(which), "simulated", partial(prepare, which), note=SIMULATED, module="muxflow")
            for which in shown
        ),
        timed=False,
        no_limit="a property of the simulated days, not of this machine",
        devices=("cpu",),
        trials=TRIALS,
    )


# The same with the pairs that were measured on this machine.

SERVICE, NEIGHBOUR = contention.SoloProfile(1.0, 0.5, 0.1, 0.1), contention.SoloProfile(1.0, 0.5, 0.1)
"""One core each: all of it while they run. Bandwidth and memory are not used by a measured table."""


@cache
def measured_day(name: str, seed: int) -> tuple[float, float]:
    """A day of the services of the measured pair table, a core each. -> growth of the 99th percentile in the worst
    hour, and work done in cores
    """
    table = bench_pairs.table()
    made = [(table.online[at % len(table.online)], load) for at, (_, load) in enumerate(services(seed)[:2])]
    work = [BestEffort(at, table.offline[at % len(table.offline)], 20 * 3600.0) for at in range(6)]
    solo = dict.fromkeys(table.online, SERVICE) | dict.fromkeys(table.offline, NEIGHBOUR)
    outcome = muxflow.simulate(made, work, table, solo, SHARED[name], seed)
    hours: list[float] = []
    for at, (_, load) in enumerate(made):
        seen = tails.latencies(load, outcome.slowdown[at], SHARED[name].period_s, SERVICE.t_step, at)
        hours += tails.hourly_growth(*seen, 99.0)
    return max(hours), outcome.done_s / traces.DAY_S / len(made)


def _measured_case(metric: str, words: str) -> Case:
    def prepare(which: str, _workload: Workload, _device: str) -> Step:
        seeds, part = count(), 0 if metric == "online_slowdown" else 1
        return lambda: measured_day(which, next(seeds))[part]

    ways = ["uncontrolled", "half", "muxflow", "muxflow-random"]
    base = "alone" if metric == "online_slowdown" else "uncontrolled"
    return Case(
        id=f"cluster/sharing-measured/p99-worst-hour/{metric}",
        title=f"The same with measured pairs: {words}",
        metric=metric,
        workload={
            "services": "those of the measured pair table, a core each",
            "jobs": ", ".join(one.name for one in bench_pairs.NEIGHBOURS),
            "mean_load": 0.35,
            "hours": 24,
        },
        implementations=tuple(
            Implementation(
                which,
                "baseline" if which == base else "method",
                "simulated",
                partial(prepare, which),
                note="simulated days; slowdowns from the pair table that this run measured",
                module="muxflow",
            )
            for which in dict.fromkeys((base, *ways))
        ),
        timed=False,
        no_limit="a property of the simulated days and of the measured pairs",
        devices=("cpu",),
        trials=TRIALS,
    )

"""The pair table of real processes on this CPU; `pair_table.read_run` reads it back from the recorded run.

Two services, the tiny model and SmolLM2 where its file is at hand, each beside the same jobs: training of adapters and
scoring, once at the service's own priority and once at the lowest.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import count

import numpy as np

from reference_impls.cluster.pair_table import PairTable
from reference_impls.cluster.pair_worker import Neighbour, Seen, Service, measure
from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Step, Workload
from reference_impls.models import smollm2

SHARES = (10, 50, 100)
TRIALS = 3
SERVICES = (Service(), Service("smollm2-135m", prompt=4, tokens=3, seconds=3.5))
"""Requests of the larger model are short, so that a few seconds see several of them."""
NEIGHBOURS = (Neighbour("lora"), Neighbour("score"), Neighbour("lora", nice=19))


def cases() -> list[Case]:
    """Slowdown of the service and throughput of the job, for every pair."""
    ways: list[tuple[str, str, Callable[[Seen], float]]] = [
        ("online_slowdown", "Slowdown of the service's work", lambda seen: seen.slowdown),
        ("offline_throughput", "Best-effort steps over those alone", lambda seen: seen.throughput),
    ]
    return [_case(service, neighbour, *way) for service in SERVICES for neighbour in NEIGHBOURS for way in ways]


def at_hand() -> list[Service]:
    """The services whose model is here."""
    return [one for one in SERVICES if one.name != "smollm2-135m" or smollm2.smollm2_path()]


@cache
def trial(service: Service, number: int) -> dict[str, dict[int, Seen]]:
    """All jobs and shares in one go, so that all cases show the same runs."""
    return measure(service, NEIGHBOURS, SHARES, number)


def table() -> PairTable:
    """What the trials of this process say, measured now where they were not before: medians over them."""
    runs = {one.name: [trial(one, number) for number in range(TRIALS)] for one in at_hand()}
    names = tuple(one.name for one in NEIGHBOURS)

    def medians(value: Callable[[Seen], float]) -> np.ndarray:
        return np.array(
            [
                [[float(np.median([value(one[name][share]) for one in found])) for share in SHARES] for name in names]
                for found in runs.values()
            ]
        )

    slow, done = medians(lambda seen: seen.slowdown), medians(lambda seen: seen.throughput)
    return PairTable(tuple(runs), names, SHARES, slow, done, "measured in this run")


def _case(service: Service, neighbour: Neighbour, metric: str, title: str, value: Callable[[Seen], float]) -> Case:
    def prepare(share: int | None, _workload: Workload, _device: str) -> Step:
        if service not in at_hand():
            raise NotInstalledError(smollm2.HOW_TO_GET_IT)
        numbers = count()
        if share is None:
            return lambda: 1.0
        return lambda: value(trial(service, next(numbers))[neighbour.name][share])

    ways = [
        Implementation(f"share-{share}", "method", "kernel", partial(prepare, share), module="share_control")
        for share in SHARES
    ]
    return Case(
        id=f"cluster/pair-table/{service.name}+{neighbour.name}/{metric}",
        title=f"{title}: {service.name} decoding beside {neighbour.name}, on one core",
        metric=metric,
        workload={
            "model": service.name,
            "task": f"beside {neighbour.kind}",
            "priority": "the job's is the lowest" if neighbour.nice else "equal",
            "prompt_tokens": service.prompt,
            "new_tokens": service.tokens,
            "load": service.load,
            "cores": 1,
            "share_is": "duty cycle",
            "seconds": service.seconds,
        },
        implementations=(Implementation("alone", "baseline", "kernel", partial(prepare, None)), *ways),
        timed=False,
        no_limit="a ratio of times on this machine",
        devices=("cpu",),
        trials=TRIALS,
    )

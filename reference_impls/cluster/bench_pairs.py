"""The pair table of two real processes on this CPU; `pair_table.read_run` reads it back from the recorded run."""

from collections.abc import Callable
from functools import cache, partial
from itertools import count

import numpy as np

from reference_impls.cluster.pair_table import PairTable
from reference_impls.cluster.pair_worker import Pair, Seen, measure
from reference_impls.measurement.case import Case, Implementation, Step, Workload

SHARES = (10, 50, 100)
TRIALS = 3
PAIRS = (Pair(offline="lora"), Pair(offline="score"))


def cases() -> list[Case]:
    """Slowdown of the service and throughput of the job, for every pair."""
    ways: list[tuple[str, str, Callable[[Seen], float], float]] = [
        ("online_slowdown", "Slowdown of the service's work", lambda seen: seen.slowdown, 1.0),
        ("offline_throughput", "Best-effort steps over those alone", lambda seen: seen.throughput, 1.0),
    ]
    return [_case(pair, *way) for pair in PAIRS for way in ways]


@cache
def trial(pair: Pair, number: int) -> dict[int, Seen]:
    """All shares in one go, so that both cases show the same runs."""
    return measure(pair, SHARES, number)


def table() -> PairTable:
    """What the trials of this process say, measured now where they were not before: medians over them."""
    seen = [[trial(pair, number) for number in range(TRIALS)] for pair in PAIRS]
    slow = [[float(np.median([one[share].slowdown for one in runs])) for share in SHARES] for runs in seen]
    done = [[float(np.median([one[share].throughput for one in runs])) for share in SHARES] for runs in seen]
    names = tuple(pair.offline for pair in PAIRS)
    return PairTable((PAIRS[0].online,), names, SHARES, np.array([slow]), np.array([done]), "measured in this run")


def _case(pair: Pair, metric: str, title: str, value: Callable[[Seen], float], alone: float) -> Case:
    def prepare(share: int, _workload: Workload, _device: str) -> Step:
        numbers = count()
        return lambda: value(trial(pair, next(numbers))[share])

    ways = [
        Implementation(f"share-{share}", "method", "kernel", partial(prepare, share), module="share_control")
        for share in SHARES
    ]
    base = Implementation("alone", "baseline", "kernel", lambda _workload, _device: lambda: alone)
    return Case(
        id=f"cluster/pair-table/{pair.online}+{pair.offline}/{metric}",
        title=f"{title}: {pair.online} decoding beside {pair.offline}, on one core",
        metric=metric,
        workload={
            "model": pair.online,
            "task": f"beside {pair.offline}",
            "load": pair.load,
            "cores": 1 if pair.one_core else 2,
            "share_is": "duty cycle",
            "seconds": pair.seconds,
        },
        implementations=(base, *ways),
        timed=False,
        no_limit="a ratio of times on this machine",
        devices=("cpu",),
        trials=TRIALS,
    )

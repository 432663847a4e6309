"""What a service's requests feel of slower steps: time in the system, request by request, and how its tail grows."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def latencies(load: Array, slowdown: Array, period_s: float, t_step: float, seed: int) -> tuple[Array, Array, Array]:
    """Requests of a service, one by one in order of arrival, alone and with its slowdowns: Poisson arrivals and
    exponential service times, the same draws for both.

    load, slowdown: (periods,) -> arrival, alone, shared: (requests,), seconds
    """
    rng = np.random.default_rng(seed)
    counts = rng.poisson(load * period_s / t_step)
    period = np.repeat(np.arange(len(load)), counts)
    arrival = np.sort((period + rng.random(len(period))) * period_s)
    service = rng.exponential(t_step, len(period))
    at = (arrival / period_s).astype(int).clip(0, len(load) - 1)
    return arrival, _in_system(arrival, service), _in_system(arrival, service * slowdown[at])


def _in_system(arrival: Array, service: Array) -> Array:
    """Lindley's recursion: a request waits for the work that is left before it. -> (requests,)"""
    gaps = np.diff(arrival, prepend=arrival[:1])
    ahead = np.concatenate([[0.0], service[:-1]]) - gaps
    total = np.cumsum(ahead)
    wait: Array = total - np.minimum.accumulate(np.minimum(total, 0.0))
    return wait + service


def hourly_growth(arrival: Array, alone: Array, shared: Array, percentile: float, least: int = 500) -> list[float]:
    """Growth of a percentile of time in the system, hour by hour; hours with fewer requests are left out."""
    hours = (arrival / 3600).astype(int)
    found = []
    for hour in np.unique(hours):
        inside = hours == hour
        if inside.sum() >= least:
            found.append(float(np.percentile(shared[inside], percentile) / np.percentile(alone[inside], percentile)))
    return found

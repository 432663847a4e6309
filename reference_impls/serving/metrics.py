"""What a run was like for those who waited: per request, and summed up."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_impls.serving.serve import Record

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Latencies:
    """One number for each finished request. jct: completion time; per_token: jct over output tokens, waiting included;
    tpot: mean time of a later token, nan where there is none; all in seconds."""

    ttft: Array
    jct: Array
    per_token: Array
    tpot: Array
    output: Array
    preemptions: Array
    demotions: Array


def latencies(record: Record) -> Latencies:
    """Of all requests that were not cancelled."""
    jobs = [job for job in record.jobs if not job.cancelled]
    rows = [
        (job.arrival_s, job.first_token_s, job.finished_s, job.generated, job.preemptions, job.demotions)
        for job in jobs
    ]
    table = np.array(rows, dtype=float).reshape(-1, 6)
    arrival, first, end, output, preemptions, demotions = table.T
    with np.errstate(invalid="ignore", divide="ignore"):
        tpot = np.where(output > 1, (end - first) / (output - 1), np.nan)
    return Latencies(first - arrival, end - arrival, (end - arrival) / output, tpot, output, preemptions, demotions)


def goodput_per_s(record: Record, per_token_s: float) -> float:
    """Requests a second whose completion time stayed within so much a token."""
    found = latencies(record)
    return float((found.per_token <= per_token_s).sum() / record.end_s)


def gap_percentile(record: Record, percent: float) -> float:
    """A percentile of the time between two tokens of one request, over all tokens."""
    gaps = np.array(record.gaps, dtype=float).reshape(-1, 2)
    if not len(gaps):
        return float("nan")
    order = gaps[:, 0].argsort()
    reached = gaps[order, 1].cumsum() / gaps[:, 1].sum()
    return float(gaps[order, 0][np.searchsorted(reached, percent / 100)])


def _percentile(of: str, percent: float) -> Callable[[Record], float]:
    return lambda record: float(np.percentile(getattr(latencies(record), of), percent))


def _mean(of: str) -> Callable[[Record], float]:
    return lambda record: float(np.nanmean(getattr(latencies(record), of)))


SUMMARIES: dict[str, Callable[[Record], float]] = {
    "demotions": _mean("demotions"),
    "jct": _mean("jct"),
    "jct_p50": _percentile("jct", 50),
    "jct_p95": _percentile("jct", 95),
    "jct_p99": _percentile("jct", 99),
    "jct_max": _percentile("jct", 100),
    "per_token": _mean("per_token"),
    "per_token_p50": _percentile("per_token", 50),
    "per_token_p95": _percentile("per_token", 95),
    "per_token_p99": _percentile("per_token", 99),
    "per_token_max": _percentile("per_token", 100),
    "preemptions": _mean("preemptions"),
    "tbt_p99": lambda record: gap_percentile(record, 99),
    "tpot": _mean("tpot"),
    "ttft": _mean("ttft"),
    "ttft_p99": _percentile("ttft", 99),
}
"""Name -> the number of one run, in seconds or as a count."""


def summary(record: Record, name: str) -> float:
    """One of the numbers above."""
    return SUMMARIES[name](record)

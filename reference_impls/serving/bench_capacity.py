"""Cases of a server whose memory is fixed: caches in pages against the longest length reserved for each request.

A page as long as the longest request is a reservation, so both arms are the same server with another size of page.
"""

from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation
from reference_impls.serving import Limits, fcfs
from reference_impls.serving.bench_simulated import (
    COST,
    REQUESTS,
    TARGET_S,
    by_seed,
    highest,
    value_case,
    workload_of,
)
from reference_impls.serving.kv_swap import Config, Space
from reference_impls.serving.metrics import SUMMARIES
from reference_impls.serving.serve import Record
from reference_impls.serving.simulate import simulate
from reference_impls.serving.traces import Config as TraceConfig
from reference_impls.serving.traces import generate

MEMORY_TOKENS, LONGEST, SLOTS = 16_384, 2048, 64
"""Tokens whose caches fit (13.4 GB of a model of 13 billion parameters), the most a request may need, jobs at once."""
PAGES = {"reserve-maximum": LONGEST, "paged-256": 256, "paged-16": 16}


def served(tokens_per_block: int, rate: float | None, seed: int) -> Record:
    """First come, first served; who finds no room waits, and the latest gives way where the others grow."""
    arrivals = "poisson" if rate else "together"
    trace = generate(TraceConfig("conversation", REQUESTS, rate or 1.0, arrivals, seed))
    space = Space(Config(MEMORY_TOKENS // tokens_per_block, 0, tokens_per_block, "recompute"))
    return simulate(trace, fcfs.Scheduler(), COST, Limits(SLOTS), space)


def concurrent(tokens_per_block: int, seed: int) -> float:
    """Requests in an iteration on average, all having come at once."""
    record = served(tokens_per_block, None, seed)
    return record.token_steps / record.iterations


@cache
def rate_within_target(tokens_per_block: int, seed: int) -> float:
    """Requests a second with the mean of time a token within the target."""

    def met(rate: float) -> bool:
        return SUMMARIES["per_token"](served(tokens_per_block, rate, seed)) <= TARGET_S

    return highest(met, 0.2, 20.0)


def cases() -> list[Case]:
    """How many fit, and what that is worth."""
    work = workload_of("conversation", "poisson", None) | {
        "batch": SLOTS,
        "memory_tokens": MEMORY_TOKENS,
        "longest_tokens": LONGEST,
    }
    fitting = [_way(name, partial(by_seed, partial(concurrent, size))) for name, size in PAGES.items()]
    rated = [
        _way(name, partial(by_seed, partial(rate_within_target, size))) for name, size in PAGES.items() if size != 256
    ]
    return [
        value_case(
            "serving/fixed-memory/concurrent_requests",
            f"Simulated requests that run at once in memory for {MEMORY_TOKENS:,} tokens",
            "concurrent_requests",
            work | {"arrivals": "together"},
            fitting,
        ),
        value_case(
            "serving/fixed-memory/throughput_at_slo",
            f"Simulated requests a second with the mean time a token within {TARGET_S} s, in fixed memory",
            "throughput_at_slo",
            work | {"target_s_per_token": TARGET_S},
            rated,
        ),
    ]


def _way(name: str, prepare: partial) -> Implementation:  # type: ignore[type-arg]
    is_baseline = name == "reserve-maximum"
    role, module = ("baseline", None) if is_baseline else ("method", "kv_swap")
    return Implementation(name, role, "simulated", prepare, module=module)  # type: ignore[arg-type]

"""The cases of this family: simulated and real servers, and how quick policies and simulation are."""

from functools import partial

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.serving import (
    Batch,
    Job,
    Limits,
    State,
    bench_capacity,
    bench_engine,
    bench_memory,
    bench_prefix,
    bench_simulated,
    bench_together,
)
from reference_impls.serving.bench_simulated import CONTENDERS, COST, LIMITS, Contender, requests_of, workload_of
from reference_impls.serving.chunked_prefill import compose
from reference_impls.serving.simulate import simulate
from reference_impls.serving.traces import Config, generate

DECISIONS = ((1_000, 16), (10_000, 16), (100_000, 16), (10_000, 256))
"""How many wait, and how many of them run."""
SCHEDULED = 1024
"""Sequences that one timed step decides about: so many decisions in a row that a clock can tell."""
SIMULATED = (400, 1600, 6400)
"""Requests of the simulations that are timed: the rate must not fall as they grow in number."""
SUNK = 5
"""Levels that those who wait have used up: a quantum is then some thirty iterations long."""


def cases() -> list[Case]:
    """Every case of the family."""
    return [
        *bench_simulated.cases(),
        *bench_memory.cases(),
        *bench_capacity.cases(),
        *bench_engine.cases(),
        *bench_together.cases(),
        *bench_prefix.cases(),
        *(_decision_case(queued, batch) for queued, batch in DECISIONS),
        *(_simulation_case(count) for count in SIMULATED),
    ]


def _decision_case(queued: int, batch: int) -> Case:
    ways = [
        Implementation(one.name, one.role, "kernel", partial(_decide, one, queued, batch), module=one.module)
        for one in CONTENDERS
    ]
    decisions = SCHEDULED // batch
    return Case(
        id=f"serving/decision/queued-{queued}-batch-{batch}/scheduling_rate",
        title=f"Scheduling decisions of {batch} among {queued:,} requests",
        metric="scheduling_rate",
        workload={
            "queued": queued,
            "batch": batch,
            "lengths": "conversation",
            "levels_used_up": SUNK,
            "decisions_in_a_row": decisions,
        },
        implementations=tuple(ways),
        timed=True,
        amount=float(decisions * batch),
        no_limit="time of the interpreter; the goal is two million, half a microsecond each",
        devices=("cpu",),
    )


def _decide(contender: Contender, queued: int, batch: int, _workload: Workload, _device: str) -> Step:
    """Order, compose and charge. Jobs stand still: moving them on is the server's work, the same for every policy."""
    scheduler, limits = contender.make(), Limits(batch, 1 << 20)
    state = State(0.0, COST.prefill_s, batch)
    jobs = [
        Job(one.id, one.arrival_s, one.prompt, 1 << 30, cached=one.prompt, generated=1)
        for one in generate(Config("conversation", queued, arrivals="together"))
    ]
    for job in jobs:
        scheduler.enter(job, state)
    for _ in range(SUNK):
        scheduler.ran(Batch(jobs, [1] * queued, decoders=queued), 1000.0, state)

    def step() -> None:
        for _ in range(SCHEDULED // batch):
            chosen = compose(scheduler.schedule(state), limits)
            state.now += 0.03
            scheduler.ran(chosen, 0.03, state)
            scheduler.patience(chosen, state)

    return step


def _simulation_case(requests: int) -> Case:
    trace = requests_of("conversation", "poisson", 90, 0, count=requests)
    ways = [
        Implementation(one.name, one.role, "kernel", partial(_simulate, one, requests), module=one.module)
        for one in CONTENDERS
    ]
    return Case(
        id=f"serving/simulation/requests-{requests}/simulated_throughput",
        title=f"Tokens that the simulation makes a second, {requests:,} conversations at 90 % load",
        metric="simulated_throughput",
        workload=workload_of("conversation", "poisson", 90) | {"requests": requests},
        implementations=tuple(ways),
        timed=True,
        amount=float(sum(one.output for one in trace)),
        no_limit="time of the interpreter; the goal is a million",
        devices=("cpu",),
    )


def _simulate(contender: Contender, requests: int, _workload: Workload, _device: str) -> Step:
    trace = requests_of("conversation", "poisson", 90, 0, count=requests)

    def step() -> None:
        simulate(trace, contender.make(), COST, LIMITS)

    return step

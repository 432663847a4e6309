"""Cases of the real engine: policies on traces, and the simulation beside it.

The rate follows from the machine: iterations of a calibration run are fitted, and the fitted server's capacity is load
1. The fit is made from another seed than the runs that are measured, and its error is shown on those.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, NotInstalledError, Role, Step, Workload
from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Config as ModelConfig
from reference_impls.models.decoder import Decoder
from reference_impls.serving import (
    Limits,
    Request,
    Scheduler,
    fastserve,
    fcfs,
    fixed_priority,
    mlfq,
    run_to_completion,
    srpt,
)
from reference_impls.serving.bench_clock import SteadyClock
from reference_impls.serving.bench_simulated import LOADS, TRACES
from reference_impls.serving.cost import CostModel, fit, relative_errors
from reference_impls.serving.engine import Config, Engine
from reference_impls.serving.kv_swap import Config as SpaceConfig
from reference_impls.serving.kv_swap import Space
from reference_impls.serving.metrics import SUMMARIES
from reference_impls.serving.serve import Record
from reference_impls.serving.simulate import capacity, simulate
from reference_impls.serving.traces import Config as TraceConfig
from reference_impls.serving.traces import at_rate, generate, poisson

CALIBRATION_SEED = 999
LARGE = ModelConfig(32_000, 2048, 16, 16, 4, 128, 5632, max_positions=4096)


@dataclass(frozen=True)
class Setup:
    """A model, its requests, and the memory for their caches.

    shortened: prompts and answers of the simulation's traces, by which divisors, so that they suit a small model.
    """

    model: str
    requests: int
    batch: int
    trials: int
    longest: int = 64
    blocks: int = 4096
    swap: str = "proactive"
    trace: str = "lognormal"
    load: int = 100
    shortened: tuple[int, int] = (1, 1)

    @property
    def limits(self) -> Limits:
        """What an iteration may hold."""
        return Limits(self.batch, 2048)

    @property
    def workload(self) -> dict[str, Any]:
        """As records show it."""
        shown = {"model": self.model, "requests": self.requests, "batch": self.batch, "longest_answer": self.longest}
        shown["clock"] = "wall" if self.model == "random-1b" else "seconds of the process, at its usual pace"
        dtype = "bfloat16" if self.model == "random-1b" else "float32"
        arrivals = TRACES.get(self.trace, "poisson")
        shown |= {"dtype": dtype, "trace": self.trace, "load_percent": self.load, "arrivals": arrivals}
        if self.trace in TRACES:
            shown |= dict(zip(("prompts_divided_by", "answers_divided_by"), self.shortened, strict=True))
        return shown | {"device_blocks": self.blocks}


TINY = Setup("tiny-target", 50, 8, 6, longest=48)
SMOLLM2 = Setup("smollm2-135m", 50, 8, 3, longest=32)
CPU = (TINY, SMOLLM2)
TRACED = tuple(
    replace(setup, trials=2, trace=trace, load=load, longest=longest, shortened=shortened)
    for setup, longest, shortened in ((TINY, 48, (8, 20)), (SMOLLM2, 16, (8, 40)))
    for trace in TRACES
    for load in LOADS
)
"""The traces and loads of the simulation."""
CUDA = tuple(Setup("random-1b", 8 * batch, batch, 3, longest=256, blocks=batch * 40) for batch in (16, 64, 128))


@cache
def model_of(name: str, device: str) -> Decoder:
    """The decoder; of the large one only the shape is real."""
    if name == "tiny-target":
        return tiny.load_target().to(device)
    if name == "random-1b":
        torch.manual_seed(0)
        with torch.device(device):
            return Decoder(LARGE).to(torch.bfloat16).eval().requires_grad_(False)
    if smollm2.smollm2_path() is None:
        raise NotInstalledError(smollm2.HOW_TO_GET_IT)
    return smollm2.load_smollm2().to(device)


@cache
def requests_of(setup: Setup, seed: int) -> tuple[Request, ...]:
    """Lognormal lengths, medians of 24 tokens in and a sixth of the longest out, or a trace of the simulation's.

    Arrivals at one a second.
    """
    if setup.trace in TRACES:
        drawn = generate(TraceConfig(setup.trace, setup.requests, 1.0, TRACES[setup.trace], seed))
        by_in, by_out = setup.shortened
        return tuple(
            replace(one, prompt=1 + one.prompt // by_in, output=min(1 + one.output // by_out, setup.longest))
            for one in drawn
        )
    rng = np.random.default_rng([seed, setup.requests])
    prompts = np.clip(np.rint(rng.lognormal(np.log(24), 0.8, setup.requests)), 2, 160).astype(int)
    outputs = np.clip(np.rint(rng.lognormal(np.log(setup.longest / 6), 1.1, setup.requests)), 1, setup.longest)
    times = poisson(rng, setup.requests, 1.0)
    rows = enumerate(zip(times, prompts, outputs, strict=True))
    return tuple(Request(n, float(at), int(prompt), int(output)) for n, (at, prompt, output) in rows)


def prompts_of(setup: Setup, requests: tuple[Request, ...]) -> dict[int, Tensor]:
    """Held-out text for the tiny model, chance for the others: the tokens do not change the time."""
    if setup.model == "tiny-target":
        text = tiny.heldout_tokens(20_000)
        return {one.id: text[150 * one.id : 150 * one.id + one.prompt] for one in requests}
    generator = torch.Generator().manual_seed(0)
    return {one.id: torch.randint(100, 20_000, (one.prompt,), generator=generator) for one in requests}


def space_of(setup: Setup, model: Decoder) -> SpaceConfig:
    """Blocks of 16 tokens; a copy is reckoned at 10 GB/s, which only decides when the simulation calls it done."""
    c = model.config
    nbytes = 16 * 2 * c.layers * c.kv_heads * c.head_dim * model.embedding.weight.dtype.itemsize
    host = 4 * setup.blocks if setup.blocks < 4096 else 256
    return SpaceConfig(setup.blocks, host, 16, setup.swap, 8, 0.1, nbytes, 10e9)  # type: ignore[arg-type]


def run(
    setup: Setup, make: Callable[[CostModel], Scheduler], seed: int, device: str, rate: float | None, profile: CostModel
) -> tuple[Record, Engine]:
    """One trace through the engine; rate None: everything arrives at once."""
    gc.collect()  # the engine before holds gigabytes, and it and its server name each other
    model, requests = model_of(setup.model, device), requests_of(setup, seed)
    config = Config(space_of(setup, model), setup.limits)
    steady = SteadyClock()
    clock = steady if device == "cpu" else time.perf_counter
    engine = Engine(model, prompts_of(setup, requests), make(profile), config, clock, profile)
    if device == "cpu":
        engine.server.observer = steady.look
    timed = at_rate([*requests], rate) if rate else [Request(one.id, 0.0, one.prompt, one.output) for one in requests]
    return engine.serve(timed), engine


@cache
def calibrated(setup: Setup, device: str) -> CostModel:
    """Fitted to the iterations of runs of its own, after one that warms up: of full batches and of emptying ones."""
    if setup in TRACED:
        return calibrated(TINY if setup.model == TINY.model else SMOLLM2, device)
    runs = [
        run(setup, POLICIES[name][1], CALIBRATION_SEED, device, None, CostModel())[1].measured
        for name in ("fcfs", "fcfs", "fcfs-request-batches")
    ]
    return fit([*runs[1], *runs[2]])


def _rate(setup: Setup, device: str) -> float:
    whole = capacity(requests_of(setup, CALIBRATION_SEED), calibrated(setup, device), setup.limits)
    return whole * setup.load / 100


def _fastserve(ageing_steps: float | None, profile: CostModel) -> Scheduler:
    """q_1 is a decode step of this machine; ageing is given in such steps, ten in the paper."""
    quantum = profile.prefill_s(1)
    return fastserve.Scheduler(fastserve.Config(quantum, ageing_s=ageing_steps and ageing_steps * quantum))


POLICIES: dict[str, tuple[str, Callable[[CostModel], Scheduler]]] = {
    "fcfs": ("fcfs", lambda _: fcfs.Scheduler()),
    "fcfs-request-batches": ("run_to_completion", lambda _: run_to_completion.Scheduler()),
    "naive-mlfq": ("mlfq", lambda profile: mlfq.Scheduler(mlfq.Config(profile.prefill_s(1)))),
    "fastserve": ("fastserve", partial(_fastserve, None)),
    "fastserve-ageing-10-steps": ("fastserve", partial(_fastserve, 10.0)),
    "fixed-priority": ("fixed_priority", lambda _: fixed_priority.Scheduler()),
    "srpt-oracle": ("srpt", lambda _: srpt.Scheduler()),
}
FEWER = ("fcfs", "fcfs-request-batches", "fastserve")
"""Those that a GPU's time is spent on."""


@cache
def values(setup: Setup, name: str, seed: int, device: str) -> dict[str, float]:
    """Latencies of one run, the order that the simulation foretold for it, and how far its iterations were off."""
    profile, make, rate = calibrated(setup, device), POLICIES[name][1], _rate(setup, device)
    record, engine = run(setup, make, seed, device, rate, profile)
    space = Space(space_of(setup, model_of(setup.model, device)))
    foretold = simulate(at_rate([*requests_of(setup, seed)], rate), make(profile), profile, setup.limits, space)
    return {
        "latency_per_token": SUMMARIES["per_token"](record),
        "jct": SUMMARIES["jct"](record),
        "jct_tail": SUMMARIES["jct_p95"](record),
        "rank_correlation": rank_correlation(_times(record), _times(foretold)),
        "prediction_error": 100 * float(relative_errors(profile, engine.measured).mean()),
    }


def _times(record: Record) -> list[float]:
    return [(job.finished_s or 0.0) - job.arrival_s for job in sorted(record.jobs, key=lambda job: job.id)]


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Spearman's; what agrees to a nanosecond shares the mean of its ranks."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: list[float]) -> NDArray[np.float64]:
    _, place, together = np.unique(np.round(values, 9), return_inverse=True, return_counts=True)
    return (together.cumsum() - (together - 1) / 2)[place]


METRICS = ("latency_per_token", "jct", "jct_tail", "rank_correlation", "prediction_error")
TRACED_METRICS = ("latency_per_token", "jct", "rank_correlation", "prediction_error")


def engine_cases() -> list[Case]:
    """Every metric of every set-up, and some of every trace and load."""
    whole = [_engine_case(setup, metric) for setup in (*CPU, *CUDA) for metric in METRICS]
    return [*whole, *(_engine_case(setup, metric) for setup in TRACED for metric in TRACED_METRICS)]


def _engine_case(setup: Setup, metric: str) -> Case:
    names = FEWER if setup in CUDA else [*POLICIES]
    about = f"{setup.trace}-load-{setup.load}" if setup in TRACED else f"batch-{setup.batch}"
    return Case(
        id=f"serving/{setup.model}/{about}/{metric}",
        title=f"{setup.trace.capitalize()} requests to {setup.model} at {setup.load} % load, {setup.batch} at a time",
        metric=metric,
        workload=setup.workload,
        implementations=tuple(_way(setup, name, metric) for name in names),
        timed=False,
        no_limit="waiting depends on the trace; the bound of a decode step is in other suites",
        devices=("cuda",) if setup in CUDA else ("cpu",),
        trials=setup.trials,
    )


def _way(setup: Setup, name: str, metric: str) -> Implementation:
    role: Role = "baseline" if name == "fcfs" else "method"

    def prepare(_workload: Workload, device: str) -> Step:
        model_of(setup.model, device)
        seeds = count()
        return lambda: values(setup, name, next(seeds), device)[metric]

    return Implementation(name, role, "kernel", prepare, module=POLICIES[name][0])


def cases() -> list[Case]:
    """All of this module."""
    return engine_cases()

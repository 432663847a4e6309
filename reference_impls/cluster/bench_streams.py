"""Cases for a GPU: a service and a job as two streams with priorities, and what kinds of fine-tuning draw and reach.

They need torch alone. Energy is read by the bench itself, from NVML's counter, without setting anything. The same code
runs on a CPU, where streams are nothing and the two take turns; tests do so.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import count
from typing import Any

import torch

from reference_impls.cluster.pair_worker import best_effort_step
from reference_impls.measurement.case import Case, Implementation, Step, Workload

KINDS = ("lora", "full", "score")
MODES = ("one-stream", "two-streams", "priorities", "paced")
BATCHES, LENGTH = (1, 4, 16), 64
THREADS = {"one-thread": 1, "two-threads": 2}


def cases() -> list[Case]:
    """Kinds of jobs on either device; threads on a CPU, pairs on a GPU."""
    kinds = [_kinds_case(batch) for batch in BATCHES]
    return [*kinds, _threads_case(), *(_pair_case(kind) for kind in KINDS)]


def _kinds_case(batch: int) -> Case:
    """Tokens a second of each kind; the run's energy_j beside it is what a scheduler's profile needs."""

    def prepare(kind: str, _workload: Workload, device: str) -> Step:
        return best_effort_step(kind, device, (batch, LENGTH + 1))

    return Case(
        id=f"cluster/job-kinds/tiny-target/batch-{batch:02}/prefill_throughput",
        title=f"Steps of fine-tuning and scoring as kinds of jobs, batch {batch}",
        metric="prefill_throughput",
        workload={"model": "tiny-target", "batch": batch, "tokens": LENGTH},
        implementations=tuple(
            Implementation(kind, "baseline" if kind == "full" else "method", "kernel", partial(prepare, kind))
            for kind in KINDS
        ),
        timed=True,
        amount=float(batch * LENGTH),
        no_limit="kinds of work, not ways to do the same work",
    )


def _threads_case() -> Case:
    """A real curve of two points: what a second core does for one job."""

    def prepare(threads: int, _workload: Workload, device: str) -> Step:
        return on_threads(threads, best_effort_step("full", device, (16, LENGTH + 1)))

    return Case(
        id="cluster/job-threads/full/prefill_throughput",
        title="A step of training on one core and on two",
        metric="prefill_throughput",
        workload={"model": "tiny-target", "batch": 16, "tokens": LENGTH, "task": "full"},
        implementations=tuple(
            Implementation(name, "baseline" if threads == 1 else "method", "kernel", partial(prepare, threads))
            for name, threads in THREADS.items()
        ),
        timed=True,
        amount=float(16 * LENGTH),
        no_limit="twice the baseline, where nothing but computing takes time",
        devices=("cpu",),
    )


def on_threads(threads: int, step: Step) -> Step:
    """The step with so many threads; others keep the number they had."""

    def whole() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            step()
        finally:
            torch.set_num_threads(before)

    return whole


def _pair_case(kind: str) -> Case:
    def prepare(mode: str, _workload: Workload, device: str) -> Step:
        numbers = count()
        return lambda: beside(mode, kind, device, next(numbers))

    base = Implementation("alone", "baseline", "kernel", partial(prepare, "alone"))
    ways = [Implementation(mode, "method", "kernel", partial(prepare, mode), module="share_control") for mode in MODES]
    return Case(
        id=f"cluster/streams/decode+{kind}/online_slowdown",
        title=f"Slowdown of decoding steps beside {kind}, by how the GPU is shared",
        metric="online_slowdown",
        workload={"model": "tiny-target", "offline": kind, "steps": 40},
        implementations=(base, *ways),
        timed=False,
        no_limit="a ratio of times on this machine",
        devices=("cuda",),
        trials=6,
    )


def beside(mode: str, kind: str, device: str, number: int, steps: int = 40) -> float:
    """Mean time of decoding steps while a job's steps are queued beside them, over the time alone."""
    decode, job = _decode_step(device), best_effort_step(kind, device)
    decode(), job()
    alone = _mean(decode, lambda _: None, device, steps)
    if mode == "alone":
        return _mean(decode, lambda _: None, device, steps) / alone
    high, low = _streams(mode, device)

    def interfere(at: int) -> None:
        if mode != "paced" or (at + number) % 4 == 0:  # paced: one step of the job to four of the service
            with low():
                job()

    with high():
        return _mean(decode, interfere, device, steps) / alone


Scope = Callable[[], AbstractContextManager[Any]]


def _streams(mode: str, device: str) -> tuple[Scope, Scope]:
    """-> where the service's work goes, and the job's"""
    if device != "cuda" or mode == "one-stream":
        return nullcontext, nullcontext
    top = -1 if mode in ("priorities", "paced") else 0
    stream: Any = torch.cuda.Stream
    high, low = stream(priority=top), stream(priority=0)
    return partial(torch.cuda.stream, high), partial(torch.cuda.stream, low)


def _mean(decode: Step, interfere: Callable[[int], None], device: str, steps: int) -> float:
    """Seconds of a decoding step from its start to its result; what is queued before it does not count as its own."""
    total = 0.0
    for at in range(steps):
        interfere(at)
        begun = time.perf_counter()
        decode()
        if device == "cuda":
            torch.cuda.current_stream().synchronize()
        total += time.perf_counter() - begun
    if device == "cuda":
        torch.cuda.synchronize()
    return total / steps


@cache
def _decode_step(device: str) -> Step:
    """One token of one sequence, with a cache of 128."""
    from reference_impls.models import tiny

    model: Any = tiny.load_target().to(device)
    prompt, newest = torch.arange(1, 129, device=device)[None], torch.tensor([[5]], device=device)

    def step() -> None:
        with torch.no_grad():
            cache_ = model.new_cache(1, 160)
            model(prompt, cache_)
            for _ in range(4):
                model(newest, cache_)

    return step

"""Real processes on one core: a service that decodes under Poisson arrivals, and a best-effort job held to a share.

What a pair table is measured with (bench_pairs.py). On a GPU the two are streams of one process (bench_streams.py).
The share is a duty cycle: after every step the job sleeps so long that it has worked that part of the time. Beside it
stands the job's niceness, which is to a core what a stream's priority is to a GPU.
"""

import multiprocessing as mp
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Step = Callable[[], None]
OFFLINE = (1, 33)
"""Sequences and tokens of a job's step here: short against a turn of the duty cycle."""


@dataclass(frozen=True)
class Service:
    """What is online. A request reads `prompt` tokens and decodes `tokens`; load: over the capacity alone; seconds: how
    long each setting is watched.
    """

    name: str = "tiny-target"
    prompt: int = 16
    tokens: int = 6
    load: float = 0.3
    seconds: float = 1.5


@dataclass(frozen=True)
class Neighbour:
    """What is offline. nice: added to its niceness."""

    kind: str = "lora"
    nice: int = 0

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.kind}-low" if self.nice else self.kind


@dataclass(frozen=True)
class Seen:
    """At one share: growth of the mean time of the service's work, and the job's steps over those alone."""

    slowdown: float
    throughput: float


def measure(
    service: Service, neighbours: Sequence[Neighbour], shares: Sequence[int], seed: int = 0
) -> dict[str, dict[int, Seen]]:
    """Run the service alone; then each job alone and beside the service at every share, with the same arrivals each
    time. -> by neighbour and share
    """
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    ordered = sorted(neighbours, key=lambda one: one.nice)  # a process may give its priority away, not take it back
    child = context.Process(target=_offline, args=([one.kind for one in ordered], theirs), daemon=True)
    child.start()
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        step = request(service)
        step()
        ours.recv()  # the jobs are ready too
        gap_s = _mean_s(step) / service.load
        work = _serve(step, gap_s, service.seconds, seed)
        found: dict[str, dict[int, Seen]] = {}
        for neighbour in ordered:
            most = _beside(ours, neighbour, 100, lambda: time.sleep(service.seconds / 3))[1]
            found[neighbour.name] = {}
            for share in shares:
                shared, rate = _beside(ours, neighbour, share, lambda: _serve(step, gap_s, service.seconds, seed))
                found[neighbour.name][share] = Seen(_mean(shared) / _mean(work), rate / most)
        ours.send(None)
    finally:
        os.sched_setaffinity(0, cores)
        child.join(10)
        child.terminate()
    return found


def _beside(pipe: Connection, neighbour: Neighbour, share: int, act: Callable[[], Any]) -> tuple[Any, float]:
    """Let the job run while `act` does. -> what that returns, and the job's steps a second"""
    pipe.send((neighbour.kind, neighbour.nice, share))
    result = act()
    pipe.send("stop")
    return result, float(pipe.recv())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_s(step: Step, times: int = 5) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - begun) / times


def _serve(step: Step, gap_s: float, seconds: float, seed: int) -> list[float]:
    """Requests one by one in order of arrival; -> time of each one's work, waiting for others not counted"""
    gaps = np.random.default_rng(seed).exponential(gap_s, int(3 * seconds / gap_s) + 10)
    arrivals = np.concatenate([[0.0], np.cumsum(gaps)])
    work = []
    begun = time.perf_counter()
    for arrival in arrivals[arrivals < seconds]:
        wait = begun + arrival - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        started = time.perf_counter()
        step()
        work.append(time.perf_counter() - started)
    return work


def _offline(kinds: Sequence[str], pipe: Connection) -> None:
    """The jobs' process: told a kind, a niceness and a share, it works for that part of its time until told to stop,
    and answers its rate.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    given = os.nice(0)
    steps_of = {kind: best_effort_step(kind, shape=OFFLINE) for kind in kinds}
    for step in steps_of.values():
        step()
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        kind, nice, share = order
        os.nice(given + nice - os.nice(0))
        begun, steps = time.perf_counter(), 0
        while not pipe.poll():
            turn = time.perf_counter()
            steps_of[kind]()
            steps += 1
            worked = time.perf_counter() - turn
            pipe.poll(worked * (100 / share - 1))  # sleeps, unless it is told to stop
        pipe.recv()
        pipe.send(steps / (time.perf_counter() - begun))


def request(service: Service) -> Step:
    """One request: a short prompt, a few tokens decoded."""
    import torch

    from reference_impls.models import smollm2, tiny
    from reference_impls.models.generate import generate

    torch.set_num_threads(1)
    if service.name == "tiny-target":
        model = tiny.load_target()
    elif service.name == "smollm2-135m":
        model = smollm2.load_smollm2()
    else:
        raise ValueError(f"online: expected tiny-target or smollm2-135m, got {service.name!r}")
    prompt = torch.arange(100, 100 + service.prompt)[None]

    def step() -> None:
        generate(model, prompt, service.tokens)

    return step


def best_effort_step(name: str, device: str = "cpu", shape: tuple[int, int] = (4, 65)) -> Step:
    """One step of a job: training of adapters (lora), of all weights (full), or scoring a batch (score). shape: of the
    tokens
    """
    import torch
    from torch.nn.functional import cross_entropy

    from reference_impls.adaptation import lora
    from reference_impls.models import tiny

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 1024, shape, generator=generator).to(device)
    model: Any = tiny.load_target().to(device)

    def loss() -> Any:
        logits = model(tokens[:, :-1])
        return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    if name == "score":

        def score() -> None:
            with torch.no_grad():
                loss()

        return score
    if name not in ("lora", "full"):
        raise ValueError(f"offline: expected lora, full or score, got {name!r}")
    model = lora.adapt(model, lora.Config(rank=8)) if name == "lora" else model.requires_grad_(True)
    trained = lora.adapter_parameters(model) if name == "lora" else list(model.parameters())
    optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def train() -> None:
        with torch.inference_mode(False), torch.enable_grad():  # whoever times this may have gradients off
            optimizer.zero_grad(set_to_none=True)
            loss().backward()
            optimizer.step()

    return train

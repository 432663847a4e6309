"""Two real processes on one core: a service that decodes under Poisson arrivals, and a best-effort job held to a share.

What a pair table is measured with (bench_pairs.py). On a GPU the two are streams of one process (bench_streams.py).
The share is a duty cycle: after every step the job sleeps so long that it has worked that part of the time.
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


@dataclass(frozen=True)
class Pair:
    """What runs beside what. load: of the service, over its capacity alone; nice: added to the job's niceness;
    one_core: both on the same core, so that they contend for its time, else on two.
    """

    online: str = "tiny-target"
    offline: str = "lora"
    seconds: float = 2.5
    load: float = 0.3
    nice: int = 0
    one_core: bool = True


@dataclass(frozen=True)
class Seen:
    """At one share: growth of the mean time of the service's work and of two percentiles of its latency, and the job's
    steps over those alone.
    """

    slowdown: float
    p50: float
    p99: float
    throughput: float


def measure(pair: Pair, shares: Sequence[int], seed: int = 0) -> dict[int, Seen]:
    """Run the service alone, the job alone, then both at every share, with the same arrivals each time."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_offline, args=(pair, theirs), daemon=True)
    child.start()
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        step = request(pair.online)
        step()
        ours.recv()  # the job is ready too
        gap_s = _mean_s(step) / pair.load
        alone, work = _serve(step, gap_s, pair.seconds, seed)
        ours.send(100)
        time.sleep(pair.seconds / 2)
        ours.send("stop")
        most = float(ours.recv())
        found = {}
        for share in shares:
            ours.send(share)
            latency, shared = _serve(step, gap_s, pair.seconds, seed)
            ours.send("stop")
            p50, p99 = np.percentile(latency, [50, 99]) / np.percentile(alone, [50, 99])
            found[share] = Seen(_mean(shared) / _mean(work), float(p50), float(p99), float(ours.recv()) / most)
        ours.send("quit")
    finally:
        os.sched_setaffinity(0, cores)
        child.join(10)
        child.terminate()
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_s(step: Step, times: int = 5) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - begun) / times


def _serve(step: Step, gap_s: float, seconds: float, seed: int) -> tuple[list[float], list[float]]:
    """Requests one by one in order of arrival; -> latency from arrival to end, and time of the work itself."""
    gaps = np.random.default_rng(seed).exponential(gap_s, int(3 * seconds / gap_s) + 10)
    arrivals = np.concatenate([[0.0], np.cumsum(gaps)])
    latency, work = [], []
    begun = time.perf_counter()
    for arrival in arrivals[arrivals < seconds]:
        wait = begun + arrival - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        started = time.perf_counter()
        step()
        ended = time.perf_counter()
        latency.append(ended - begun - arrival)
        work.append(ended - started)
    return latency, work


def _offline(pair: Pair, pipe: Connection) -> None:
    """The job's process: told a share, it works for that part of its time until told to stop, and answers its rate."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0] if pair.one_core else cores[-1]})
    os.nice(pair.nice)
    step = best_effort_step(pair.offline)
    step()
    pipe.send("ready")
    while (share := pipe.recv()) != "quit":
        begun, steps = time.perf_counter(), 0
        while not pipe.poll():
            turn = time.perf_counter()
            step()
            steps += 1
            worked = time.perf_counter() - turn
            pipe.poll(worked * (100 / share - 1))  # sleeps, unless it is told to stop
        pipe.recv()
        pipe.send(steps / (time.perf_counter() - begun))


def request(name: str) -> Step:
    """One request of a service: a few tokens decoded."""
    import torch

    from reference_impls.models import smollm2, tiny
    from reference_impls.models.generate import generate

    torch.set_num_threads(1)
    if name == "tiny-target":
        model, prompt, tokens = tiny.load_target(), torch.arange(1, 17)[None], 6
    elif name == "smollm2-135m":
        model, prompt, tokens = smollm2.load_smollm2(), torch.arange(100, 116)[None], 2
    else:
        raise ValueError(f"online: expected tiny-target or smollm2-135m, got {name!r}")

    def step() -> None:
        generate(model, prompt, tokens)

    return step


def best_effort_step(name: str, device: str = "cpu") -> Step:
    """One step of a job: training of adapters (lora), of all weights (full), or scoring a batch (score)."""
    import torch
    from torch.nn.functional import cross_entropy

    from reference_impls.adaptation import lora
    from reference_impls.models import tiny

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 1024, (4, 65), generator=generator).to(device)
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

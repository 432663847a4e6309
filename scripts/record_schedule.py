"""Record when each request ran: a small trace through the real engine on the tiny model, under two policies.

`python -m scripts.draw_schedule --record` writes what this returns beside the page on scheduling, and draws it.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from reference_impls.serving import Batch, Request
from reference_impls.serving.bench_clock import SteadyClock
from reference_impls.serving.bench_engine import (
    POLICIES,
    TINY,
    Setup,
    calibrated,
    model_of,
    prompts_of,
    space_of,
)
from reference_impls.serving.cost import CostModel
from reference_impls.serving.engine import Config, Engine
from scripts.bench.__main__ import now
from scripts.bench.machine import code_facts, machine_facts

ROOT = Path(__file__).parents[1]
STEPS = (
    (0, 24, 40),
    (0, 32, 48),
    (2, 16, 36),
    (6, 12, 3),
    (9, 100, 4),
    (12, 10, 2),
    (16, 20, 12),
    (20, 8, 3),
    (26, 14, 5),
    (32, 12, 2),
)
"""Arrival in decode steps of this machine, prompt and answer in tokens: long answers come first, short ones follow."""
SETUP = replace(TINY, requests=len(STEPS), batch=2)
SHOWN = ("fcfs", "fastserve")


def record(command: str) -> dict[str, Any]:
    """Run the trace under both policies, with who measured what where."""
    torch.set_num_threads(1)
    profile = calibrated(replace(SETUP, requests=TINY.requests), "cpu")
    step_s = profile.prefill_s(1)
    requests = [Request(n, round(at * step_s, 6), *lengths) for n, (at, *lengths) in enumerate(STEPS)]
    return {
        "command": command,
        "recorded": now(),
        "code": code_facts(ROOT, "serving"),
        "machine": machine_facts("cpu"),
        "workload": {name: SETUP.workload[name] for name in ("model", "dtype", "batch", "clock")},
        "requests": [asdict(one) for one in requests],
        "runs": {name: iterations(SETUP, requests, name, profile) for name in SHOWN},
    }


def iterations(setup: Setup, requests: list[Request], policy: str, profile: CostModel) -> list[Any]:
    """-> of each iteration its begin, its end, and [request, tokens passed] of each member."""
    model, steady = model_of(setup.model, "cpu"), SteadyClock()
    config = Config(space_of(setup, model), setup.limits)
    found: list[Any] = []

    def watch(start: float, batch: Batch, _count: int, seconds: float) -> None:
        members = [[job.id, tokens] for job, tokens in zip(batch.jobs, batch.tokens, strict=True)]
        found.append([round(start, 6), round(start + seconds, 6), members])
        steady.look()

    engine = Engine(model, prompts_of(setup, tuple(requests)), POLICIES[policy][1](profile), config, steady, profile)
    engine.server.observer = watch
    engine.serve(requests)
    return found

"""A case of programs that begin alike: a real engine that computes each prompt, or takes the known part from a tree."""

import time
from functools import cache

from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload
from reference_impls.models import tiny
from reference_impls.serving import Limits, Request, fcfs
from reference_impls.serving.bench_engine import model_of
from reference_impls.serving.engine import Config, Engine
from reference_impls.serving.kv_swap import Config as SpaceConfig

PROGRAMS, CALLS, SHARED, OWN, ANSWER = 3, 8, 256, 16, 8
"""Texts that calls share, calls of each, tokens of the shared text, of a call's own, and of an answer."""


@cache
def prompts() -> dict[int, Tensor]:
    """Held-out text; calls of the programs take turns."""
    text = tiny.heldout_tokens(PROGRAMS * SHARED + PROGRAMS * CALLS * OWN)
    own = text[PROGRAMS * SHARED :]
    found = {}
    for number in range(PROGRAMS * CALLS):
        start = number % PROGRAMS * SHARED
        found[number] = own.new_tensor([*text[start : start + SHARED], *own[number * OWN : (number + 1) * OWN]])
    return found


def engine_of(reuse: bool, device: str) -> Engine:
    """One with nothing known yet, and memory for all of it."""
    space = SpaceConfig(1024, 0, 16, "recompute")
    return Engine(
        model_of("tiny-target", device),
        prompts(),
        fcfs.Scheduler(),
        Config(space, Limits(4), reuse=reuse),
        time.perf_counter,
    )


def calls() -> list[Request]:
    """Every program calls when all have their answers; the engine's clock leaps over the time between."""
    return [Request(n, 1000.0 * (n // PROGRAMS), len(prompt), ANSWER) for n, prompt in prompts().items()]


def _prepare(reuse: bool) -> Step:
    def step() -> None:
        engine_of(reuse, "cpu").serve(calls())

    return step


def cases() -> list[Case]:
    """One case."""
    ways: dict[str, tuple[Role, bool]] = {"recompute": ("baseline", False), "radix-tree": ("method", True)}
    work: Workload = {
        "model": "tiny-target",
        "requests": PROGRAMS * CALLS,
        "shared_tokens": SHARED,
        "own_tokens": OWN,
        "new_tokens": ANSWER,
        "batch": 4,
        "dtype": "float32",
    }
    return [
        Case(
            id="serving/tiny-target/shared-prefix/throughput",
            title=f"Calls a second of {PROGRAMS} programs, {SHARED} of {SHARED + OWN} prompt tokens shared",
            metric="throughput",
            workload=work,
            implementations=tuple(
                Implementation(
                    name,
                    role,
                    "kernel",
                    lambda _work, _device, reuse=reuse: _prepare(reuse),  # type: ignore[misc]
                    module="engine" if reuse else None,
                    note=reused_share if reuse else "",
                )
                for name, (role, reuse) in ways.items()
            ),
            timed=True,
            amount=float(PROGRAMS * CALLS),
            no_limit="whole runs of an engine; the bound is the share of prompt tokens that need not be computed",
            devices=("cpu",),
        )
    ]


def reused_share() -> str:
    """What part of all prompt tokens was taken from the tree, in a run after the others."""
    engine = engine_of(True, "cpu")
    engine.serve(calls())
    asked = sum(map(len, prompts().values()))
    return f"{100 * engine.reused_tokens / asked:.0f} % of the prompts' tokens were known"

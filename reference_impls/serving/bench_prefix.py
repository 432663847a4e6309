"""A case of programs that begin alike: a real engine that computes each prompt, or takes the known part from a tree."""

from functools import cache, partial

from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.models import tiny
from reference_impls.serving import Limits, Request, fcfs
from reference_impls.serving.bench_clock import SteadyClock
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


def engine_of(reuse: bool, clock: SteadyClock) -> Engine:
    """One with nothing known yet, and memory for all of it."""
    config = Config(SpaceConfig(1024, 0, 16, "recompute"), Limits(4), reuse=reuse)
    engine = Engine(model_of("tiny-target", "cpu"), prompts(), fcfs.Scheduler(), config, clock)
    engine.server.observer = clock.look
    return engine


def calls() -> list[Request]:
    """Every program calls when all have their answers; the engine's clock leaps over the time between."""
    return [Request(n, 1000.0 * (n // PROGRAMS), len(prompt), ANSWER) for n, prompt in prompts().items()]


def _prepare(reuse: bool, work: Workload, device: str) -> Step:  # noqa: ARG001
    def step() -> float:
        """Calls a second of all iterations."""
        engine = engine_of(reuse, SteadyClock())
        engine.serve(calls())
        return len(prompts()) / sum(one.seconds for one in engine.measured)

    step()  # warm
    return step


def cases() -> list[Case]:
    """One case."""
    work: Workload = {
        "model": "tiny-target",
        "requests": PROGRAMS * CALLS,
        "shared_tokens": SHARED,
        "own_tokens": OWN,
        "new_tokens": ANSWER,
        "batch": 4,
        "dtype": "float32",
        "clock": "seconds of the process, at its usual pace",
    }
    return [
        Case(
            id="serving/tiny-target/shared-prefix/throughput",
            title=f"Calls a second of {PROGRAMS} programs, {SHARED} of {SHARED + OWN} prompt tokens shared",
            metric="throughput",
            workload=work,
            implementations=(
                Implementation("recompute", "baseline", "kernel", partial(_prepare, False)),
                Implementation(
                    "radix-tree", "method", "kernel", partial(_prepare, True), module="engine", note=reused_share
                ),
            ),
            timed=False,
            trials=6,
            no_limit="whole runs of an engine; the bound is the share of prompt tokens that need not be computed",
            devices=("cpu",),
        )
    ]


def reused_share() -> str:
    """What part of all prompt tokens was taken from the tree, in a run after the others."""
    engine = engine_of(True, SteadyClock())
    engine.serve(calls())
    asked = sum(map(len, prompts().values()))
    return f"{100 * engine.reused_tokens / asked:.0f} % of the prompts' tokens were known"

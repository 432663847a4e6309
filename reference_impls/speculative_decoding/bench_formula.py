"""The cases that test the formula of speculative decoding: guesses a round, measured and foretold; cost of checking.

speed-up = tau / (gamma c + 1 + v), tau = (1 - alpha ** (gamma + 1)) / (1 - alpha): gamma guesses a round, each right
with chance alpha; c = a draft step, v = what gamma tokens more add to a pass, both over a pass of one token.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.speculative_decoding import draft_model
from reference_impls.speculative_decoding.bench_recipes import Recipe
from reference_impls.speculative_decoding.bench_setups import (
    TINY,
    draft,
    plain_step,
    run,
    speculative_step,
    target,
)
from reference_impls.speculative_decoding.generate import Result
from reference_impls.speculative_decoding.oracle import expected_tokens

LENGTHS = (1, 2, 4, 8)
TRIALS = 10
VERIFIED = (2, 5, 9, 17, 33)
"""Tokens of a pass: a root and 1, 4, 8, 16 or 32 guesses."""


def cases() -> list[Case]:
    """Guesses a round, measured and foretold, and the cost of verification."""
    return [*_length_cases(), _verify_case()]


def _length_cases() -> list[Case]:
    return [
        _length_case("measured", "Speculative sampling by guesses a round", _measured, timed=True),
        _length_case("predicted", "The same, foretold from one step of each model", _predicted, timed=False),
    ]


def _length_recipe(length: int) -> Recipe:
    config = draft_model.Config(length)
    return Recipe(f"draft-model-{length}", "draft_model", lambda _: draft_model.Drafter(draft(), config))


_RECIPES = {length: _length_recipe(length) for length in LENGTHS}


def _length_case(what: str, title: str, prepare: Callable[..., Step], *, timed: bool) -> Case:
    ways = [
        Implementation(one.name, "method", "kernel", partial(prepare, length), module=one.module)
        for length, one in _RECIPES.items()
    ]
    return Case(
        id=f"speculative_decoding/guesses-a-round/{what}/decode_throughput",
        title=title,
        metric="decode_throughput",
        workload=dict(TINY.workload) | {"draft": "tiny-draft", "values": what},
        implementations=(Implementation("plain", "baseline", "kernel", partial(prepare, 0)), *ways),
        timed=timed,
        amount=float(TINY.tokens * TINY.count),
        no_limit="the case of all drafters has limits",
        devices=("cpu",),
        trials=1 if timed else TRIALS,
    )


def _measured(length: int, _workload: Workload, _device: str) -> Step:
    if not length:
        return plain_step(target(TINY.model), TINY)
    return speculative_step(target(TINY.model), _RECIPES[length].make(TINY), TINY)


def _predicted(length: int, _workload: Workload, _device: str) -> Step:
    """Tokens a second by tau / (gamma t_S + t_T (1 + v)), with all three times taken anew in every trial."""
    alpha = chain_acceptance(run(target(TINY.model), _RECIPES[max(LENGTHS)].make(TINY), TINY))
    verify, guess = pass_of(target(TINY.model), 1 + length), pass_of(draft(), 1)

    def step() -> float:
        seconds = seconds_of(verify) + (length * seconds_of(guess) if length else 0.0)
        return expected_tokens(alpha, length) / seconds

    return step


def chain_acceptance(results: list[Result]) -> float:
    """alpha of a chain: guesses accepted over guesses looked at, which end with the first wrong one."""
    rounds = [one for result in results for one in result.rounds]
    looked_at = sum(one.accepted + (one.accepted < one.drafted) for one in rounds)
    return sum(one.accepted for one in rounds) / looked_at


def seconds_of(step: Callable[[], object], repeats: int = 20) -> float:
    """Of a step, the mean."""
    start = perf_counter()
    for _ in range(repeats):
        step()
    return (perf_counter() - start) / repeats


# What a verified token costs beside the first.


def pass_of(model: Any, tokens: int) -> Step:
    """A pass over so many tokens behind 64 others."""
    cache_ = model.new_cache(1, 160)
    inputs: Tensor = torch.arange(128)[None]
    with torch.inference_mode():
        model.hidden_states(inputs[:, :64], cache_)

    def step() -> None:
        with torch.inference_mode():
            model.head(model.hidden_states(inputs[:, 64 : 64 + tokens], cache_))
        cache_.crop(64)

    return step


def _verify_case() -> Case:
    def prepare(tokens: int, _workload: Workload, _device: str) -> Step:
        return pass_of(target(TINY.model), tokens)

    ways = [
        Implementation(f"{tokens - 1}-guesses", "method", "kernel", partial(prepare, tokens), module="generate")
        for tokens in VERIFIED
    ]
    return Case(
        id="speculative_decoding/verification/step_time",
        title="A pass of the target over a root and its guesses",
        metric="step_time",
        workload={"model": TINY.model, "cached_tokens": 64, "batch": 1, "dtype": "float32"},
        implementations=(Implementation("no-guess", "baseline", "kernel", partial(prepare, 1)), *ways),
        timed=True,
        no_limit="the case of all drafters has limits",
        devices=("cpu",),
    )

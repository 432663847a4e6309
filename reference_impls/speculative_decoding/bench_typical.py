"""What typical acceptance buys and costs: Medusa's guesses judged exactly and by thresholds, on the tiny target."""

from collections.abc import Callable
from functools import cache, partial
from itertools import count
from math import exp

import torch

from reference_impls.measurement.case import Case, Implementation, Quality, Role, Step, Workload
from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import trained
from reference_impls.speculative_decoding.bench_setups import TINY, prompts, ready, run, target, tokens_per_pass
from reference_impls.speculative_decoding.typical import Config, typical

TRIALS = 5
EPSILONS = (0.3, 0.09, 0.01)
Texts = list[list[int]]
Made = tuple[float, Texts]
"""Tokens a pass of the target, and the new tokens of every prompt."""


def cases() -> list[Case]:
    """One case; its quality is how likely the target finds what was made, against what is drawn from it."""
    ways: list[tuple[str, Role, Callable[[int], Made], str]] = [
        ("plain", "baseline", _drawn, "drawn from the target token by token"),
        ("medusa", "method", _exact, "judged so that the text is the target's own"),
        *((f"typical-{one}", "method", partial(_typical, one), "lossy: thresholds, no draws") for one in EPSILONS),
    ]
    return [
        Case(
            id="speculative_decoding/tiny-target/typical/tokens_per_target_step",
            title="Tokens a pass of the target: Medusa's guesses judged exactly and by typical acceptance",
            metric="tokens_per_target_step",
            workload=dict(TINY.workload) | {"temperature": 1.0},
            implementations=tuple(
                Implementation(
                    name,
                    role,
                    "kernel",
                    partial(_trials, make),
                    quality=partial(_quality, make),
                    note=note,
                    module="typical" if name.startswith("typical") else None if role == "baseline" else "medusa",
                )
                for name, role, make, note in ways
            ),
            timed=False,
            lossy=True,
            no_limit="a property of models and text, not of the machine",
            devices=("cpu",),
            trials=TRIALS,
        )
    ]


def _trials(make: Callable[[int], Made], _workload: Workload, _device: str) -> Step:
    seeds = count()
    return lambda: make(next(seeds))[0]


def _quality(make: Callable[[int], Made], _workload: Workload, _device: str) -> Quality:
    """Of all seeds together."""
    return Quality("perplexity", perplexity([text for seed in range(TRIALS) for text in make(seed)[1]]))


@cache
def _drawn(seed: int) -> Made:
    generator, model = torch.Generator().manual_seed(seed), target(TINY.model)
    texts = []
    for prompt, held in zip(prompts(TINY), ready(model, TINY), strict=True):
        held.cache.crop(held.length)
        last = prompt[None, -1:]
        new = plain.generate(model, last, TINY.tokens, plain.Config(1.0), generator=generator, cache=held.cache)
        texts.append(new[0].tolist())
    return 1.0, texts


@cache
def _exact(seed: int) -> Made:
    model = target(TINY.model)
    results = run(model, trained.medusa_drafter(model), TINY, 1.0, seed)
    return tokens_per_pass(results), [one.tokens[0] for one in results]


@cache
def _typical(epsilon: float, _seed: int) -> Made:
    """The same at every seed: guesses are the heads' likeliest, and nothing is drawn."""
    model = target(TINY.model)
    results = run(model, trained.medusa_drafter(model), TINY, rule=typical(Config(epsilon)))
    return tokens_per_pass(results), [one.tokens[0] for one in results]


@torch.no_grad()
def perplexity(texts: Texts) -> float:
    """Of new tokens under the target, behind their prompts in turn. texts: for each prompt, again and again"""
    model, asked = target(TINY.model), prompts(TINY)
    total = 0.0
    for at, new in enumerate(texts):
        prompt = asked[at % len(asked)]
        whole = torch.cat([prompt, torch.tensor(new)])[None]
        scores = model(whole[:, :-1])[0, len(prompt) - 1 :].log_softmax(-1)
        total -= float(scores.gather(1, torch.tensor(new)[:, None]).sum())
    return exp(total / sum(map(len, texts)))

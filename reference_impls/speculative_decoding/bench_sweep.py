"""LLMCad against r, the ratio of a target's pass to a draft's step, from where it loses to where loading is all.

A wait stands for reading: the target computes in memory and then every pass is stretched to r draft steps, in which
drafting goes on. Where r is below what the models have by themselves, the draft's steps are stretched instead. The
streamed case of `bench_streamed` reads for real; here the axis is exact and the disk adds no noise.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.speculative_decoding import Drafter, draft_model, llmcad
from reference_impls.speculative_decoding.bench_contenders import TUNED
from reference_impls.speculative_decoding.bench_setups import Setup, draft, plain_step, speculative_step, target

SETUP = Setup("tiny-target", "free", tokens=16)
RATIOS = (2, 8, 30, 100, 200)
MAKERS: dict[str, Callable[[Any], Drafter]] = {
    "sp-8": lambda model: draft_model.Drafter(model, draft_model.Config(8)),
    "llmcad": llmcad.Drafter,
    "llmcad-tuned": lambda model: llmcad.Drafter(model, TUNED),
}
MODULES = {"sp-8": "draft_model"}


def cases() -> list[Case]:
    """One for each ratio; figures lay them along `pass_ratio`."""
    return [_case(ratio) for ratio in RATIOS]


class Paced:
    """A model whose passes last at least `seconds`; while one waits, `idle` is called until it returns False."""

    def __init__(self, model: Any, seconds: float) -> None:
        self.inner, self.seconds = model, seconds
        self.idle: Callable[[], bool] = lambda: False
        self.config, self.head, self.embedding, self.new_cache = (
            model.config,
            model.head,
            model.embedding,
            model.new_cache,
        )

    def hidden_states(self, *arguments: Any) -> Tensor:
        """As in `Decoder`."""
        start = time.perf_counter()
        states: Tensor = self.inner.hidden_states(*arguments)
        while time.perf_counter() - start < self.seconds and self.idle():
            pass
        time.sleep(max(0.0, self.seconds - (time.perf_counter() - start)))
        return states


def paces(ratio: float) -> tuple[float, float]:
    """Seconds at least -> of the target's pass, of the draft's step; their ratio is `ratio`."""
    step, single = own_seconds()
    return max(ratio * step, single), max(single / ratio, step)


@cache
def own_seconds() -> tuple[float, float]:
    """Of one token in memory -> through the draft, through the target."""
    return _seconds(draft()), _seconds(target("tiny-target"))


def _seconds(model: Any, repeats: int = 60) -> float:
    cache_, tokens = model.new_cache(1, 80), torch.zeros(1, 64, dtype=torch.long)
    found = []
    with torch.inference_mode():
        model.hidden_states(tokens, cache_)
        for _ in range(repeats):
            cache_.crop(64)
            start = time.perf_counter()
            model.head(model.hidden_states(tokens[:, :1], cache_))
            found.append(time.perf_counter() - start)
    return median(found)


def _case(ratio: int) -> Case:
    ways = [
        Implementation(
            name,
            "method" if name.startswith("llmcad") else "peer",
            "simulated",
            partial(_prepare, name),
            module=MODULES.get(name, "llmcad"),
        )
        for name in MAKERS
    ]
    return Case(
        id=f"speculative_decoding/llmcad/r-{ratio}/decode_throughput",
        title=f"A pass of the target takes {ratio} steps of the draft",
        metric="decode_throughput",
        workload={name: value for name, value in SETUP.workload.items() if name != "batch"}
        | {"draft": "tiny-draft", "storage": "a wait stands for reading", "pass_ratio": ratio},
        implementations=(Implementation("std", "baseline", "simulated", partial(_prepare, "std")), *ways),
        timed=True,
        amount=float(SETUP.tokens),
        no_limit="1 + accepted guesses a pass over the time of a pass, which is set here",
        devices=("cpu",),
    )


def _prepare(name: str, workload: Workload, _device: str) -> Step:
    slow, quick = paces(float(workload["pass_ratio"] or 1))
    model = Paced(target("tiny-target"), slow)
    if name == "std":
        return plain_step(model, SETUP)
    drafter = MAKERS[name](Paced(draft(), quick))
    model.idle = getattr(drafter, "meanwhile", model.idle)
    return speculative_step(model, drafter, SETUP)

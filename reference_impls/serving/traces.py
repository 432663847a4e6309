"""Traces by seed: when requests come, how long they are.

Paper: none; the shapes follow what is published about ShareGPT conversations, Azure's traces and Zipf-distributed text.
Idea: policies differ in what they make of long tails, bursts and mixtures, so each of these is a generator.
Symbols: nothing.
Simplified: prompt and output are drawn independently; real ones are correlated.
Differs: parameters are round numbers near published medians, not fits: say "ShareGPT-like".
Cost: nothing to speak of.
Checked against: medians, shares and rates of the formulas.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_impls.serving import Request

Ints = NDArray[np.int64]
Lengths = Callable[[np.random.Generator, int], tuple[Ints, Ints]]
"""(source of chance, how many) -> prompt and output lengths."""

MAX_PROMPT, MAX_OUTPUT = 1024, 1024


def conversation(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """ShareGPT-like: lognormal, medians of 64 tokens in and 160 out, long tails on both sides."""
    return _lognormal(rng, count, 64, 1.4, MAX_PROMPT), _lognormal(rng, count, 160, 1.1, MAX_OUTPUT)


def zipf(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Zipf's law with exponent 0.9 on output lengths of 1 to 1,024 and prompts of 1 to 512: most are very short."""
    return _zipf(rng, count, 512), _zipf(rng, count, MAX_OUTPUT)


def bimodal(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Nine short questions for each long report: 16 and 1,024 tokens out, 32 in."""
    output = np.where(rng.random(count) < 0.1, 1024, 16)
    return np.full(count, 32), output


def instructions(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Alpaca-like: lognormal, medians of 16 tokens in and 35 out, so means of some 19 and 58, as vLLM's paper has."""
    return _lognormal(rng, count, 16, 0.6, MAX_PROMPT), _lognormal(rng, count, 35, 1.0, MAX_OUTPUT)


def long_prompts(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Summaries: 64 times as much in as out, or more."""
    return _lognormal(rng, count, 700, 0.5, MAX_PROMPT), _lognormal(rng, count, 8, 0.6, 16)


def long_both(rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
    """Documents and what is written about them: medians of 500 tokens in and 100 out."""
    return _lognormal(rng, count, 500, 0.6, MAX_PROMPT), _lognormal(rng, count, 100, 0.7, MAX_OUTPUT)


def _lognormal(rng: np.random.Generator, count: int, median: float, sigma: float, most: int) -> Ints:
    return np.clip(np.rint(rng.lognormal(np.log(median), sigma, count)), 1, most).astype(np.int64)


def _zipf(rng: np.random.Generator, count: int, most: int, exponent: float = 0.9) -> Ints:
    weights = np.arange(1, most + 1) ** -exponent
    return rng.choice(np.arange(1, most + 1), count, p=weights / weights.sum())


def poisson(rng: np.random.Generator, count: int, rate_per_s: float) -> NDArray[np.float64]:
    """Arrival times of a Poisson process. -> (count,), rising from the first gap on"""
    return rng.exponential(1 / rate_per_s, count).cumsum()


def bursts(
    rng: np.random.Generator, count: int, rate_per_s: float, quiet_s: float = 40.0, burst_s: float = 10.0
) -> NDArray[np.float64]:
    """Azure-style: the same mean rate, in bursts of three times the rate and quiet half as busy. -> (count,)

    Time is stretched: a unit-rate Poisson process is mapped through the inverse of the summed rate.
    """
    marks = rng.exponential(1.0, count).cumsum()
    span = quiet_s + burst_s
    quiet = 0.5 * rate_per_s  # 40 s at half the rate and 10 s at three times give 0.4 + 0.6 = 1 with the defaults
    loud = (rate_per_s * span - quiet * quiet_s) / burst_s
    whole, rest = np.divmod(marks, rate_per_s * span)
    inside = np.where(rest < quiet * quiet_s, rest / quiet, quiet_s + (rest - quiet * quiet_s) / loud)
    return np.asarray(whole * span + inside)


LENGTHS: dict[str, Lengths] = {
    "bimodal": bimodal,
    "conversation": conversation,
    "instructions": instructions,
    "long-prompts": long_prompts,
    "long-prompts-and-answers": long_both,
    "zipf": zipf,
}


@dataclass(frozen=True)
class Config:
    """A trace. arrivals: "poisson", "bursts", or "together" (all at 0)."""

    lengths: str = "conversation"
    count: int = 1000
    rate_per_s: float = 1.0
    arrivals: str = "poisson"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.lengths not in LENGTHS:
            raise ValueError(f"lengths must be one of {', '.join(LENGTHS)}, got {self.lengths!r}")
        if self.arrivals not in ("poisson", "bursts", "together"):
            raise ValueError(f"arrivals must be poisson, bursts or together, got {self.arrivals!r}")
        if self.count < 1 or self.rate_per_s <= 0:
            raise ValueError(f"count and rate_per_s must be above 0, got {self.count} and {self.rate_per_s}")


def generate(config: Config) -> list[Request]:
    """The requests of a trace, in the order of arrival; the same for the same config.

    Lengths do not depend on the rate, so that loads compare the same requests.
    """
    lengths_rng, arrivals_rng = np.random.default_rng([config.seed, 0]), np.random.default_rng([config.seed, 1])
    prompts, outputs = LENGTHS[config.lengths](lengths_rng, config.count)
    times: Any = np.zeros(config.count)
    if config.arrivals != "together":
        draw = poisson if config.arrivals == "poisson" else bursts
        times = draw(arrivals_rng, config.count, config.rate_per_s)
    rows = zip(times, prompts, outputs, strict=True)
    return [Request(n, float(at), int(prompt), int(output)) for n, (at, prompt, output) in enumerate(rows)]


def at_rate(requests: list[Request], rate_per_s: float) -> list[Request]:
    """The same requests, their times stretched to another mean rate."""
    last = max(one.arrival_s for one in requests)
    stretch = len(requests) / rate_per_s / last if last > 0 else 1.0
    return [replace(one, arrival_s=one.arrival_s * stretch) for one in requests]

"""What an iteration costs, from what is in it; fitted to iterations that were measured.

Paper: arXiv 2305.05920 (FastServe), section 4.1 (iteration times are profiled beforehand); 2405.05465 (Vidur).
Idea: a pass of the model reads the weights once, multiplies every prompt token, looks from every prompt token at all
    before it, and reads every cached token of those that decode.
Symbols: t = a + b * prefill_tokens + c * decoders + d * kv_tokens + e * pairs + f * (passes - 1), and what so many
    decoders take beyond that line: a product of three rows can be slower than one of four.
Simplified: the coefficients hold for the lengths and batches they were fitted to.
Differs: FastServe interpolates between profiled prompt lengths; `profiled` does that, and an engine takes it in
    the place of the fit.
Cost: some small least-squares problems.
Checked against: coefficients and steps that made the data; scipy's nnls; the error on iterations held out; a few odd
    iterations do not move the fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
COEFFICIENTS = 6
ROUNDS = 20
"""Of weighing anew in `_line`."""
TURNS = 4
"""In which `fit` finds the line, and what goes beyond it."""
FEW = 10
"""So many steps of a number of decoders move it halfway from the line to their median."""


@dataclass(frozen=True)
class CostModel:
    """Seconds of an iteration; the defaults are those of a large model on a data-centre GPU, assumed, not measured.

    a: fixed; b: a prompt token; c: a decoding member; d: a cached token that is read; e: a pair of a prompt's token and
    one before it; f: another pass of the model, where prompts have passes of their own; beyond: of one decoder, two,
    and so on, what an iteration takes beyond all these, or below them.
    """

    a: float = 0.025
    b: float = 0.00012
    c: float = 0.0004
    d: float = 0.0
    e: float = 0.0
    f: float = 0.0
    beyond: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if min(self.a, self.b, self.c, self.d, self.e, self.f) < 0 or self.a + self.b + self.c <= 0:
            raise ValueError(f"costs must be 0 or more, and not all 0, got {self}")
        if any(self.a + self.c * n + more <= 0 for n, more in enumerate(self.beyond, 1)):
            raise ValueError(f"an iteration must take some time for any number of decoders, got {self}")

    def seconds(
        self, prefill_tokens: float, decoders: int, kv_tokens: float, pairs: float = 0, passes: float = 1
    ) -> float:
        """One iteration."""
        decode = self.c * decoders + self.d * kv_tokens
        if 0 < decoders <= len(self.beyond):
            decode += self.beyond[decoders - 1]
        return self.a + self.b * prefill_tokens + decode + self.e * pairs + self.f * (passes - 1)

    def prefill_s(self, tokens: int) -> float:
        """An iteration of one job that passes so many tokens."""
        return self.seconds(tokens, 0, 0, tokens * (tokens + 1) / 2) if tokens > 1 else self.seconds(0, 1, 0)


@dataclass(frozen=True)
class Iteration:
    """One measured iteration; for pairs and passes see `Batch`."""

    prefill_tokens: int
    decoders: int
    kv_tokens: int
    seconds: float
    pairs: int = 0
    passes: int = 1


def features(measured: Sequence[Iteration]) -> Array:
    """-> (n, 6): what a, b, ... are multiplied by."""
    return np.array(
        [(1, one.prefill_tokens, one.decoders, one.kv_tokens, one.pairs, one.passes - 1) for one in measured],
        float,
    )


def fit(measured: Sequence[Iteration]) -> CostModel:
    """The non-negative coefficients with the least sum of relative errors, and what steps of n decoders take beyond.

    Each is found with the other taken off, a few times in turn.
    """
    if len(measured) < COEFFICIENTS:
        raise ValueError(f"{COEFFICIENTS} coefficients need at least as many iterations, got {len(measured)}")
    rows, seconds = features(measured), np.array([one.seconds for one in measured])
    decoders = np.array([one.decoders for one in measured])
    steps = np.array([not one.prefill_tokens for one in measured])
    beyond = np.zeros(decoders.max() + 1)
    for _ in range(TURNS):
        line = _line(rows, np.maximum(seconds - beyond[decoders], seconds / 2))
        left = seconds - rows @ line
        for n in range(1, len(beyond)):
            own = left[steps & (decoders == n)]
            least = -(line[0] + line[2] * n) / 2  # a step never falls below half the line
            beyond[n] = max(float(np.median(own)) * len(own) / (len(own) + FEW), least) if len(own) else 0
    a, b, c, d, e, f = map(float, line)
    return CostModel(a, b, c, d, e, f, tuple(map(float, beyond[1:])))


def _line(rows: Array, seconds: Array) -> Array:
    """The coefficients alone. rows: (n, 6); seconds: (n,) -> (6,)

    Least squares, weighed anew by one over each error until the sum of squares is that of the errors themselves: what
    a few odd iterations took then counts little.
    """
    relative = rows / seconds[:, None]  # or a few long prompts would decide everything
    scale = np.maximum(np.abs(relative).max(0), 1e-300)
    scaled, weights = relative / scale, np.ones(len(seconds))
    for _ in range(ROUNDS):
        found = non_negative(scaled * weights[:, None], weights)
        weights = np.maximum(np.abs(scaled @ found - 1), 0.01) ** -0.5
    line: Array = found / scale
    return line


def non_negative(rows: Array, values: Array) -> Array:
    """Least squares with x >= 0, by trying every set of coefficients that may be above zero: right for a handful.

    rows: (n, k), values: (n,) -> (k,)
    """
    width = rows.shape[1]
    best, least = np.zeros(width), float(values @ values)
    for chosen in range(1, 2**width):
        columns = [column for column in range(width) if chosen >> column & 1]
        found = np.linalg.lstsq(rows[:, columns], values, rcond=None)[0]
        left = float(((rows[:, columns] @ found - values) ** 2).sum())
        if found.min() >= 0 and left < least:
            best, least = np.zeros(width), left
            best[columns] = found
    return best


def relative_errors(model: CostModel, held_out: Sequence[Iteration]) -> Array:
    """|predicted - measured| / measured of each iteration. -> (n,)"""
    found = [
        abs(model.seconds(one.prefill_tokens, one.decoders, one.kv_tokens, one.pairs, one.passes) / one.seconds - 1)
        for one in held_out
    ]
    return np.array(found)


def profiled(measured: Sequence[Iteration]) -> Callable[[int], float]:
    """Prompt length -> seconds, from the medians of iterations that passed one whole prompt and nothing else."""
    found: dict[int, list[float]] = {}
    for one in measured:
        if one.prefill_tokens and not one.decoders and not one.kv_tokens and one.passes == 1:
            found.setdefault(one.prefill_tokens, []).append(one.seconds)
    lengths = sorted(found)
    return interpolated(lengths, [float(np.median(found[length])) for length in lengths])


def interpolated(lengths: Sequence[int], seconds: Sequence[float]) -> Callable[[int], float]:
    """Prompt length -> seconds, on straight lines between profiled lengths and level beyond them."""
    if len(lengths) != len(seconds) or not lengths or any(a >= b for a, b in pairwise(lengths)):
        raise ValueError("lengths must rise, with one time for each")
    return lambda tokens: float(np.interp(tokens, lengths, seconds))

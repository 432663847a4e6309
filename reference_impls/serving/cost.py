"""What an iteration costs, from what is in it; fitted to iterations that were measured.

Paper: arXiv 2305.05920 (FastServe), section 4.1 (iteration times are profiled beforehand); 2405.05465 (Vidur).
Idea: an iteration reads the weights once, multiplies every prompt token, and reads every cached token.
Symbols: t = a + b * prefill_tokens + c * decoders + d * kv_tokens.
Simplified: attention within a prompt, quadratic in its length, is taken as linear; the coefficients hold for the
    lengths and batches they were fitted to.
Differs: FastServe interpolates between profiled prompt lengths; `interpolated` does that.
Cost: one small least-squares problem.
Checked against: coefficients that made the data; scipy's nnls; the error on iterations held out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CostModel:
    """Seconds of an iteration; the defaults are those of a large model on a data-centre GPU, assumed, not measured.

    a: fixed; b: a prompt token; c: a decoding member; d: a cached token that is read.
    """

    a: float = 0.025
    b: float = 0.00012
    c: float = 0.0004
    d: float = 0.0

    def __post_init__(self) -> None:
        if min(self.a, self.b, self.c, self.d) < 0 or self.a + self.b + self.c <= 0:
            raise ValueError(f"costs must be 0 or more, and not all 0, got {self}")

    def seconds(self, prefill_tokens: float, decoders: float, kv_tokens: float) -> float:
        """One iteration."""
        return self.a + self.b * prefill_tokens + self.c * decoders + self.d * kv_tokens

    def prefill_s(self, tokens: int) -> float:
        """An iteration of one job that passes so many tokens."""
        return self.a + (self.b * tokens if tokens > 1 else self.c)


@dataclass(frozen=True)
class Iteration:
    """One measured iteration."""

    prefill_tokens: int
    decoders: int
    kv_tokens: int
    seconds: float


def fit(measured: Sequence[Iteration]) -> CostModel:
    """The non-negative coefficients with the least squared relative error."""
    if len(measured) < 4:
        raise ValueError(f"four coefficients need at least four iterations, got {len(measured)}")
    rows = np.array([(1, one.prefill_tokens, one.decoders, one.kv_tokens) for one in measured], float)
    seconds = np.array([one.seconds for one in measured])
    weighted = rows / seconds[:, None]  # relative errors, or a few long prompts would decide everything
    scale = np.maximum(np.abs(weighted).max(0), 1e-300)
    return CostModel(*(float(x) for x in non_negative(weighted / scale, np.ones(len(rows))) / scale))


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
        abs(model.seconds(one.prefill_tokens, one.decoders, one.kv_tokens) - one.seconds) / one.seconds
        for one in held_out
    ]
    return np.array(found)


def interpolated(lengths: Sequence[int], seconds: Sequence[float]) -> Callable[[int], float]:
    """Prompt length -> seconds, on straight lines between profiled lengths and level beyond them."""
    if len(lengths) != len(seconds) or not lengths or any(a >= b for a, b in pairwise(lengths)):
        raise ValueError("lengths must rise, with one time for each")
    return lambda tokens: float(np.interp(tokens, lengths, seconds))

"""The Shapiro-Wilk test, which decides whether a sample may be called normal.

The statistic W is the squared correlation of the sorted runs with weights near the expected normal order statistics.
Weights and the p-value's normal approximation follow Royston (1995, algorithm AS R94), for 3 to 5000 runs; the
published constants are his fitted polynomials. Tested against `scipy.stats.shapiro`.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NORMAL = NormalDist()

# polynomials, constant term first
OUTERMOST = (0.0, 0.221157, -0.147981, -2.07119, 4.434685, -2.706056)  # in 1 / sqrt(n)
SECOND = (0.0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)  # in 1 / sqrt(n)
SMALL_LIMIT = (-2.273, 0.459)  # in n, up to 11 runs
SMALL_MEAN = (0.544, -0.39978, 0.025054, -6.714e-4)  # in n
SMALL_LOG_SPREAD = (1.3822, -0.77857, 0.062767, -0.0020322)  # in n
LARGE_MEAN = (-1.5861, -0.31082, -0.083751, 0.0038915)  # in log n
LARGE_LOG_SPREAD = (-0.4803, -0.082676, 0.0030302)  # in log n


def polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """Horner's scheme."""
    total = 0.0
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def weights(n: int) -> Array:
    """-> (runs,): antisymmetric, of unit length; the ends are fitted, the rest are scaled normal scores."""
    if n == 3:
        return np.array([-math.sqrt(0.5), 0.0, math.sqrt(0.5)])
    scores = np.array([NORMAL.inv_cdf((i - 0.375) / (n + 0.25)) for i in range(1, n + 1)])
    power = float(scores @ scores)
    fitted = [OUTERMOST] if n <= 5 else [OUTERMOST, SECOND]
    ends = [scores[-1 - i] / math.sqrt(power) + polynomial(fit, n**-0.5) for i, fit in enumerate(fitted)]
    left = power - 2 * sum(float(scores[-1 - i]) ** 2 for i in range(len(ends)))
    result: Array = scores / math.sqrt(left / (1 - 2 * sum(end**2 for end in ends)))
    for i, end in enumerate(ends):
        result[-1 - i], result[i] = end, -end
    return result


def p_value(w: float, n: int) -> float:
    """Probability of a W as small or smaller from normal runs."""
    if n == 3:
        return max(0.0, 6 / math.pi * (math.asin(math.sqrt(w)) - math.asin(math.sqrt(0.75))))
    distance = math.log(max(1 - w, 1e-300))
    if n <= 11:
        limit = polynomial(SMALL_LIMIT, n)
        if distance >= limit:
            return 0.0
        distance = -math.log(limit - distance)
        mean, log_spread = polynomial(SMALL_MEAN, n), polynomial(SMALL_LOG_SPREAD, n)
    else:
        mean, log_spread = polynomial(LARGE_MEAN, math.log(n)), polynomial(LARGE_LOG_SPREAD, math.log(n))
    return 1 - NORMAL.cdf((distance - mean) / math.exp(log_spread))


def shapiro_wilk(samples: Array) -> tuple[float, float] | None:
    """-> W and its p-value; None for a constant sample or a number of runs outside 3 to 5000.

    samples: (runs,)
    """
    n = len(samples)
    if not 3 <= n <= 5000 or np.ptp(samples) == 0:
        return None
    ordered = np.sort(samples) - samples.mean()
    w = min(1.0, float(weights(n) @ ordered) ** 2 / float(ordered @ ordered))
    return w, p_value(w, n)

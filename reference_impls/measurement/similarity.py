"""How alike two samples are: the accuracy measure of SuperFlow's evaluation, and "credible at p".

Paper: arXiv 2306.01620 v1; the measure as in the released evaluation code.
Idea: smooth both samples with Gaussian kernels and turn the symmetric divergence of the densities into a share,
    2 ** -(KL(P||Q) + KL(Q||P)), so that 1 is the same distribution.
Symbols: P, Q = the two densities, KL = Kullback-Leibler divergence in bits, m = a sample percentile.
Simplified: nothing.
Differs: a constant sample has no kernel width; two equal constants are alike (1), any other pair with one is not (0),
    where the released code fails. Credible counts the ends of the interval in, so that ties cannot make it false.
Cost: 1000 kernel sums a density, O(1000 n).
Checked against: `scipy.stats.gaussian_kde`, and a hand-worked pair of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reference_impls.measurement.intervals import percentile_ci

Array = NDArray[np.float64]
CELLS = 1000


def kernel_density(samples: Array, at: Array) -> Array:
    """Gaussian kernels of Scott's width, n ** -1/5 standard deviations.

    samples: (runs,); at: (points,) -> (points,)
    """
    width = samples.std(ddof=1) * len(samples) ** -0.2
    density = np.zeros_like(at)
    for part in np.array_split(samples, max(1, len(samples) // 256)):  # bounds the memory at 256 x points
        density += np.exp(-(((at[:, None] - part) / width) ** 2) / 2).sum(axis=1)
    scaled: Array = density / (len(samples) * width * np.sqrt(2 * np.pi))
    return scaled


def similarity(one: ArrayLike, other: ArrayLike) -> float:
    """From 0 (nothing in common, or a density that underflows somewhere) to 1 (the same).

    one: (runs,); other: (other runs,); two runs at least in each
    """
    p_samples, q_samples = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if min(len(p_samples), len(q_samples)) < 2:
        raise ValueError(f"similarity needs two runs of each, got {len(p_samples)} and {len(q_samples)}")
    if any(np.ptp(samples) == 0 or samples.std() == 0 for samples in (p_samples, q_samples)):  # 0 / 0 to the kernels
        return float(np.ptp(np.concatenate([p_samples, q_samples])) == 0)
    low = min(p_samples.min(), q_samples.min())
    cell = (max(p_samples.max(), q_samples.max()) - low) / CELLS
    at = low + cell * np.arange(1, CELLS + 1)
    p, q = kernel_density(p_samples, at), kernel_density(q_samples, at)
    if (p == 0).any() or (q == 0).any():
        return 0.0
    both_ways = float(((p - q) * (np.log2(p) - np.log2(q))).sum() * cell)  # KL(P||Q) + KL(Q||P) in one sum
    return float(2**-both_ways)


def credible(sample: ArrayLike, truth: ArrayLike, percentile: float, confidence: float = 0.95) -> bool:
    """Whether the sample's percentile lies in the truth's interval for it.

    sample: (runs,); truth: (many runs,)
    """
    interval = percentile_ci(np.asarray(truth, dtype=np.float64), percentile, confidence)
    if interval is None:
        raise ValueError(f"percentile {percentile:g} of {np.size(truth)} runs has no interval: the truth is too short")
    return bool(interval[0] <= np.percentile(np.asarray(sample), percentile) <= interval[1])

from math import ceil, comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.measurement.intervals import (
    block_length,
    bootstrap_ci,
    order_statistic_ci,
    percentile_ci,
    ranks,
    resample,
    sorted_percentile,
)
from tests.measurement.series import correlated, normal

SHARES = (0.25, 0.5, 0.75, 0.9)


def coverage(n, share, low, high):
    """Brute force: the percentile lies between two order statistics when low .. high - 1 runs are below it."""
    return sum(comb(n, below) * share**below * (1 - share) ** (n - below) for below in range(low, high))


def test_ranks_of_the_textbook_example():
    assert ranks(100, 0.5) == (40, 61)  # 50 -+ 1.96 * 5 = 40.2 and 59.8, plus 1 = 60.8
    assert order_statistic_ci(range(1, 101), 0.5) == (40, 61)
    assert ranks(16, 0.25) == (1, 8)  # 4 -+ 3.39: 0.61 and 8.39
    assert ranks(15, 0.25) is None  # 3.75 - 3.29 rounds to 0
    assert ranks(16, 0.75) == (9, 16)  # 12 -+ 3.39: 8.61 and 16.39
    assert ranks(15, 0.75) is None


@pytest.mark.parametrize("share", SHARES)
def test_ranks_cover_the_percentile_as_promised(share):
    found = {n: coverage(n, share, *ranks(n, share)) for n in range(10, 401) if ranks(n, share)}
    assert len(found) > 350
    assert min(found.values()) >= 0.95
    assert max(found.values()) < 0.989  # a binomial of few runs cannot do 0.95 exactly, and errs on the wide side
    assert max(value for n, value in found.items() if n > 75) <= 0.98
    assert 0.955 < np.mean(list(found.values())) < 0.965


@pytest.mark.parametrize("share", SHARES)
def test_the_released_shift_by_one_place_covers_less(share):
    defined = [n for n in range(10, 401) if ranks(n, share)]
    right = [coverage(n, share, *ranks(n, share)) for n in defined]
    shifted = [coverage(n, share, ranks(n, share)[0] + 1, ranks(n, share)[1] + 1) for n in defined]
    assert min(shifted) < 0.93 < 0.95 <= min(right)
    assert np.mean(shifted) < np.mean(right)


@pytest.mark.parametrize("share", SHARES)
def test_ranks_mirror_each_other(share):
    for n in range(1, 200):
        here, there = ranks(n, share), ranks(n, 1 - share)
        assert (here is None) == (there is None)
        if here:
            assert here == (n + 1 - there[1], n + 1 - there[0])


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_sorted_percentile_is_numpys(values, share):
    assert sorted_percentile(sorted(values), share) == pytest.approx(np.quantile(values, share), rel=1e-9, abs=1e-9)


def test_blocks_of_one_are_the_plain_bootstrap_and_long_ones_keep_neighbours():
    samples, rng = np.arange(100.0), np.random.default_rng(0)
    plain, blocks = resample(samples, 50, rng), resample(samples, 50, rng, 7)
    assert plain.shape == blocks.shape == (50, 100)
    steps = np.diff(blocks, axis=1).reshape(-1)
    assert np.mean(steps == 1) > 0.85  # 6 of 7 steps stay inside a block
    assert np.mean(np.diff(plain, axis=1) == 1) < 0.05


def test_every_position_can_begin_a_block():
    starts = resample(np.arange(10.0), 2000, np.random.default_rng(0), 4)[:, 0]
    assert set(starts) == set(range(7))  # 10 - 4 + 1 blocks: the released code leaves the last one out


def test_bootstrap_interval_of_a_hand_made_draw():
    draws = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    assert bootstrap_ci(draws, [0.5], confidence=0.5) == [(1.5, 2.5)]  # quartiles of the medians 1, 2, 3


@pytest.mark.parametrize("kind", ["bootstrap", "block_bootstrap"])
def test_bootstrap_agrees_with_order_statistics_on_independent_runs(kind):
    samples = normal(np.random.default_rng(1), 400)
    general = percentile_ci(samples, 50)
    drawn = percentile_ci(samples, 50, kind=kind, rng=np.random.default_rng(2))
    assert drawn == pytest.approx(general, abs=0.004)  # a quarter of the width is 0.0031


def test_bootstrap_needs_a_generator():
    with pytest.raises(ValueError, match="pass rng"):
        percentile_ci([1.0, 2.0], 50, kind="bootstrap")


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
def test_block_length_is_near_the_theoretical_optimum_of_an_autoregression(rho):
    n = 4000
    optimum = (1.5 * (2 * rho / (1 - rho**2)) ** 2 * n) ** (1 / 3)
    lengths = [block_length(correlated(np.random.default_rng(seed), n, rho)) for seed in range(9)]
    assert 0.75 * optimum < np.median(lengths) < 1.25 * optimum


def test_block_length_grows_with_the_correlation_and_is_1_where_nothing_can_be_told():
    rng = np.random.default_rng(3)
    independent = np.median([block_length(normal(rng, 500)) for _ in range(9)])
    dependent = np.median([block_length(correlated(rng, 500, 0.8)) for _ in range(9)])
    assert independent <= 4 < 12 < dependent
    assert block_length(np.ones(100)) == block_length(np.array([1.0, 2.0])) == 1


@given(st.integers(8, 200), st.integers(0, 9))
def test_block_length_stays_within_the_sample(n, seed):
    assert 1 <= block_length(np.cumsum(np.random.default_rng(seed).normal(size=n))) <= ceil(n / 3)


def test_block_bootstrap_is_wider_on_correlated_runs():
    samples = correlated(np.random.default_rng(4), 400, 0.8)
    widths = {
        kind: np.ptp(percentile_ci(samples, 50, kind=kind, rng=np.random.default_rng(0)))
        for kind in ("bootstrap", "block_bootstrap")
    }
    assert widths["block_bootstrap"] > 1.5 * widths["bootstrap"]

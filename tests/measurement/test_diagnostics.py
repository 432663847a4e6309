import numpy as np
import pytest

from reference_impls.measurement.diagnostics import (
    average_ranks,
    correlated,
    half_difference_p,
    half_shift,
    lag1_correlation,
)
from tests.measurement.series import correlated as draw_correlated
from tests.measurement.series import normal


def test_lag1_of_tiny_series():
    assert lag1_correlation(np.array([1.0, 2.0, 3.0])) == 0  # (-1)(0) + (0)(1)
    assert lag1_correlation(np.array([1.0, -1.0, 1.0, -1.0])) == -0.75
    assert lag1_correlation(np.full(30, 0.1)) == 0  # although the mean of these is not 0.1 in the last digit


def test_lag1_finds_the_correlation_of_an_autoregression():
    assert lag1_correlation(draw_correlated(np.random.default_rng(0), 20_000, 0.6)) == pytest.approx(0.6, abs=0.02)


def test_few_independent_runs_are_not_called_correlated():
    rng = np.random.default_rng(1)
    assert np.mean([correlated(normal(rng, 25), 0.2) for _ in range(400)]) < 0.08
    assert correlated(draw_correlated(rng, 500, 0.6), 0.2)


def test_half_shift_of_tiny_series():
    assert half_shift(np.array([2.0, 2, 9, 3, 3])) == 0.5  # the middle run is left out
    assert np.isnan(half_shift(np.array([0.0, 1.0])))


def test_equal_values_share_their_rank():
    assert average_ranks(np.array([5.0, 1, 5, 2])).tolist() == [3.5, 1, 3.5, 2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rounded", [None, 2])
def test_half_difference_is_the_rank_sum_test(seed, rounded):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    samples = rng.normal(1, 0.05, 60) + np.linspace(0, 0.05, 60)
    samples = samples if rounded is None else samples.round(rounded)
    expected = stats.mannwhitneyu(samples[:30], samples[30:], method="asymptotic").pvalue
    assert half_difference_p(samples) == pytest.approx(expected, rel=1e-9)


def test_halves_of_a_constant_do_not_differ():
    assert half_difference_p(np.ones(40)) == 1

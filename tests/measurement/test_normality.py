import numpy as np
import pytest

from reference_impls.measurement.normality import shapiro_wilk, weights


@pytest.mark.parametrize("n", [3, 4, 5, 6, 11, 12, 50, 1000])
@pytest.mark.parametrize("shape", ["normal", "lognormal", "uniform"])
def test_as_scipy(n, shape):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(n)
    samples = {"normal": rng.normal(5, 1, n), "lognormal": rng.lognormal(0, 1, n), "uniform": rng.random(n)}[shape]
    expected = stats.shapiro(samples)
    w, p = shapiro_wilk(samples)
    assert w == pytest.approx(expected.statistic, abs=2e-5)  # scipy keeps the weights in single precision
    assert p == pytest.approx(expected.pvalue, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 50])
def test_weights_are_antisymmetric_and_of_unit_length(n):
    found = weights(n)
    assert found == pytest.approx(-found[::-1])
    assert found @ found == pytest.approx(1)


def test_three_runs_worked_by_hand():
    # 1, 2, 3 are the expected scores themselves: W = 1, p = 6/pi (asin 1 - asin sqrt 0.75) = 1
    assert shapiro_wilk(np.array([1.0, 2.0, 3.0])) == pytest.approx((1, 1))


def test_does_not_see_scale_shift_or_order():
    samples = np.random.default_rng(0).lognormal(0, 1, 30)
    assert shapiro_wilk(7 * samples[::-1] + 3) == pytest.approx(shapiro_wilk(samples))


def test_what_cannot_be_tested():
    assert shapiro_wilk(np.ones(10)) is None
    assert shapiro_wilk(np.array([1.0, 2.0])) is None

from math import exp, log2, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.measurement.similarity import credible, kernel_density, similarity
from tests.measurement.series import normal


def test_a_density_worked_by_hand():
    # 0 and 2: sd sqrt(2), width sqrt(2) / 2**0.2 = 1.2311; at 1 both kernels are one unit away
    width = sqrt(2) / 2**0.2
    expected = exp(-1 / (2 * width**2)) / (width * sqrt(2 * pi))
    assert kernel_density(np.array([0.0, 2.0]), np.array([1.0])) == pytest.approx([expected])
    assert expected == pytest.approx(0.23297, abs=1e-4)


def test_similarity_is_the_formula_term_by_term():
    one, other = np.array([1.0, 2.0, 4.0]), np.array([1.5, 3.0])
    cell = 3 / 1000
    at = np.array([1 + cell * i for i in range(1, 1001)])
    p, q = kernel_density(one, at), kernel_density(other, at)
    forth = sum(a * log2(a / b) * cell for a, b in zip(p, q, strict=True))
    back = sum(b * log2(b / a) * cell for a, b in zip(p, q, strict=True))
    assert similarity(one, other) == pytest.approx(2 ** -(forth + back), rel=1e-9)


@pytest.mark.parametrize("n", [5, 300, 1000])
def test_density_is_scipys(n):
    stats = pytest.importorskip("scipy.stats")
    samples, at = normal(np.random.default_rng(0), n), np.linspace(0.8, 1.2, 50)
    assert kernel_density(samples, at) == pytest.approx(stats.gaussian_kde(samples)(at), rel=1e-9)


def test_two_normals_are_as_alike_as_theory_says():
    # KL of equal-width normals a distance d apart is d**2 / (2 s**2) nats each way; kernels widen s**2 by n**-0.4
    rng = np.random.default_rng(1)
    one, other = rng.normal(0, 1, 4000), rng.normal(0.5, 1, 4000)
    assert similarity(one, other) == pytest.approx(exp(-0.25 / (1 + 4000**-0.4)), abs=0.03)


@given(st.lists(st.floats(0.5, 2), min_size=3, max_size=30), st.lists(st.floats(0.5, 2), min_size=3, max_size=30))
def test_symmetric_and_a_share(one, other):
    forth, back = similarity(one, other), similarity(other, one)
    assert forth == pytest.approx(back)
    assert 0 <= forth <= 1 + 1e-9


def test_a_sample_is_like_itself_in_any_order_and_unit():
    samples = normal(np.random.default_rng(2), 50)
    assert similarity(samples, samples[::-1]) == pytest.approx(1)
    other = samples + 0.02
    assert similarity(1000 * samples, 1000 * other) == pytest.approx(similarity(samples, other))


def test_far_apart_is_0_and_constants_do_not_fail():
    near = normal(np.random.default_rng(3), 50)
    assert similarity(near, near + 100) == 0
    assert similarity([2, 2, 2], [2, 2]) == similarity([0.1] * 3, [0.1] * 30) == 1
    assert similarity([2, 2, 2], [3, 3]) == similarity([2, 2], [1, 2, 3]) == 0
    with pytest.raises(ValueError, match="two runs of each, got 1 and 2"):
        similarity([1], [1, 2])


def test_credible_is_inside_the_interval_of_the_truth():
    truth = np.arange(1.0, 101)  # interval of the median: 40 to 61
    assert credible([40, 40], truth, 50)
    assert credible([61], truth, 50)
    assert not credible([39.9], truth, 50)
    with pytest.raises(ValueError, match="percentile 90 of 20 runs has no interval"):
        credible([1], np.arange(20), 90)

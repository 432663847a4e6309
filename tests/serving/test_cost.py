"""The fit finds the coefficients that made the data, agrees with scipy, and its error is what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.serving.cost import CostModel, Iteration, fit, interpolated, non_negative, relative_errors


def measured(model, count, noise=0.0):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 1024, count), rng.integers(0, 9, count), rng.integers(0, 9000, count)])
    return [
        Iteration(*map(int, row), model.seconds(*row) * float(np.exp(noise * rng.standard_normal()))) for row in rows
    ]


def test_the_fit_finds_what_made_the_data():
    model = CostModel(0.02, 3e-5, 1e-3, 2e-7)
    found = fit(measured(model, 40))
    assert [found.a, found.b, found.c, found.d] == pytest.approx([model.a, model.b, model.c, model.d], rel=1e-6)


def test_the_error_on_held_out_iterations_is_that_of_the_noise():
    model = CostModel(0.02, 3e-5, 1e-3, 2e-7)
    data = measured(model, 200, noise=0.05)
    errors = relative_errors(fit(data[:100]), data[100:])
    assert 0.02 < errors.mean() < 0.06


@given(st.integers(0, 1000))
def test_non_negative_least_squares_is_scipys(seed):
    nnls = pytest.importorskip("scipy.optimize").nnls
    rng = np.random.default_rng(seed)
    rows, values = rng.standard_normal((12, 4)), rng.standard_normal(12)
    ours, theirs = non_negative(rows, values), nnls(rows, values)[0]
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_interpolation_between_profiled_lengths():
    profile = interpolated([16, 64], [1.0, 3.0])
    assert [profile(n) for n in (1, 16, 40, 64, 900)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    with pytest.raises(ValueError, match="rise"):
        interpolated([2, 2], [1.0, 1.0])


def test_refusals():
    with pytest.raises(ValueError, match="0 or more"):
        CostModel(a=-1.0)
    with pytest.raises(ValueError, match="four"):
        fit([Iteration(1, 0, 0, 1.0)])

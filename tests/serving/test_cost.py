"""The fit finds the coefficients that made the data, agrees with scipy, and its error is what it says."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.serving.cost import (
    COEFFICIENTS,
    CostModel,
    Iteration,
    features,
    fit,
    interpolated,
    non_negative,
    profiled,
    relative_errors,
)


def measured(model, count, noise=0.0):
    rng = np.random.default_rng(0)
    most = (1024, 9, 9000, 500_000)
    rows = np.column_stack([*(rng.integers(0, high, count) for high in most), rng.integers(1, 5, count)])
    return [
        Iteration(*map(int, row[:3]), model.seconds(*row) * float(np.exp(noise * rng.standard_normal())), *row[3:])
        for row in rows
    ]


def test_the_fit_finds_what_made_the_data():
    model = CostModel(0.02, 3e-5, 1e-3, 2e-7, 4e-9, 0.01)
    found = fit(measured(model, 40))
    assert astuple(found)[:COEFFICIENTS] == pytest.approx(astuple(model)[:COEFFICIENTS], rel=1e-6)
    assert found.beyond == pytest.approx((0,) * 8, abs=1e-9)


def test_the_fit_finds_which_numbers_of_decoders_are_slow():
    """Negative control: the line alone, which is off by what two and three of them take beyond it."""
    model = CostModel(0.04, 2e-3, 0.006, beyond=(0.0, 0.016, 0.03, 0.0))
    rng = np.random.default_rng(0)
    rows = [(0, int(n), int(kv)) for n, kv in zip(rng.integers(1, 5, 400), rng.integers(10, 500, 400), strict=True)]
    rows += [(int(tokens), 0, 0) for tokens in rng.integers(2, 200, 60)]
    noise = np.exp(0.03 * rng.standard_normal(len(rows)))
    data = [Iteration(*row, model.seconds(*row) * float(more)) for row, more in zip(rows, noise, strict=True)]
    found = fit(data)
    assert relative_errors(found, data).mean() < 0.04
    assert relative_errors(replace(found, beyond=()), data).mean() > 0.08
    assert found.beyond[2] > found.beyond[1] > max(found.beyond[0], found.beyond[3])


def test_a_few_odd_iterations_do_not_move_the_fit():
    """Negative control: plain least squares of relative errors, which one iteration in twenty moves a good deal."""
    model = CostModel(0.02, 3e-5, 1e-3, 2e-7, 4e-9, 0.01)
    clean = measured(model, 200)
    data = [one if n % 20 else replace(one, seconds=one.seconds / 4) for n, one in enumerate(clean)]
    plain = [one for n, one in enumerate(clean) if n % 20]
    assert relative_errors(fit(data), plain).mean() < 0.01
    rows = features(data) / np.array([one.seconds for one in data])[:, None]
    squares = CostModel(*map(float, non_negative(rows, np.ones(len(rows)))))
    assert relative_errors(squares, plain).mean() > 0.03


def test_each_part_of_an_iteration_has_its_coefficient():
    model = CostModel(1.0, 10.0, 100.0, 1000.0, 1e4, 1e5)
    assert model.seconds(2, 3, 4, 5, 6) == 1 + 20 + 300 + 4000 + 5e4 + 5e5
    assert model.seconds(2, 3, 4) == 1 + 20 + 300 + 4000  # one pass
    assert model.prefill_s(4) == 1 + 40 + 1e4 * 10  # pairs within: 1 + 2 + 3 + 4
    assert model.prefill_s(1) == 101.0
    steps = replace(model, beyond=(0.5, 7.0))
    assert [steps.seconds(0, n, 0) - model.seconds(0, n, 0) for n in range(4)] == [0, 0.5, 7, 0]
    assert steps.prefill_s(1) == 101.5


def test_the_error_on_held_out_iterations_is_that_of_the_noise():
    model = CostModel(0.02, 3e-5, 1e-3, 2e-7, 4e-9, 0.01)
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


def test_a_profile_is_of_prompts_alone():
    """Beside decodes, behind cached tokens or two at once a prompt takes longer, and a median ignores one odd time."""
    alone = [Iteration(n, 0, 0, seconds) for n, seconds in ((8, 1.0), (8, 1.0), (8, 9.0), (24, 3.0))]
    other = [Iteration(8, 2, 40, 5.0), Iteration(8, 0, 16, 5.0), Iteration(24, 0, 0, 7.0, passes=2)]
    profile = profiled([*other, *alone])
    assert [profile(n) for n in (1, 8, 16, 24, 99)] == [1.0, 1.0, 2.0, 3.0, 3.0]
    with pytest.raises(ValueError, match="one time for each"):
        profiled(other)


def test_refusals():
    with pytest.raises(ValueError, match="0 or more"):
        CostModel(a=-1.0)
    with pytest.raises(ValueError, match="some time"):
        CostModel(a=1.0, c=0.0, beyond=(0.0, -1.0))
    with pytest.raises(ValueError, match="at least as many"):
        fit([Iteration(1, 0, 0, 1.0)])

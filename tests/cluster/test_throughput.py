"""The throughput model: its formula by hand, its fit against scipy, its error on points that it did not see."""

import numpy as np
import pytest

from reference_impls.cluster import profiles, throughput
from reference_impls.cluster.throughput import BOUNDS, Model, Point, fit, left_out_errors

MODEL = Model(0.02, 0.001, 0.03, 0.002, 0.05, 0.001, 2.0)


def made(model, counts=(1, 2, 4, 8, 16, 32, 64), frequencies=(1.0,), batch=128):
    return [Point(n, batch, 1 / model.iteration_s(n, batch, f), f) for n in counts for f in frequencies]


def test_the_formula_by_hand():
    assert MODEL.iteration_s(1, 100) == pytest.approx(0.02 + 0.1)
    assert MODEL.grad_s(4, 100, 0.5) == pytest.approx((0.02 + 0.025) * 2**0.8)
    assert MODEL.sync_s(4) == pytest.approx(0.034)
    assert MODEL.sync_s(16) == pytest.approx(0.064)
    assert MODEL.iteration_s(4, 100) == pytest.approx((0.045**2 + 0.034**2) ** 0.5)
    assert MODEL.busy(1, 100) == 1


@pytest.mark.parametrize("overlap", [1.0, 3.0, 10.0])
def test_the_exponent_lies_between_sum_and_maximum(overlap):
    from dataclasses import replace

    model = replace(MODEL, overlap=overlap)
    grad, sync = model.grad_s(8, 128), model.sync_s(8)
    assert max(grad, sync) <= model.iteration_s(8, 128) <= grad + sync + 1e-12


@pytest.mark.parametrize("name", profiles.MEASURED)
def test_held_out_error_is_below_ten_percent(name):
    errors = left_out_errors(profiles.points(name))
    assert set(errors) == {2, 4, 8, 16, 32}
    assert max(errors.values()) < 0.10


@pytest.mark.parametrize("name", profiles.MEASURED)
def test_fitted_points_are_within_five_percent(name):
    model, batch = profiles.fitted()[name]
    for point in profiles.points(name):
        assert 1 / model.iteration_s(point.gpus, batch) == pytest.approx(point.iterations_per_s, rel=0.05)


def test_throughput_may_fall_again():
    model, batch = profiles.fitted()["bert"]
    assert model.iteration_s(64, batch) > model.iteration_s(8, batch)


def test_made_points_are_found_again_with_the_clock():
    model = fit(made(MODEL, frequencies=(0.6, 1.0)), throughput.Config(ridge=1e-5))
    assert model.k == pytest.approx(0.8, abs=0.02)
    for point in made(MODEL, counts=(3, 6, 24, 48), frequencies=(0.8,)):
        assert model.iteration_s(point.gpus, point.batch, 0.8) == pytest.approx(1 / point.iterations_per_s, rel=0.02)


def test_the_fit_is_as_good_as_scipys():
    optimize = pytest.importorskip("scipy.optimize")
    points = profiles.points("gpt2")
    names = [name for name in BOUNDS if name != "k"]
    config = throughput.Config()

    def residuals(theta):
        model = Model(**dict(zip(names, np.exp(theta), strict=True)))
        fitted = [np.log(model.iteration_s(p.gpus, p.batch) * p.iterations_per_s) for p in points]
        start = np.log([getattr(throughput._start(points, config), name) for name in names])
        return np.array([*fitted, *(config.ridge * (theta - start))])

    low, high = (np.log([BOUNDS[name][end] for name in names]) for end in (0, 1))
    begin = np.log([getattr(throughput._start(points, config), name) for name in names])
    rng = np.random.default_rng(1)
    begins = [begin, *(np.clip(begin + rng.normal(0, 1, len(begin)), low, high) for _ in range(4))]
    theirs = min(optimize.least_squares(residuals, one, bounds=(low, high)).cost * 2 for one in begins)
    ours = np.sum(residuals(np.log([getattr(fit(points), name) for name in names])) ** 2)
    assert ours <= 1.05 * theirs


def test_two_points_are_too_few():
    with pytest.raises(ValueError, match="at least 3"):
        fit(made(MODEL, counts=(1, 2)))

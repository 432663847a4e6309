"""The shapes are what their names say, and their stated percentiles are the true ones."""

import math

import numpy as np
import pytest

from reference_impls.measurement.diagnostics import lag1_correlation
from reference_impls.measurement.synthetic import SETTLED_AT, SHAPES

RUNS = 40_000


def draw(name, runs=RUNS, seed=0):
    return SHAPES[name].draw(np.random.default_rng(seed), runs)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.9])
def test_as_many_runs_as_stated_lie_below_a_percentile(name, share):
    below = float(np.mean(draw(name) <= SHAPES[name].quantile(share)))
    deviation = math.sqrt(share * (1 - share) / RUNS)
    independent = 2 if name == "ar1" else 1  # (1 + rho) / (1 - rho) = 4 times the variance at most
    assert below == pytest.approx(share, abs=4 * independent * deviation + (SETTLED_AT / RUNS))


@pytest.mark.parametrize("name", SHAPES)
def test_a_seed_fixes_a_series_and_another_seed_gives_another(name):
    assert np.array_equal(draw(name, 100), draw(name, 100))
    assert not np.array_equal(draw(name, 100), draw(name, 100, seed=1))
    assert (draw(name) > 0).all()
    assert draw(name, 10).shape == (10,)


def test_only_the_autoregression_is_correlated():
    found = {name: lag1_correlation(draw(name)) for name in SHAPES}
    assert found.pop("ar1") == pytest.approx(0.6, abs=0.02)
    assert all(abs(value) < 0.02 for value in found.values())


def test_the_autoregression_begins_in_its_steady_state():
    starts = [draw("ar1", 3, seed)[0] for seed in range(2000)]
    assert np.std(starts) == pytest.approx(0.05, rel=0.08)  # 5 standard errors of a deviation from 2,000 draws


def test_the_second_mode_comes_late_and_then_stays():
    series = np.array([draw("late-mode", 400, seed) for seed in range(100)])
    slow = series > 1.2
    assert not slow[:, : SETTLED_AT - 1].any()
    assert slow[:, SETTLED_AT - 1].any()
    assert slow[:, SETTLED_AT - 1 :].mean() == pytest.approx(1 / 3, abs=0.015)


def test_the_third_quartile_of_two_modes_is_slow_and_the_median_is_not():
    quantile = SHAPES["bimodal"].quantile
    assert quantile(0.5) < 1.1 < 1.3 < quantile(0.75)


def test_a_heavy_tail_has_its_closed_form():
    assert SHAPES["pareto"].quantile(0.875) == pytest.approx(2)  # 1 - 2 ** -3

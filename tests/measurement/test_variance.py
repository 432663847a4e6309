import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.measurement.replay import load_series
from reference_impls.measurement.variance import (
    Config,
    first_n_unreliable,
    reliability_curve,
    runs_needed,
    smallest_with_ranks,
    variance_report,
)
from tests.measurement.series import lognormal, normal


def test_a_report_worked_by_hand():
    report = variance_report([2, 1, 4, 3])
    assert (report.n, report.min, report.max, report.mean) == (4, 1, 4, 2.5)
    assert (report.p25, report.median, report.p75, report.p90) == pytest.approx((1.75, 2.5, 3.25, 3.7))
    assert report.sd == pytest.approx(np.sqrt(5 / 3))
    assert report.cv == pytest.approx(np.sqrt(5 / 3) / 2.5)
    assert report.mad == 1  # distances 0.5, 1.5, 1.5, 0.5
    assert report.range_ratio == 3  # (4 - 1) / 1
    assert report.half_shift == pytest.approx(3.5 / 1.5 - 1)
    assert report.lag1_correlation == pytest.approx((0.75 - 2.25 + 0.75) / 5)  # -0.5 * -1.5, -1.5 * 1.5, 1.5 * 0.5
    assert report.intervals == {"median": None, "p90": None}


def test_intervals_are_order_statistics():
    report = variance_report(np.arange(1, 101))
    assert report.intervals == {"median": (40, 61), "p90": (84, 97)}  # 90 -+ 5.88, plus 1 above


@given(st.lists(st.floats(0.001, 1e3), min_size=3, max_size=40))
def test_a_report_is_always_json_and_does_not_see_the_order_where_it_should_not(values):
    report, reverse = variance_report(values).as_dict(), variance_report(values[::-1]).as_dict()
    assert json.dumps(report, allow_nan=False)
    for name in ("min", "median", "p90", "max", "mad", "range_ratio", "intervals", "n_needed"):
        assert report[name] == reverse[name]


@pytest.mark.parametrize("samples", [[1, 2], [], [[1, 2, 3]]])
def test_fewer_than_three_runs_have_no_spread(samples):
    with pytest.raises(ValueError, match="at least 3 runs"):
        variance_report(samples)


def test_what_is_no_latency_is_named():
    with pytest.raises(ValueError, match=r"run 3: .* got nan"):
        variance_report([1, 2, float("nan")])


def test_constants_and_zeros_leave_out_what_does_not_exist():
    report = variance_report([0, 0, 0])
    assert (report.cv, report.range_ratio, report.normality_p, report.half_shift) == (None, None, None, None)
    assert report.n_needed["median"] == {"0.01": None, "0.02": None, "0.05": None}
    assert variance_report([2, 2, 2]).range_ratio == 0


def test_runs_needed_in_closed_form():
    # 90 .. 110, median 100: 15 of 21 are below 105 and 6 not above 95, so the reach is 4.5 / 21 on both sides;
    # 0.25 * (1.96 / 0.2143)**2 = 20.9
    assert runs_needed(np.arange(90, 111), "median", 0.05) == 21
    assert runs_needed([1, 1, 2, 4, 4], "median", 0.01) == smallest_or_formula(0.1)  # 3 of 5 below 2.02: reach 0.1
    assert runs_needed([1, 2, 3, 4], "median", 0.01) is None  # no run lies between 2.475 and 2.525


def smallest_or_formula(reach):
    return max(smallest_with_ranks(0.5), int(np.ceil(0.25 * (1.959964 / reach) ** 2)))


def test_a_constant_needs_as_many_runs_as_ranks():
    assert runs_needed([3, 3, 3, 3], "median", 0.01) == smallest_with_ranks(0.5) == 6  # 3 -+ 2.4: 1 and 6
    assert smallest_with_ranks(0.9) == 45


@pytest.mark.parametrize(("statistic", "bound"), [("median", 0.02), ("median", 0.01), ("p90", 0.02)])
def test_runs_needed_do_give_the_interval(statistic, bound):
    rng = np.random.default_rng(0)
    needed = runs_needed(lognormal(rng, 20_000), statistic, bound)
    errors = []
    for _ in range(40):
        report = variance_report(lognormal(rng, needed))
        value = report.median if statistic == "median" else report.p90
        low, high = report.intervals[statistic]
        errors.append(max(value - low, high - value) / value)
    assert np.median(errors) == pytest.approx(bound, rel=0.25)  # the longer side of a noisy interval


def test_a_tighter_bound_needs_more_runs():
    report = variance_report(lognormal(np.random.default_rng(1), 500))
    for needed in report.n_needed.values():
        assert needed["0.01"] > needed["0.02"] > needed["0.05"]


def test_unknown_statistics_are_refused():
    with pytest.raises(ValueError, match="statistic must be one of median, p25, p75, p90, got p99"):
        Config(statistics=("p99",))


@pytest.mark.parametrize("split", [False, True])
def test_the_curve_falls_with_the_number_of_runs(split):
    curves = [
        reliability_curve(normal(np.random.default_rng(seed), 100), np.random.default_rng(0), draws=400, split=split)
        for seed in range(10)
    ]
    means = [np.mean([curve[n] for curve in curves]) for n in (1, 3, 5, 10, 20, 40)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.7  # one run is nearly never within the interval of 100


def test_a_reference_that_contains_the_subset_flatters_it():
    samples = normal(np.random.default_rng(6), 100)
    within, apart = (
        reliability_curve(samples, np.random.default_rng(0), ns=(40,), draws=400, split=split)[40]
        for split in (False, True)
    )
    assert within < 0.15
    assert apart > within


@given(st.randoms(use_true_random=False))
def test_the_curve_does_not_see_the_order(random):
    values = list(lognormal(np.random.default_rng(2), 50))
    curves = [
        reliability_curve(order, np.random.default_rng(3), ns=(3, 10), draws=50)
        for order in (values, random.sample(values, len(values)))
    ]
    assert curves[0] == curves[1]


def test_the_first_n_rule_does_see_the_order():
    values = np.arange(1.0, 51)  # interval of the median of 50: ranks 18 and 33
    assert first_n_unreliable(values, 5)
    assert not first_n_unreliable(np.concatenate([values[20:30], values[:20], values[30:]]), 5)


def test_all_runs_are_reliable_against_themselves_and_too_large_sizes_are_left_out():
    samples = normal(np.random.default_rng(4), 50)
    curve = reliability_curve(samples, np.random.default_rng(5), ns=(10, 50, 51), draws=20)
    assert list(curve) == [10, 50]
    assert curve[50] == 0
    assert list(reliability_curve(samples, np.random.default_rng(5), ns=(10, 25, 26), draws=20, split=True)) == [10, 25]


def test_a_reference_too_short_is_refused_with_what_is_needed():
    with pytest.raises(ValueError, match="p90 of 25 reference runs has no interval: at least 45"):
        reliability_curve(np.arange(1, 51), np.random.default_rng(0), statistic="p90", split=True, draws=2)


def test_the_published_numbers_where_the_released_csvs_are_at_hand():
    folder = os.environ.get("FRUGALFM_VARIANCE_DATA")
    if not folder:
        pytest.skip("set FRUGALFM_VARIANCE_DATA to a folder with cold.csv and warm.csv of the released data")
    spreads = {
        mode: [
            variance_report(runs).range_ratio for runs in list(load_series(Path(folder) / f"{mode}.csv").values())[:65]
        ]
        for mode in ("cold", "warm")
    }
    assert 100 * max(spreads["warm"]) == pytest.approx(338.76, abs=0.01)
    assert 100 * np.mean(spreads["cold"] + spreads["warm"]) == pytest.approx(44.15, abs=0.01)
    warm = list(load_series(Path(folder) / "warm.csv").values())[:65]
    assert sum(first_n_unreliable(runs, 3) for runs in warm) == 40

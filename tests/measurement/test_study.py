"""Counting how often a rule is right agrees with hand-made rules and with closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from reference_impls.measurement import Estimate
from reference_impls.measurement.batches import BatchRule
from reference_impls.measurement.contenders import Limits, fixed
from reference_impls.measurement.study import Batch, Config, Trial, run_batch, run_trial, value
from reference_impls.measurement.synthetic import SHAPES, Shape

STEADY = Shape("all runs are 1", lambda rng, runs: np.ones(runs), lambda share: 1.0)


class StopsAt(BatchRule):
    """Stops at a number and states the interval it was given."""

    def __init__(self, runs, interval=(0.9, 1.1)):
        super().__init__(1, 1000)
        self.stop, self.stated = runs, interval

    def check(self):
        self.estimates = (Estimate(50, 1.0, *self.stated),)
        return "converged" if len(self.sample) >= self.stop else "too wide"


def test_a_trial_is_judged_by_what_was_seen_at_the_stop():
    series = np.array([1.0, 1.0, 1.0, 1.5, 1.5])
    config = Config(percentiles=(50,))
    assert run_trial(StopsAt(3), series, [1.0], config) == Trial(3, 0.0, 1, 1, cut=False)
    wrong = run_trial(StopsAt(5), series, [1.25], config)
    assert (wrong.runs, wrong.error, wrong.held) == (5, pytest.approx(0.2), 0)  # 1.5 / 1.25 - 1; 1.25 is not in 0.9-1.1


def test_the_worst_percentile_counts():
    series = np.array([1.0, 2.0, 3.0])
    config = Config(percentiles=(25, 50, 75))
    assert run_trial(StopsAt(3), series, [1.5, 2.0, 2.0], config).error == pytest.approx(0.25)


def test_a_series_that_ends_first_is_a_cut():
    trial = run_trial(StopsAt(9), np.ones(4), [1.0], Config(percentiles=(50,)))
    assert trial.cut
    assert trial.runs == 4


def test_a_batch_of_a_rule_without_intervals_says_so():
    config = Config(trials=3, percentiles=(50,))
    batch = run_batch(lambda: StopsAt(2, (None, None)), STEADY, 0, config)
    assert batch == Batch(runs=2.0, within=1.0, worst_error=0.0, held=None, cut=0.0)
    with pytest.raises(ValueError, match="stated no interval"):
        value("interval_coverage", [batch])
    assert value("interval_coverage", [batch, replace(batch, held=0.5)]) == 50
    with pytest.raises(ValueError, match="not latency"):
        value("latency", [batch])


def test_batches_are_summed_up_in_the_units_of_the_metrics():
    batches = [Batch(10, 0.5, 0.03, 0.9, 0.0), Batch(20, 1.0, 0.01, 1.0, 0.0)]
    found = {
        name: value(name, batches) for name in ("repetitions", "stop_coverage", "worst_error", "interval_coverage")
    }
    assert found == {
        "repetitions": 15,
        "stop_coverage": 75,
        "worst_error": pytest.approx(3),
        "interval_coverage": pytest.approx(95),
    }


def test_batches_of_a_number_are_reproducible_and_shared_by_all_rules():
    config = Config(trials=4, max_n=60)
    seen = {}

    def draw(rng, runs):
        series = SHAPES["normal"].draw(rng, runs)
        seen.setdefault(round(float(series[0]), 12), 0)
        seen[round(float(series[0]), 12)] += 1
        return series

    shape = replace(SHAPES["normal"], draw=draw)
    makers = [fixed("few", 20, "").make(0.02, Limits()), fixed("more", 40, "").make(0.02, Limits())]
    batches = [run_batch(make, shape, 7, config) for make in makers]
    assert batches[0] == run_batch(makers[0], shape, 7, config)
    assert batches[0] != run_batch(makers[0], shape, 8, config)
    assert sorted(seen.values()) == [1] * 4 + [3] * 4


def test_a_fixed_count_is_right_as_often_as_the_binomial_says():
    """The median of 51 runs is within r of 1 unless 26 of them lie on one side of 1 - r or 1 + r."""
    r, runs, spread = 0.01, 51, 0.05
    config = Config(error_bound=r, percentiles=(50,), trials=1500, max_n=runs)
    batch = run_batch(fixed("51", runs, "").make(r, Limits()), SHAPES["normal"], 0, config)
    from scipy.stats import norm

    below = norm.cdf(-r / spread)
    truth = 1 - 2 * binom.sf(25, runs, below)
    assert batch.within == pytest.approx(truth, abs=4 * (truth * (1 - truth) / 1500) ** 0.5)
    assert batch.held == pytest.approx(0.95, abs=0.03)  # one look at a fixed count: the interval keeps its word


@pytest.mark.parametrize(
    ("change", "message"),
    [({"trials": 0}, "at least 1"), ({"max_n": 0}, "at least 1"), ({"error_bound": 2.0}, "between 0 and 1")],
)
def test_a_study_of_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)

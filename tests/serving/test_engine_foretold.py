"""The real engine beside what was foretold for it: the time of its iterations, and the order in which answers end."""

from statistics import median

import pytest

from reference_impls.serving.bench_engine import TINY, values

SEEDS = range(3)

pytestmark = pytest.mark.slow


def test_iterations_of_other_runs_take_what_the_fit_says():
    """Fitted to runs with every request there at once; these arrive one by one, and are other requests."""
    runs = [values(TINY, policy, seed, "cpu") for policy in ("fcfs", "fastserve") for seed in SEEDS]
    assert median(one["prediction_error"] for one in runs) < 15


@pytest.mark.parametrize("policy", ["fcfs", "fastserve"])
def test_fifty_answers_end_in_the_order_that_the_simulation_foretells(policy):
    assert TINY.requests == 50
    assert median(values(TINY, policy, seed, "cpu")["rank_correlation"] for seed in SEEDS) > 0.9

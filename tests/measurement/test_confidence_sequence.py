import numpy as np
import pytest

from reference_impls.measurement.confidence_sequence import (
    Config,
    TimeUniform,
    log_mixture,
    mixing_weight,
    plausible_counts,
    sequence_ci,
)
from reference_impls.measurement.intervals import ranks
from tests.measurement.series import bimodal, feed


def probability_of_ever_leaving(bounds, share, looks):
    """Exact: follow the distribution of the count of runs below the percentile, taking out what leaves the bounds."""
    inside = np.zeros(max(looks) + 2)
    inside[0] = 1
    for n in range(1, max(looks) + 1):
        inside[1:] = inside[1:] * (1 - share) + inside[:-1] * share
        inside[0] *= 1 - share
        if n in looks and (found := bounds(n)):
            low, high = found
            inside[:low] = inside[high + 1 :] = 0
    return 1 - inside.sum()


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("tight_at", [10, 300])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_the_sequence_is_left_with_at_most_the_stated_probability(share, tight_at, alpha):
    weight = mixing_weight(tight_at, alpha)
    left = probability_of_ever_leaving(lambda n: plausible_counts(n, share, alpha, weight), share, range(1, 1001))
    assert 0.5 * alpha < left <= alpha


def test_the_fixed_n_interval_looked_at_after_every_batch_is_left_by_a_quarter():
    def bounds(n):
        places = ranks(n, 0.5)
        return places and (places[0], places[1] - 1)

    left = probability_of_ever_leaving(bounds, 0.5, range(5, 301, 5))
    assert left == pytest.approx(0.2568, abs=0.002)  # though each single look is left by less than 0.05


@pytest.mark.parametrize("n", [1, 2, 10, 137])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_bisection_finds_the_counts_that_trying_all_finds(n, share):
    plausible = [s for s in range(n + 1) if log_mixture(s, n, share, 20) < np.log(20)]
    assert plausible_counts(n, share, 0.05, 20) == (plausible[0], plausible[-1])
    assert len(plausible) == plausible[-1] - plausible[0] + 1


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_mixture_is_a_martingale(n):
    # expected M is 1 under the binomial it is tested against
    from math import comb

    expected = sum(comb(n, s) * 0.3**s * 0.7 ** (n - s) * np.exp(log_mixture(s, n, 0.3, 7)) for s in range(n + 1))
    assert expected == pytest.approx(1)


def test_the_interval_is_wider_than_the_fixed_one_and_exists_later():
    ordered = list(np.linspace(1, 2, 300))
    low, high = sequence_ci(ordered, 0.5, 0.05, mixing_weight(300, 0.05))
    first, last = ranks(300, 0.5)
    assert low < ordered[first - 1] < ordered[last - 1] < high
    assert high - low < 1.8 * (ordered[last - 1] - ordered[first - 1])
    assert sequence_ci(ordered[:5], 0.5, 0.05, 40) is None


def test_ties_and_constants_are_within_the_closed_interval():
    decision = feed(TimeUniform(), [2.0] * 200)
    assert decision.converged
    assert all((estimate.lo, estimate.hi) == (2.0, 2.0) for estimate in decision.estimates)


@pytest.mark.parametrize("rounded", [None, 2])
def test_the_truth_is_inside_at_the_stop(rounded):
    truth = 1.0  # of the median of 0.9, 1.0 and 1.1 in thirds, and of a normal
    inside = []
    for seed in range(60):
        rng = np.random.default_rng([11, seed])
        samples = rng.normal(1, 0.03, 600) if rounded is None else rng.choice([0.995, 1.0, 1.005], 600)
        decision = feed(TimeUniform(Config(max_n=600)), samples)
        middle = decision.estimates[1]
        inside.append(decision.converged and middle.lo <= truth <= middle.hi)
    assert np.mean(inside) >= 0.95


def test_the_budget_is_kept_and_a_pass_is_not_silent():
    decision = feed(TimeUniform(Config(max_n=100)), bimodal(np.random.default_rng(0), 200))
    assert (decision.reason, decision.n) == ("max_n", 100)


@pytest.mark.parametrize("wrong", [{"tight_at": 0}, {"confidence": 0.0}, {"error_bound": 1.0}, {"percentiles": (100,)}])
def test_a_config_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)

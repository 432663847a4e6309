import numpy as np
import pytest

from reference_impls.measurement.warmup import Config, WarmUp, warm_up_length


def test_a_flat_series_needs_two_windows():
    assert warm_up_length([1.0] * 50) == 10


def test_one_slow_first_call_does_not_prolong_it():
    assert warm_up_length([100.0, *[1.0] * 50]) == 10


def test_a_decay_is_dropped_until_a_window_moves_less_than_the_tolerance():
    # medians 16, 8, 4, 2, 1, 1: the step from the fifth to the sixth window is the first small one
    series = np.repeat([16.0, 8, 4, 2, 1, 1, 1], 5)
    assert warm_up_length(series) == 30


def test_a_turn_ends_the_trend_however_large():
    assert warm_up_length(np.repeat([4.0, 2, 1, 2, 4], 5)) == 20


def test_noise_without_a_trend_soon_turns():
    rng = np.random.default_rng(0)
    lengths = [warm_up_length(rng.lognormal(0, 0.5, 200)) for _ in range(200)]
    assert np.median(lengths) <= 20
    assert None not in lengths


def test_a_trend_without_end_is_said_to_be_unsettled():
    warm = WarmUp()
    for latency in 1.1 ** np.arange(100):
        assert not warm.done
        warm.update(latency)
    assert warm.done
    assert not warm.settled
    assert warm_up_length(1.1 ** np.arange(200)) is None


def test_a_series_too_short_has_not_settled():
    assert warm_up_length([1.0] * 9) is None


def test_what_is_no_latency_is_refused():
    with pytest.raises(ValueError, match="warm-up run 1: a latency must be"):
        WarmUp().update(-1.0)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"tolerance": 0.0}, {"max_runs": 9}])
def test_a_config_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)

import json

import numpy as np
import pytest

from reference_impls.measurement.paired import Config, Ratio, RatioStopper, compare, make_report, ratio_cis

FAST = Config(resamples=100)


def stop(a, b, config=FAST):
    stopper = RatioStopper(config)
    for one, other in zip(a, b, strict=True):
        decision = stopper.update(one, other)
        if decision.stop:
            break
    return make_report(stopper, decision)


def test_the_two_ratios_of_a_tiny_example():
    # medians 2 and 4: ratio 0.5; ratios of the rounds 1, 0.5, 0.25: median 0.5
    a, b = np.array([1.0, 2, 3]), np.array([1.0, 4, 12])
    of_medians, of_pairs = ratio_cis(a, b, FAST, np.random.default_rng(0))
    assert of_medians.value == of_pairs.value == 0.5
    assert (of_pairs.lo, of_pairs.hi) == (0.25, 1)


def test_constants_stop_at_the_second_check():
    report = stop([1.0] * 20, [2.0] * 20)
    assert (report.n, report.reason, report.verdict) == (10, "converged", "A is faster")
    assert report.of_medians == report.of_pairs == Ratio(0.5, 0.5, 0.5)


def test_swapping_the_variants_swaps_the_verdict():
    rng = np.random.default_rng(1)
    a, b = rng.lognormal(0, 0.05, 400), rng.lognormal(0.2, 0.05, 400)
    forth, back = stop(a, b), stop(b, a)
    assert (forth.verdict, back.verdict) == ("A is faster", "B is faster")
    assert forth.of_pairs.value == pytest.approx(1 / back.of_pairs.value, rel=0.01)


def test_equal_variants_are_not_distinguished():
    verdicts = []
    for seed in range(40):
        rng = np.random.default_rng([2, seed])
        verdicts.append(stop(rng.lognormal(0, 0.05, 300), rng.lognormal(0, 0.05, 300)).verdict)
    assert np.mean([verdict == "not distinguishable" for verdict in verdicts]) >= 0.9


def test_a_difference_is_claimed_only_where_both_ratios_show_it():
    stopper = RatioStopper(FAST)
    decision = stopper.update(1.0, 1.0)
    stopper.ratios = (Ratio(0.9, 0.85, 0.95), Ratio(0.97, 0.9, 1.01))
    assert make_report(stopper, decision).verdict == "not distinguishable"


def test_pairs_see_through_a_disturbance_that_both_share():
    rng = np.random.default_rng(3)
    shared = np.exp(np.cumsum(rng.normal(0, 0.2, 300)))  # the machine's speed wanders by much more than 5 %
    a, b = shared * rng.normal(1, 0.01, 300), 1.05 * shared * rng.normal(1, 0.01, 300)
    of_medians, of_pairs = ratio_cis(a, b, Config(), np.random.default_rng(4))
    assert of_pairs.lo <= 1 / 1.05 <= of_pairs.hi
    assert of_pairs.relative_error < 0.005
    assert of_pairs.relative_error < of_medians.relative_error / 3


def test_the_true_ratio_is_within_the_bound_at_the_stop():
    within = []
    for seed in range(40):
        rng = np.random.default_rng([5, seed])
        shared = rng.lognormal(0, 0.1, 1000)
        report = stop(shared * rng.normal(1, 0.03, 1000), shared * rng.normal(1.2, 0.036, 1000))
        assert report.converged
        within.append(abs(report.of_pairs.value * 1.2 - 1) <= 0.02)
    assert np.mean(within) >= 0.95


def test_the_budget_of_rounds_is_kept_and_said_so():
    rng = np.random.default_rng(6)
    report = stop(rng.lognormal(0, 1, 100), rng.lognormal(0, 1, 100), Config(max_n=42, resamples=50))
    assert (report.n, report.reason, report.converged) == (42, "max_n", False)


def test_compare_takes_turns_and_warms_both_up():
    calls, now = [], [0.0]

    def variant(name, seconds):
        def call():
            calls.append(name)
            now[0] += seconds

        return call

    config = Config(warm_up=3, resamples=50)
    report = compare(variant("a", 1.0), variant("b", 2.0), config, clock=lambda: now[0])
    assert report.of_medians.value == 0.5
    assert calls[:6] == ["a", "b"] * 3
    rounds = [set(calls[i : i + 2]) for i in range(6, len(calls), 2)]
    assert rounds == [{"a", "b"}] * report.n
    assert {calls[i] for i in range(6, len(calls), 2)} == {"a", "b"}  # neither always goes first
    assert json.dumps(report.as_dict(), allow_nan=False)


def test_compare_keeps_the_budget_of_time():
    now = [0.0]

    def call():
        now[0] += 1 + 0.9 * np.sin(now[0] ** 2)

    report = compare(call, call, Config(max_seconds=50, resamples=20), clock=lambda: now[0])
    assert report.reason == "max_seconds"
    assert report.n < 50


def test_a_latency_of_0_has_no_ratio():
    with pytest.raises(ValueError, match="round 1: a ratio needs latencies above 0"):
        RatioStopper().update(1.0, 0.0)


@pytest.mark.parametrize("wrong", [{"warm_up": -1}, {"error_bound": 0.0}, {"interval": 0}])
def test_a_config_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)

"""Policies on traces: by hand, and the laws that a longer wait must keep."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.serverless.hybrid_histogram import Config, HybridHistogram
from reference_impls.serverless.keep_alive import Arrival, FixedTtl, Prewarm, Window, simulate

arrivals = st.builds(Arrival, st.integers(0, 500).map(float), st.integers(1, 20).map(float))
traces = st.lists(arrivals, min_size=1, max_size=40)


def periodic(period, count=30, duration=1.0):
    return [Arrival(period * number, duration) for number in range(count)]


def peak(trace):
    """The most invocations at once, by looking at every beginning."""
    return max(sum(one.at_s <= start < one.at_s + one.duration_s for one in trace) for start, _ in trace)


def test_by_hand():
    trace = [Arrival(0, 2), Arrival(5, 1), Arrival(20, 1)]
    outcome = simulate(trace, FixedTtl(10))
    assert outcome.cold == (True, False, True)
    assert sorted(outcome.idle_s) == [0, 3, 10]  # 2 to 5, 6 to 16, and nothing after the trace's end at 21
    assert outcome.idle_gb_seconds(2048) == 26


def test_an_overlap_needs_a_second_instance_which_is_then_warm():
    trace = [Arrival(0, 10), Arrival(1, 10), Arrival(30, 1), Arrival(30.5, 1)]
    assert simulate(trace, FixedTtl(100)).cold == (True, True, False, False)


@given(traces, st.floats(0, 300), st.floats(0, 300))
def test_a_longer_wait_never_has_more_cold_starts(trace, one, other):
    short, long = sorted((one, other))
    fewer, more = (simulate(trace, FixedTtl(ttl)) for ttl in (long, short))
    assert fewer.cold_starts <= more.cold_starts
    assert sum(fewer.idle_s) >= sum(more.idle_s) - 1e-9


@given(traces)
def test_the_ends_of_the_scale(trace):
    assert all(simulate(trace, FixedTtl(0)).cold)
    assert simulate(trace, FixedTtl(math.inf)).cold_starts == peak(trace)
    assert sum(simulate(trace, FixedTtl(0)).idle_s) == 0


def test_who_knows_the_period_is_warm_with_little_idle_memory():
    trace = periodic(600)
    known, kept = simulate(trace, Prewarm(590, 20)), simulate(trace, FixedTtl(700))
    assert known.cold_starts == kept.cold_starts == 1
    assert sum(known.idle_s) < 0.02 * sum(kept.idle_s)


def test_a_preload_that_comes_too_late_is_void():
    outcome = simulate([Arrival(0, 1), Arrival(10, 1), Arrival(200, 1)], Prewarm(100, 1000))
    assert outcome.cold == (True, True, False)
    assert sorted(outcome.idle_s) == [0, 0, 89]  # 111 to 200


@pytest.mark.parametrize("period", [600, 1800, 7200])
def test_the_histogram_preloads_periodic_callers_just_in_time(period):
    trace = periodic(period, 40)
    hybrid, fixed = simulate(trace, HybridHistogram()), simulate(trace, FixedTtl(4 * 3600))
    assert not any(hybrid.cold[1:])
    late = simulate(trace[:3], HybridHistogram()), simulate(trace, HybridHistogram())
    assert sum(late[1].idle_s) < sum(fixed.idle_s) / 2
    policy = HybridHistogram()
    for _ in range(5):
        policy.observe(period - 1.0)
    wait, keep = policy.window()
    assert wait <= period - 1 <= wait + keep
    assert wait >= 0.8 * period


def test_percentiles_are_those_of_the_sorted_bins():
    policy = HybridHistogram(Config(bin_s=1, range_s=100))
    times = [3.5, 3.6, 7.2, 50.1, 99.9]
    for one in times:
        policy.observe(one)
    for share in (0.05, 0.2, 0.21, 0.5, 0.99, 1.0):
        assert policy.percentile(share) == int(sorted(times)[max(1, math.ceil(share * 5)) - 1])


def test_a_flat_histogram_says_nothing():
    policy = HybridHistogram(Config(bin_s=1, range_s=10))
    for one in range(10):
        policy.observe(one + 0.5)
    assert policy.window() == Window(0, 10)


def test_times_beyond_the_histogram_are_forecast():
    policy = HybridHistogram(Config(bin_s=1, range_s=10))
    for _ in range(4):
        policy.observe(100.0)
    wait, keep = policy.window()
    assert (wait, wait + keep) == pytest.approx((85, 115))


def test_who_has_seen_nothing_keeps_everything():
    assert HybridHistogram().window() == Window(0, 4 * 3600)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="ttl_s"):
        FixedTtl(-1)
    with pytest.raises(ValueError, match="bin_s"):
        Config(bin_s=0)
    with pytest.raises(ValueError, match="head"):
        Config(head=0.9, tail=0.1)

"""Prices: examples worked by hand, and the laws of a sum."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.serverless.cost import (
    Rates,
    billed_ms,
    cheaper_reserved_above,
    cost,
    cost_per_million,
    gb_seconds,
    idle_gb_seconds,
)

RATES = Rates(per_request=2e-7, per_gb_second=1.66667e-5)
durations = st.lists(st.floats(0, 100), max_size=8)
sizes = st.integers(128, 10_240)


@pytest.mark.parametrize(
    ("seconds", "granularity", "billed"),
    [
        (0, 1, 0),
        (0.001, 1, 1),
        (0.0010001, 1, 2),
        (0.1 + 0.2, 1, 300),
        (0.0031, 1, 4),
        (0.2, 100, 200),
        (0.201, 100, 300),
    ],
)
def test_durations_are_rounded_up(seconds, granularity, billed):
    assert billed_ms(seconds, granularity) == billed


def test_an_example_by_hand():
    # 1.2 ms and 250 ms at 512 MB: 2 + 250 ms of half a GiB
    assert gb_seconds([0.0012, 0.25], 512) == pytest.approx(0.126, rel=1e-12)
    assert cost([0.0012, 0.25], 512, RATES) == pytest.approx(2 * 2e-7 + 0.126 * 1.66667e-5, rel=1e-12)


def test_a_million_of_one_second_at_a_gibibyte():
    assert cost_per_million(1.0, 1024, RATES) == pytest.approx(0.2 + 16.6667, rel=1e-12)


def test_nothing_costs_nothing():
    assert cost([], 1024, RATES) == 0


@given(durations, durations, sizes)
def test_costs_add(some, more, memory):
    assert cost(some + more, memory) == pytest.approx(cost(some, memory) + cost(more, memory))


@given(st.floats(0, 100), st.floats(0, 100), sizes, sizes)
def test_more_time_or_memory_never_costs_less(one, other, memory, more):
    short, long = sorted((one, other))
    small, large = sorted((memory, more))
    assert cost([short], small) <= cost([long], small)
    assert cost([short], small) <= cost([short], large)


@given(st.floats(0, 1000), st.sampled_from([1, 10, 100]))
def test_at_most_one_unit_is_added(seconds, granularity):
    assert -1e-6 <= billed_ms(seconds, granularity) - seconds * 1000 < granularity + 1e-6


def test_idle_memory_and_break_even():
    assert idle_gb_seconds([10, 20], 2048) == 60
    assert cheaper_reserved_above(2.0, 0.5) == 0.25


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_impossible_durations_are_refused(wrong):
    with pytest.raises(ValueError, match="duration"):
        billed_ms(wrong)


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="rates"):
        Rates(per_request=-1)
    with pytest.raises(ValueError, match="memory"):
        cost([1.0], 0)

"""Curves of a known formula are read right, and a policy is as good as itself."""

from itertools import pairwise
from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster.equal_energy import Config, best_product, cluster_for, curve, front, seconds_at, sweep
from tests.cluster.makers import fitted, trace

POWER = [(energy, 100 / energy**0.5) for energy in (1.0, 2.0, 4.0, 9.0)]


@given(st.floats(1.0, 9.0))
def test_a_power_law_is_read_exactly(energy):
    assert seconds_at(POWER, energy) == pytest.approx(100 / energy**0.5)


def test_beyond_the_ends():
    assert seconds_at(POWER, 100.0) == pytest.approx(100 / 3)
    assert isnan(seconds_at(POWER, 0.5))
    assert isnan(seconds_at([], 1.0))


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=1, max_size=20))
def test_the_front_beats_or_equals_every_point(points):
    kept = front(points)
    assert all(any(e <= energy and s <= seconds for e, s in kept) for energy, seconds in points)
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(kept))


def test_a_setting_that_did_not_end_is_left_out():
    assert front([(1.0, inf), (2.0, 5.0)]) == [(2.0, 5.0)]


def test_the_best_fixed_cap():
    assert best_product([(1.0, 10.0), (2.0, 4.0), (9.0, 3.0)]) == (2.0, 4.0)


def test_a_policy_against_itself_has_a_ratio_of_one():
    config = Config(nodes=2)
    points = curve(sweep(trace(0, 40), fitted(16), "srtf", config), off=True)
    for energy, seconds in front(points):
        assert seconds_at(points, energy) == pytest.approx(seconds)


def test_nodes_that_stay_on_cost_more_and_change_nothing_else():
    outcomes = sweep(trace(1, 40), fitted(16), "fifo", Config(nodes=2))
    assert all(one.on_j >= one.off_j for one in outcomes)
    assert [one.seconds for one in outcomes] == [seconds for _, seconds in curve(outcomes, off=False)]


def test_only_powerflow_packs():
    assert cluster_for("powerflow", Config()).compact_s > 0
    assert cluster_for("fifo", Config()).compact_s == 0
    assert not cluster_for("tiresias", Config()).migrate

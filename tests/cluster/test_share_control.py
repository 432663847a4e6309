"""The share follows the load, within its bounds, without flapping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster.share_control import Config, State, target, update

CONFIG = Config()


@pytest.mark.parametrize(("activity", "share"), [(0, 90), (9, 90), (16, 80), (14, 90), (50, 50), (86, 10), (100, 10)])
def test_the_rule_by_hand(activity, share):
    assert target(activity, CONFIG) == share


@given(st.floats(0, 100), st.floats(0, 100))
def test_more_load_never_means_more_share(a, b):
    low, high = sorted((a, b))
    assert target(low, CONFIG) >= target(high, CONFIG)


@given(st.lists(st.floats(0, 100), max_size=50), st.sampled_from(range(10, 91, 10)))
def test_the_share_stays_within_its_bounds_in_whole_steps(readings, begin):
    state = State(begin)
    for reading in readings:
        state = update(state, reading, CONFIG)
        assert 10 <= state.share <= 90
        assert state.share % 10 == 0


@given(st.floats(0, 100), st.sampled_from(range(10, 91, 10)))
def test_a_step_of_load_settles_within_two_readings_and_stays(activity, begin):
    state, seen = State(begin), []
    for _ in range(8):
        state = update(state, activity, CONFIG)
        seen.append(state.share)
    assert seen[1:] == [target(activity, CONFIG)] * 7


def test_flicker_within_the_deadband_is_not_followed():
    state = State(50)
    for _ in range(20):
        for activity in (44, 50, 56, 50):  # asks for 60, 50, 40, 50
            state = update(state, activity, CONFIG)
            assert state.share == 50
    eager, changes = State(50), 0
    for _ in range(20):
        for activity in (44, 50, 56, 50):
            before, eager = eager, update(eager, activity, Config(patience=1))
            changes += before.share != eager.share
    assert changes > 50  # the negative control flaps


def test_a_large_change_is_followed_at_once():
    assert update(State(90), 95, CONFIG).share == 10


@pytest.mark.parametrize("fields", [{"lowest": 0}, {"highest": 5}, {"patience": 0}])
def test_bad_bounds_are_refused(fields):
    with pytest.raises(ValueError, match="expected"):
        Config(**fields)

"""The monitor evicts within the period in which a limit is passed, and lets nobody in during the hold-off."""

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster.monitor import Config, Health, Reading, State, judge, update

CONFIG = Config(good_readings=3, hold_off_s=30.0)
GOOD = Reading(60.0, 0.95, 0.5, 0.5)
readings = st.one_of(
    st.none(),
    st.builds(Reading, st.floats(20, 110), st.floats(0, 1) | st.just(nan), st.floats(0, 1), st.floats(0, 1)),
)


@given(st.lists(readings, max_size=60))
def test_a_random_walk_never_leaves_the_states_or_the_rules(walk):
    state, last_bad = State(), -1e9
    for at, reading in enumerate(walk):
        now = 10.0 * at
        before = state
        state, evict = update(state, reading, now, CONFIG)
        assert state.health in Health
        bad = judge(reading, CONFIG) is not Health.HEALTHY
        assert evict == bad  # within one period
        if bad:
            last_bad = now
            assert not state.admits(now)
        if now < last_bad + CONFIG.hold_off_s:
            assert not state.admits(now)
        if state.health is Health.HEALTHY and before.health is not Health.HEALTHY:
            assert state.good >= CONFIG.good_readings


@pytest.mark.parametrize(
    ("reading", "health"),
    [
        (GOOD, Health.HEALTHY),
        (replace(GOOD, temperature_c=86), Health.OVERLIMIT),
        (replace(GOOD, activity=0.98), Health.OVERLIMIT),
        (replace(GOOD, memory=0.96), Health.OVERLIMIT),
        (replace(GOOD, clock=0.5), Health.UNHEALTHY),
        (replace(GOOD, clock=nan), Health.UNHEALTHY),
        (None, Health.UNHEALTHY),
    ],
)
def test_every_limit_by_itself(reading, health):
    assert judge(reading, CONFIG) is health
    state, evict = update(State(Health.HEALTHY, 9), reading, 100.0, CONFIG)
    assert (state.health, evict) == (health, health is not Health.HEALTHY)


def test_admission_takes_good_readings_and_time():
    state, opened = State(), []
    state, _ = update(state, None, 0.0, CONFIG)
    for at in range(1, 8):
        state, _ = update(state, GOOD, 10.0 * at, CONFIG)
        opened.append(state.admits(10.0 * at))
    assert opened == [False, False, True, True, True, True, True]  # three good, and 30 s gone
    slow = Config(good_readings=3, hold_off_s=1000.0)
    state, _ = update(State(), None, 0.0, slow)
    for at in range(1, 90):
        state, _ = update(state, GOOD, 10.0 * at, slow)
        assert not state.admits(10.0 * at)

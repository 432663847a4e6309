"""The clock against a process time and a pace that are made up."""

import pytest

from reference_impls.serving import bench_clock


@pytest.fixture
def fake(monkeypatch):
    """-> set the process's time and how long the fixed work takes"""
    state = {"now": 0.0, "pace": 1.0}
    monkeypatch.setattr(bench_clock.time, "process_time", lambda: state["now"])
    monkeypatch.setattr(bench_clock, "usual_s", lambda: 1.0)

    def work():
        state["now"] += state["pace"]
        return state["pace"]

    monkeypatch.setattr(bench_clock, "yardstick_s", work)
    return state


def test_at_the_usual_pace_it_is_the_processs_time(fake):
    clock = bench_clock.SteadyClock()
    fake["now"] += 5.0
    assert clock() == 5.0
    clock.look()  # stands still meanwhile
    assert clock() == 5.0


def test_seconds_of_a_slow_machine_are_shrunk(fake):
    clock = bench_clock.SteadyClock()
    fake["pace"] = 2.0
    for _ in range(3):
        clock.look("what an observer is told")
    assert clock() == 0.0
    fake["now"] += 8.0
    assert clock() == 4.0


def test_one_odd_look_changes_nothing(fake):
    clock = bench_clock.SteadyClock()
    clock.look()
    fake["pace"] = 50.0
    clock.look()
    fake["now"] += 3.0
    assert clock() == 3.0


def test_the_fixed_work_takes_time():
    assert 0 < bench_clock.yardstick_s() < 1
    assert bench_clock.usual_s() > 0

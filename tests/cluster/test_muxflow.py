"""Shared days: the guard holds its bound in every hour, without it the bound breaks, and no work goes missing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster import contention, matching, muxflow, traces
from reference_impls.cluster.muxflow import BestEffort, Config, simulate, slowdown_within
from reference_impls.cluster.tails import hourly_growth, latencies

TABLE = contention.tabulate(muxflow.SERVICES, muxflow.BEST_EFFORT, range(10, 101, 10), contention.Config())
SOLO = muxflow.SERVICES | muxflow.BEST_EFFORT
NAMES = list(muxflow.SERVICES)


def services(count=4, hours=8, seed=0, mean=0.4):
    """From seven in the morning on, so that the peak is in it."""
    begin = 8 * 360
    made = [traces.online_load(traces.DAY_S, 10, mean, 0.6, 50 * seed + at) for at in range(count)]
    return [(NAMES[at % 4], load[begin : begin + hours * 360]) for at, load in enumerate(made)]


def jobs(count=10, work_s=6 * 3600.0):
    names = list(muxflow.BEST_EFFORT)
    return [BestEffort(at, names[at % len(names)], work_s) for at in range(count)]


def growth(outcome, made, percentile=99, period=10.0):
    found = []
    for at, (name, load) in enumerate(made):
        found += hourly_growth(*latencies(load, outcome.slowdown[at], period, SOLO[name].t_step, at), percentile)
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_the_bound_holds_in_every_hour_and_breaks_without_protection(seed):
    made = services(seed=seed)
    guarded = simulate(made, jobs(), TABLE, SOLO, Config(), seed)
    free = simulate(made, jobs(), TABLE, SOLO, Config(sharing="uncontrolled"), seed)
    hours = growth(guarded, made)
    assert len(hours) == 32
    assert max(hours) <= Config().bound
    assert max(growth(free, made)) > Config().bound  # the negative control
    assert guarded.done_s > 0.3 * free.done_s  # and the guard does not reach it by letting nobody in


@pytest.mark.parametrize("sharing", ["alone", "time-slices", "uncontrolled", "half", "muxflow"])
@pytest.mark.parametrize("pairing", ["matching", "greedy", "random"])
def test_work_done_and_lost_is_work_scheduled(sharing, pairing):
    made = services(hours=3)
    outcome = simulate(made, jobs(), TABLE, SOLO, Config(sharing=sharing, pairing=pairing))
    assert outcome.done_s + outcome.lost_s == pytest.approx(outcome.scheduled_s)
    assert outcome.evictions > 0 or outcome.lost_s == 0
    assert all(0 <= job.done_s <= job.work_s + 1e-6 for job in outcome.jobs)
    assert (outcome.done_s == 0) == (sharing == "alone")


def test_an_eviction_loses_what_came_after_the_checkpoint():
    """A service whose memory grows with load until both do not fit."""
    load = np.concatenate([np.full(200, 0.1), np.full(50, 0.95)])
    pairs = matching.Config(bound=2.0, memory=0.95)
    outcome = simulate([("decode", load)], [BestEffort(0, "train", 1e6)], TABLE, SOLO, Config(pairs=pairs))
    assert outcome.evictions == 1
    assert 0 < outcome.lost_s < Config().checkpoint_s
    assert outcome.shares[0, 202:].max() == 0  # gone within one period of the reading


def test_alone_nothing_is_slower_and_gauges_are_those_of_the_services():
    made = services(hours=2)
    outcome = simulate(made, jobs(), TABLE, SOLO, Config(sharing="alone"))
    assert (outcome.slowdown == 1).all()
    assert growth(outcome, made) == [1.0] * 8
    assert outcome.utilisation == pytest.approx(np.mean([load for _, load in made]))
    assert outcome.sm_activity < outcome.utilisation


def test_utilisation_overstates_activity():
    """Any resident kernel counts as utilisation, so it says least about the work gained."""
    made = services()
    alone, shared = (simulate(made, jobs(), TABLE, SOLO, Config(sharing=how)) for how in ("alone", "muxflow"))
    assert shared.sm_activity > alone.sm_activity
    assert all(one.sm_activity < 0.8 * one.utilisation for one in (alone, shared))
    assert shared.utilisation > 0.95
    assert shared.memory > alone.memory


def test_the_guard_follows_the_load():
    made = services()
    outcome = simulate(made, jobs(), TABLE, SOLO, Config())
    shares, loads = outcome.shares, np.array([load for _, load in made])
    both = shares > 0
    assert np.corrcoef(shares[both], loads[both])[0, 1] < -0.2
    for at, (name, load) in enumerate(made):
        ceiling = np.array([slowdown_within(Config().target, one) for one in load[:-1]])
        assert (outcome.slowdown[at, 1:] <= ceiling + 1e-9).all(), name


@given(st.floats(0.01, 0.95), st.floats(1.01, 3))
def test_the_slowdown_that_a_target_allows(load, target):
    s = slowdown_within(target, load)
    assert s * (1 - load) / (1 - s * load) == pytest.approx(target)


def test_latencies_are_those_of_a_queue_served_one_by_one():
    load, slow = np.full(30, 0.7), np.full(30, 1.3)
    arrival, alone, shared = latencies(load, slow, 10.0, 0.5, 3)
    rng = np.random.default_rng(3)
    counts = rng.poisson(load * 20)
    period = np.repeat(np.arange(30), counts)
    assert arrival == pytest.approx(np.sort((period + rng.random(len(period))) * 10))
    service = rng.exponential(0.5, len(period))
    for found, factor in ((alone, 1.0), (shared, 1.3)):
        free, slowly = 0.0, []
        for at, work in zip(arrival, service, strict=True):
            free = max(free, at) + work * factor
            slowly.append(free - at)
        assert found == pytest.approx(slowly)


def test_the_99th_percentile_grows_as_the_formula_says():
    """One long steady day: time in the system of exponential services."""
    load, s = 0.6, slowdown_within(1.3, 0.6)
    periods = 200_000
    seen = latencies(np.full(periods, load), np.full(periods, s), 10.0, 2.0, 0)
    assert np.percentile(seen[2], 99) / np.percentile(seen[1], 99) == pytest.approx(1.3, rel=0.05)


def test_bad_targets_are_refused():
    with pytest.raises(ValueError, match="target"):
        Config(target=2.0)

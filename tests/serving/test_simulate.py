"""The simulation against traces worked out by hand, against itself without leaps, and against limits of policies."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reference_impls.serving import Limits, Request, policies
from reference_impls.serving.cost import CostModel
from reference_impls.serving.kv_swap import Config as SpaceConfig
from reference_impls.serving.kv_swap import Space
from reference_impls.serving.metrics import SUMMARIES, gap_percentile, latencies
from reference_impls.serving.simulate import capacity, iterations_until, simulate, span
from tests.serving.conftest import EXACT, UNIT, traces

POLICIES = policies()
MAKE = {name: (lambda policy=policy: policy.Scheduler(policy.Config())) for name, policy in POLICIES.items()}
MAKE["fastserve-ages"] = lambda: POLICIES["fastserve"].Scheduler(
    POLICIES["fastserve"].Config(ageing_s=0.25, demotion="fit", charge="own", order="artifact")
)
MAKE["mlfq-ages"] = lambda: POLICIES["mlfq"].Scheduler(POLICIES["mlfq"].Config(quantum_s=1 / 64, ageing_s=0.25))


def ends(record):
    return {job.id: job.finished_s for job in record.jobs}


# A prompt of one and an iteration of one second: A needs 3 tokens at 0, B 1 token at 1, C 2 tokens at 1.
SMALL = [Request(0, 0.0, 1, 3), Request(1, 1.0, 1, 1), Request(2, 1.0, 1, 2)]
BY_HAND = {
    # one slot: A runs 0-3, B 3-4, C 4-6
    "fcfs": {0: 3.0, 1: 4.0, 2: 6.0},
    "run_to_completion": {0: 3.0, 1: 4.0, 2: 6.0},
    # A 0-1; B (1 left) 1-2; A and C have 2 left, A is older: 2-4; C 4-6
    "srpt": {0: 4.0, 1: 2.0, 2: 6.0},
    # all prompts are alike: arrival decides
    "fixed_priority": {0: 3.0, 1: 4.0, 2: 6.0},
    # quantum 1 s, exceeded above 1: A 0-1 (charge 1, stays); first in line: 1-2 (charge 2 > 1: level 1);
    # B 2-3; C 3-5 (falls at 5, but has ended); A 5-6
    "mlfq": {0: 6.0, 1: 3.0, 2: 5.0},
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_small_trace_by_hand(name):
    policy = POLICIES[name]
    config = policy.Config(quantum_s=1.0) if name == "mlfq" else policy.Config()
    assert ends(simulate(SMALL, policy.Scheduler(config), UNIT, Limits(batch=1))) == BY_HAND[name]


def test_skip_join_by_hand():
    """A prompt of 8 takes 1 + 8 s: with quanta 1, 2, 4, 8, 16 it joins level 4; a prompt of 1 takes 1 s: level 0.

    The short one arrives while the prompt runs, and goes before the long one's second token.
    """
    policy = POLICIES["fastserve"]
    cost = CostModel(a=1.0, b=1.0, c=0.0, d=0.0)
    trace = [Request(0, 0.0, 8, 3), Request(1, 2.0, 1, 2)]
    record = simulate(trace, policy.Scheduler(policy.Config(quantum_s=1.0, ageing_s=None)), cost, Limits(batch=1))
    # 0-9 prompt of A; B: 9-11 its prompt (1 + 1 s, as it passes 1 token), 11-12; A: 12-14
    assert ends(record) == {0: 14.0, 1: 12.0}
    long, short = sorted(record.jobs, key=lambda job: job.id)
    assert (long.preemptions, short.preemptions) == (1, 0)
    assert (long.demotions, short.demotions) == (0, 1)  # B used 2 s in a level of 1


def test_request_level_batches_keep_slots_empty():
    """Two slots: A and B start together; C waits for both although B ends first."""
    trace = [Request(0, 0.0, 1, 5), Request(1, 0.0, 1, 1), Request(2, 0.0, 1, 1)]
    waits = simulate(trace, MAKE["run_to_completion"](), UNIT, Limits(batch=2))
    flows = simulate(trace, MAKE["fcfs"](), UNIT, Limits(batch=2))
    assert ends(waits) == {0: 5.0, 1: 1.0, 2: 6.0}
    assert ends(flows) == {0: 5.0, 1: 1.0, 2: 2.0}


@pytest.mark.parametrize("name", MAKE)
@given(trace=traces(), batch=st.integers(1, 6), mixing=st.sampled_from(["mixed", "separate"]))
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])
def test_leaps_change_nothing(name, trace, batch, mixing):
    limits = Limits(batch, tokens=64, mixing=mixing)
    one, many = (simulate(trace, MAKE[name](), EXACT, limits, leaps=leaps) for leaps in (False, True))
    assert ends(one) == ends(many)
    assert one.iterations == many.iterations
    assert one.token_steps == many.token_steps
    assert {job.id: job.preemptions for job in one.jobs} == {job.id: job.preemptions for job in many.jobs}
    assert sum(count for _, count in one.gaps) == sum(count for _, count in many.gaps)


@pytest.mark.parametrize("swap", ["proactive", "reactive", "recompute"])
@given(trace=traces(most=12), name=st.sampled_from([*MAKE]))
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
def test_leaps_change_nothing_where_memory_is_short(swap, name, trace):
    config = SpaceConfig(24, 64, tokens_per_block=4, swap=swap, reserve_blocks=3, bytes_per_block=2.0**-7)
    one, many = (simulate(trace, MAKE[name](), EXACT, Limits(4), Space(config), leaps=leap) for leap in (False, True))
    assert ends(one) == ends(many)


@given(trace=traces(most=1))
def test_one_request_makes_all_policies_equal(trace):
    found = {tuple(ends(simulate(trace, make(), EXACT)).values()) for make in MAKE.values()}
    assert len(found) == 1


@given(count=st.integers(2, 12), output=st.integers(2, 30))
def test_equal_lengths_at_once_are_worse_served_in_turns(count, output):
    trace = [Request(n, 0.0, 4, output) for n in range(count)]
    limits = Limits(batch=2)
    first_come = SUMMARIES["jct"](simulate(trace, MAKE["fcfs"](), EXACT, limits))
    for name in ("mlfq", "fastserve", "fastserve-ages"):
        assert SUMMARIES["jct"](simulate(trace, MAKE[name](), EXACT, limits)) >= first_come - 1e-12


@given(trace=traces(most=10, longest=12, step=1.0))
def test_with_one_slot_nobody_beats_the_oracle(trace):
    """The proof needs work that can be stopped anywhere: iterations of one second, arrivals between them."""
    best = SUMMARIES["jct"](simulate(trace, MAKE["srpt"](), UNIT, Limits(batch=1)))
    for make in MAKE.values():
        assert best <= SUMMARIES["jct"](simulate(trace, make(), UNIT, Limits(batch=1))) + 1e-9


@given(trace=traces(), name=st.sampled_from([*MAKE]), chunk=st.sampled_from([None, 3, 8]))
def test_every_token_is_made_once_and_time_adds_up(trace, name, chunk):
    record = simulate(trace, MAKE[name](), EXACT, Limits(3, 16, chunk))
    assert sorted(job.id for job in record.jobs) == [one.id for one in trace]
    assert all(job.generated == job.output for job in record.jobs)
    assert all(job.cached == job.prompt + job.output - 1 for job in record.jobs)
    assert sum(count for _, count in record.gaps) == sum(one.output - 1 for one in trace)
    for job in record.jobs:
        assert job.arrival_s < job.first_token_s <= job.finished_s


def test_waits_behind_the_queue_match_a_sum():
    """Head-of-line blocking: one slot, a long job first; the short one's time is the long one's and its own."""
    trace = [Request(0, 0.0, 1, 100), Request(1, 0.0, 1, 1)]
    found = latencies(simulate(trace, MAKE["fcfs"](), UNIT, Limits(batch=1)))
    assert sorted(found.per_token) == [1.0, 101.0]


@given(first=st.integers(1, 64), rise=st.integers(0, 8), until=st.integers(1, 5000))
def test_the_number_of_iterations_is_the_smallest(first, rise, until):
    count = iterations_until(float(first), float(rise), float(until))
    assert span(first, rise, count) >= until
    assert count == 1 or span(first, rise, count - 1) < until


def test_gap_percentiles_weigh_every_token():
    record = simulate([Request(0, 0.0, 1, 11)], MAKE["fcfs"](), UNIT)
    record.gaps = [(1.0, 98), (5.0, 1), (9.0, 1)]
    assert [gap_percentile(record, percent) for percent in (50, 98, 99, 100)] == [1.0, 1.0, 5.0, 9.0]


def test_capacity_is_what_a_full_server_reaches():
    trace = [Request(n, 0.0, 8, 16) for n in range(400)]
    limits = Limits(batch=4)
    reached = len(trace) / simulate(trace, MAKE["fcfs"](), EXACT, limits).end_s
    assert reached == pytest.approx(capacity(trace, EXACT, limits), rel=0.1)

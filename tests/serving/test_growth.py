"""What a decision costs must not grow with those that wait, nor a whole simulation faster than n log n."""

import time
from math import log

import pytest

from reference_impls.serving import Batch, Job, Limits, Request, State, policies
from reference_impls.serving.chunked_prefill import compose
from reference_impls.serving.queues import AgeingLine
from reference_impls.serving.serve import Server
from reference_impls.serving.simulate import Simulated, simulate
from tests.serving.conftest import EXACT

POLICIES = policies()
FEW, MANY = 500, 8_000


def least_seconds(work, repeats=3):
    """Of this process: what others do on the machine adds little, and the least of some runs least of all."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def made(name, **changes):
    policy = POLICIES[name]
    return policy.Scheduler(policy.Config(**changes))


def decisions(scheduler, queued, count=100, sunk=False):
    """-> what takes so many decisions of 16 among so many that wait for ever, all of them below the top if sunk."""
    state, limits, jobs = State(0.0, EXACT.prefill_s, 16), Limits(16), []
    for n in range(queued):
        jobs.append(Job(n, 0.0, 8, 1 << 30, cached=8, generated=1))
        scheduler.enter(jobs[-1], state)
    if sunk:
        scheduler.ran(Batch(jobs, [1] * queued, decoders=queued), 1000.0, state)

    def work():
        for _ in range(count):
            batch = compose(scheduler.schedule(state), limits)
            state.now += 0.03
            for job in batch.jobs:
                job.cached += 1
                job.generated += 1
            scheduler.ran(batch, 0.03, state)

    return work


@pytest.mark.parametrize("name", POLICIES)
def test_a_decision_does_not_look_at_all_who_wait(name):
    few, many = (least_seconds(decisions(made(name), queued)) for queued in (FEW, MANY))
    assert many < 4 * few  # looking at each would be sixteen times as much


@pytest.mark.parametrize("name", ["mlfq", "fastserve"])
def test_where_all_who_wait_age_a_decision_costs_the_same_on_average(name):
    """One round through the queue, in which everybody rises and sinks as often."""
    found = [
        least_seconds(decisions(made(name, ageing_s=0.3), queued, queued // 16, sunk=True), 1) / queued
        for queued in (FEW, FEW, MANY)
    ]
    assert found[-1] < 4 * min(found)


@pytest.mark.parametrize("name", POLICIES)
def test_a_simulation_grows_no_faster_than_n_log_n(name):
    def served(count):
        trace = [Request(n, 0.0, 8, 2 + n % 30) for n in range(count)]
        return least_seconds(lambda: simulate(trace, made(name), EXACT, Limits(16)), 2)

    few, many = MANY // 32, MANY // 2
    bound = many * log(many) / (few * log(few))
    assert served(many) < 2 * bound * served(few)  # 48 for 16 times as many; n ** 1.5 would be 64, a square 256


def test_ageing_work_is_bounded_by_moves():
    """The line ends at the first who has not waited long enough."""
    line = AgeingLine()
    jobs = [Job(n, 0.0, 1, 1, waiting_since_s=float(n)) for n in range(1000)]
    line.extend(jobs)
    assert line.take(1010.0, 1000.0) == jobs[:10]
    assert len(line.line) == 990


def test_everybody_who_is_here_runs_on_without_a_new_decision():
    """A batch that holds all live jobs is used again, and counted anew."""
    server = Server(made("mlfq", quantum_s=1 / 64), Limits(4), Simulated(EXACT, leaps=False))
    for n in range(3):
        server.submit(Job(n, 0.0, 4, 100))
    first, second, third = (server.step() for _ in range(3))
    assert first.prefill_tokens == 12
    assert third is second
    assert third.kv_tokens == sum(job.cached for job in third.jobs) - 3  # before each passed one more
    server.submit(Job(3, server.state.now, 4, 100))
    assert {job.id for job in server.step().jobs} == {0, 1, 2, 3}

"""The event loop keeps its books: progress and energy are integrals, budgets hold at every instant."""

from itertools import pairwise
from math import inf

import pytest

from reference_impls.cluster import Plan, PolicyConfig, Share, fifo, policies, powerflow
from reference_impls.cluster.simulate import Budget, Config, simulate
from tests.cluster.makers import fitted, flat, job, shape, trace

CLUSTER = Config(shape(), idle_w=60.0)
FULL = Config(shape(), idle_w=60.0, migrate=True, compact_s=600.0)
BUDGETS = [Budget(), Budget(cap_w=1600.0), Budget(cap_w=700.0)]


def check_books(result, cluster, jobs):
    """Conservation of everything that is counted."""
    done = dict.fromkeys((one.id for one in jobs), 0.0)
    joules = idle = 0.0
    for segment in result.segments:
        span = segment.end_s - segment.start_s
        assert span > 0
        assert 0 <= segment.used_gpus <= cluster.shape.gpus
        joules += segment.jobs_w * span
        idle += segment.idle_w * span
        for number, rate in segment.rates.items():
            done[number] += rate * span
    assert joules == pytest.approx(result.job_j, rel=1e-6)
    assert joules + idle == pytest.approx(result.energy_j, rel=1e-6)
    assert sum(one.energy_j for one in result.jobs) == pytest.approx(result.job_j, rel=1e-6)
    for one in result.jobs:
        assert done[one.job.id] == pytest.approx(one.job.iterations - one.left, rel=1e-6)


@pytest.mark.parametrize("policy", sorted(policies()))
@pytest.mark.parametrize("seed", [0, 1])
def test_iterations_and_joules_are_integrals(policy, seed):
    found = policies()[policy]
    result = simulate(trace(seed), fitted(16), found, found.Config(), FULL, record=True)
    check_books(result, FULL, trace(seed))
    assert all(one.end_s < inf and one.end_s > one.job.arrival_s for one in result.jobs)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_power_stays_under_the_cap_at_every_instant(budget, seed):
    result = simulate(trace(seed), fitted(16), powerflow, powerflow.Config(), FULL, budget, record=True)
    check_books(result, FULL, trace(seed))
    assert max(segment.jobs_w + segment.idle_w for segment in result.segments) <= budget.cap_w * (1 + 1e-6)
    assert all(one.end_s < inf for one in result.jobs)


def test_without_the_budget_the_same_trace_goes_over_the_cap():
    """Negative control."""
    result = simulate(trace(0), fitted(16), powerflow, powerflow.Config(), FULL, record=True)
    assert max(segment.jobs_w + segment.idle_w for segment in result.segments) > BUDGETS[1].cap_w


@pytest.mark.parametrize("share", [0.5, 0.8, 1.3])
def test_a_budget_of_energy_is_never_overdrawn(share):
    """Mode B: neither in sum nor at any moment, idle power and migration included."""
    free = simulate(trace(0), fitted(16), powerflow, powerflow.Config(), FULL)
    budget = Budget(total_j=share * free.energy_j, horizon_s=2 * free.end_s, burst_j=0.02 * free.energy_j)
    result = simulate(trace(0), fitted(16), powerflow, powerflow.Config(), FULL, budget, record=True)
    spent = 0.0
    for segment in result.segments:
        spent += (segment.jobs_w + segment.idle_w) * (segment.end_s - segment.start_s)
        assert spent <= budget.granted_j(segment.end_s) * (1 + 1e-6)
    assert result.energy_j <= budget.total_j * (1 + 1e-6)
    assert (sum(one.end_s == inf for one in result.jobs) > 0) == (share == 0.5)


def test_a_trace_worked_by_hand():
    """Two jobs of 2 GPUs and one of 4 on one node of 4: 0 and 1 run together, 2 after both.

    Rates 2 and 4: jobs 0 and 1 take 50 s and 100 s from 0 and 10; job 2 takes 25 s from 110.
    """
    jobs = [job(0, 0, 100, 2), job(1, 10, 200, 2), job(2, 20, 100, 4)]
    result = simulate(jobs, {"p": flat()}, fifo, fifo.Config(), Config(shape(1, 4), idle_w=10.0))
    assert [one.end_s for one in result.jobs] == pytest.approx([50, 110, 135])
    assert result.mean_jct_s == pytest.approx((50 + 100 + 115) / 3)
    assert result.job_j == pytest.approx(200 * 50 + 200 * 100 + 400 * 25)
    assert result.idle_j == pytest.approx(10 * (2 * 10 + 2 * 60))  # two GPUs idle before 10 and from 50 to 110
    assert result.empty_j == 0


class _Resize:
    """Gives 1 GPU, then 2 from 20 s on."""

    Config = PolicyConfig

    @staticmethod
    def schedule(view, config):
        gpus = 1 if view.now < 20 else 2
        return Plan({one.job.id: Share(gpus, 0) for one in view.active}, inf if view.now >= 20 else 20)


def test_a_resize_costs_its_pause_and_idle_power():
    config = PolicyConfig(pause_s=5)
    result = simulate([job(0)], {"p": flat()}, _Resize, config, Config(shape(1, 4), idle_w=10.0), record=True)
    [one] = result.jobs
    assert one.end_s == pytest.approx(20 + 5 + 80 / 2)
    assert one.energy_j == pytest.approx(20 * 100 + 5 * 2 * 10 + 40 * 200)
    assert result.restarts == 1


def test_empty_nodes_are_off_or_counted():
    jobs = [job(0, 0, 100, 1)]
    on = simulate(jobs, {"p": flat()}, fifo, fifo.Config(), Config(shape(3, 4), 10.0, power_off=False))
    off = simulate(jobs, {"p": flat()}, fifo, fifo.Config(), Config(shape(3, 4), 10.0))
    assert on.energy_j - off.energy_j == pytest.approx(8 * 10 * 100)


def test_waiting_for_company_delays_a_start():
    jobs = [job(0, 0, 100, 1)]
    result = simulate(jobs, {"p": flat()}, fifo, fifo.Config(), Config(shape(1, 4), wait_s=7))
    assert result.jobs[0].end_s == pytest.approx(107)


@pytest.mark.parametrize(
    ("jobs", "words"),
    [([job(0), job(0)], "differ in id"), ([job(0, gpus=64)], "asks for 64 GPUs")],
)
def test_impossible_traces_are_refused(jobs, words):
    with pytest.raises(ValueError, match=words):
        simulate(jobs, {"p": flat()}, fifo, fifo.Config(), CLUSTER)


def test_more_power_never_makes_jobs_wait_longer():
    """Beyond the noise that moves and pauses make."""
    means = [
        simulate(trace(3), fitted(16), powerflow, powerflow.Config(), FULL, Budget(cap_w=cap)).mean_jct_s
        for cap in (500, 800, 1300, 2100, 3400, inf)
    ]
    assert all(after <= 1.03 * before for before, after in pairwise(means))
    assert means[-1] < means[0] / 2

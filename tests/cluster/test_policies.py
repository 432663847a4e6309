"""Each policy's order on traces small enough to work out, and what none of them may do."""

from dataclasses import replace
from itertools import permutations
from math import inf

import pytest

from reference_impls.cluster import Active, View, elastic, fifo, gandiva, policies, powerflow, srtf, tiresias, zeus
from reference_impls.cluster.simulate import Config, simulate
from tests.cluster.makers import fitted, flat, job, shape, trace

ONE = Config(shape(1, 1), idle_w=0.0)
LINEAR = {"p": flat(rates=(1.0, 2.0, 4.0), watts=(100.0, 200.0, 400.0))}


def ends(policy, config, jobs, cluster=ONE, tables=None):
    result = simulate(jobs, tables or LINEAR, policy, config, cluster)
    return [one.end_s for one in sorted(result.jobs, key=lambda one: one.job.id)]


def view_of(jobs, table, gpus=8, watts=inf, **more):
    return View(0.0, [Active(one, table, one.iterations) for one in jobs], gpus, 8, 60.0, watts, **more)


@pytest.mark.parametrize("name", sorted(policies()))
@pytest.mark.parametrize("seed", range(3))
def test_no_plan_gives_more_than_there_is(name, seed):
    policy = policies()[name]
    waiting = [replace(one, arrival_s=0.0) for one in trace(seed)[:30]]
    active = [Active(one, fitted(16)[one.profile], one.iterations) for one in waiting]
    plan = policy.schedule(View(0.0, active, 16, 8, 60.0), policy.Config())
    assert plan.shares
    assert sum(share.gpus for share in plan.shares.values()) <= 16
    assert set(plan.shares) <= {one.id for one in waiting}


def test_fifo_by_hand():
    assert ends(fifo, fifo.Config(), [job(0, 0, 100), job(1, 1, 10), job(2, 2, 20)]) == pytest.approx([100, 110, 130])


def test_fifo_lets_a_small_job_pass_only_with_backfill():
    jobs = [job(0, 0, 200, 2), job(1, 1, 400, 4), job(2, 2, 50, 1)]
    cluster = Config(shape(1, 4), idle_w=0.0)
    assert ends(fifo, fifo.Config(), jobs, cluster) == pytest.approx([100, 200, 52])
    assert ends(fifo, fifo.Config(backfill=False), jobs, cluster) == pytest.approx([100, 200, 250])


def test_srtf_by_hand():
    """Job 1 takes over at 1 and ends at 11; job 0 pays its pause when it resumes."""
    config = srtf.Config(pause_s=2)
    assert ends(srtf, config, [job(0, 0, 100), job(1, 1, 10)]) == pytest.approx([112, 11])


@pytest.mark.parametrize("sizes", [(5, 3, 8, 1), (2, 2, 9, 4)])
def test_srtf_is_the_best_order_on_one_gpu(sizes):
    jobs = [job(at, 0, size) for at, size in enumerate(sizes)]
    best = min(sum(sum(order[: at + 1]) for at in range(len(order))) for order in permutations(sizes))
    assert sum(ends(srtf, srtf.Config(), jobs)) == pytest.approx(best)


def test_tiresias_by_hand():
    """Job 0 falls into the second queue after 30 s; job 1 ends within the first, then job 0 resumes."""
    config = tiresias.Config(threshold_s=30, pause_s=1)
    assert ends(tiresias, config, [job(0, 0, 100), job(1, 10, 20)]) == pytest.approx([121, 50])


def test_gandiva_by_hand():
    """Two jobs of 100 s in turns of 20 s and no cost of a switch: the first ends at 180, the other at 200."""
    config = gandiva.Config(slice_s=20, pause_s=0)
    assert ends(gandiva, config, [job(0, 0, 100), job(1, 0, 100)]) == pytest.approx([180, 200])


def test_zeus_reaches_both_ends():
    table = fitted()["resnet50"]
    for eta, key in ((0.0, lambda at: 1 / table.rate[0][at]), (1.0, lambda at: table.joules(0, at))):
        plan = zeus.schedule(view_of([job(0)], table), zeus.Config(eta=eta))
        assert plan.shares[0].level == min(range(6), key=key)
    levels = [zeus.schedule(view_of([job(0)], table), zeus.Config(eta=e / 10)).shares[0].level for e in range(11)]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("policy", [fifo, srtf, tiresias, gandiva, elastic, powerflow, zeus])
def test_a_cap_on_the_clock_is_kept(policy):
    table = fitted()["bert"]
    plan = policy.schedule(view_of([job(n) for n in range(4)], table), policy.Config(frequency=0.75))
    assert max(share.level for share in plan.shares.values()) <= 2


def test_elastic_is_near_exhaustive_search():
    """Two jobs, up to 8 GPUs: the sum of times is within 25 % of the best split, and mostly the best."""
    exact = 0
    pairs = [(a, b, ia, ib) for a in fitted() for b in fitted() for ia, ib in ((100, 100), (100, 1000), (3000, 50))]
    for a, b, left_a, left_b in pairs:
        active = [Active(job(0, 0, left_a), fitted()[a], left_a), Active(job(1, 0, left_b), fitted()[b], left_b)]
        plan = elastic.schedule(View(0.0, active, 8, 8, 60.0), elastic.Config())

        def total(split, active=active):
            return sum(one.left / one.table.rate[at][-1] for one, at in zip(active, split, strict=True))

        splits = [(x, y) for x in range(4) for y in range(4) if (1 << x) + (1 << y) <= 8]
        best = min(map(total, splits))
        ours = total([plan.shares[n].gpus.bit_length() - 1 for n in (0, 1)])
        assert ours <= 1.25 * best
        exact += ours <= best * 1.0001
    assert exact / len(pairs) > 0.5


@pytest.mark.parametrize("fields", [{"frequency": 0}, {"frequency": 1.2}, {"pause_s": -1}])
def test_bad_settings_are_refused(fields):
    for policy in policies().values():
        with pytest.raises(ValueError, match="must be"):
            policy.Config(**fields)


@pytest.mark.parametrize("fields", [{"gpus": 3}, {"iterations": 0}, {"arrival": -1}])
def test_bad_jobs_are_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        job(0, **fields)

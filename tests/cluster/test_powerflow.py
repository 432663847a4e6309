"""PowerFlow's greedy rule: its priorities by hand, its gap to exhaustive search, what it becomes without a budget."""

from itertools import product
from math import inf

import pytest

from reference_impls.cluster import Active, Share, Table, View, elastic, powerflow
from tests.cluster.makers import fitted, job
from tests.cluster.test_policies import view_of


def power_of(view, plan):
    used = sum(share.gpus for share in plan.shares.values())
    by_id = {one.job.id: one for one in view.active}
    drawn = sum(by_id[n].table.watts[s.gpus.bit_length() - 1][s.level] for n, s in plan.shares.items())
    return drawn + view.idle_gpus(used) * view.idle_w


def test_a_priority_by_hand():
    """Twice the rate at three times the power: half the time for half more energy."""
    table = Table([[1.0], [2.0]], [[100.0], [300.0]], (1.0,))
    [(priority, grows, to, watts)] = powerflow.ladder(table, powerflow.Config()).steps[0, 0]
    assert (-priority, grows, to, watts) == (pytest.approx(0.5 / 0.5), True, (1, 0), 200.0)


def test_a_step_that_saves_energy_comes_first():
    assert powerflow.Step(True, 0.5, 0.9).priority == inf
    assert powerflow.Step(False, 0.9, 1.1).priority == pytest.approx(0.1 / 0.1)


@pytest.mark.parametrize("name", sorted(fitted()))
def test_no_step_saves_no_time(name):
    """BERT and GPT-2 get slower again on many GPUs: no step leads there."""
    table = fitted()[name]
    for (at, level), steps in powerflow.ladder(table, powerflow.Config()).steps.items():
        for _, _, to, _ in steps:
            assert table.rate[to[0]][to[1]] > table.rate[at][level]
    peak = max(range(7), key=lambda at: table.rate[at][-1])
    plan = powerflow.schedule(view_of([job(0, iterations=1e6)], table, gpus=64), powerflow.Config())
    assert plan.shares[0].gpus == 1 << peak


@pytest.mark.parametrize("watts", [200.0, 500.0, 900.0, 1500.0, 2500.0])
def test_a_plan_stays_within_the_budget_with_idle_gpus(watts):
    jobs = [job(n, iterations=100.0 * (n + 1)) for n in range(6)]
    view = view_of(jobs, fitted()["vgg16"], gpus=16, watts=watts)
    plan = powerflow.schedule(view, powerflow.Config())
    assert power_of(view, plan) <= watts


def greedy_and_best(names, lefts, gpus, watts):
    """Sum of completion times of the plan and of the best choice of GPUs and clocks, all within the budget."""
    active = [
        Active(job(n, 0, left), fitted()[name], left) for n, (name, left) in enumerate(zip(names, lefts, strict=True))
    ]
    view = View(0.0, active, gpus, 8, 60.0, watts)
    plan = powerflow.schedule(view, powerflow.Config())

    def total(shares):
        return sum(
            one.left / one.table.rate[s.gpus.bit_length() - 1][s.level] for one, s in zip(active, shares, strict=True)
        )

    places = [Share(1 << at, level) for at in range(gpus.bit_length()) for level in range(6)]
    best = inf
    for pair in product(places, repeat=2):
        if sum(share.gpus for share in pair) <= gpus:
            drawn = sum(o.table.watts[s.gpus.bit_length() - 1][s.level] for o, s in zip(active, pair, strict=True))
            if drawn + view.idle_gpus(sum(s.gpus for s in pair)) * 60.0 <= watts:
                best = min(best, total(pair))
    return total([plan.shares[0], plan.shares[1]]), best


@pytest.mark.parametrize("gpus", [4, 8])
def test_the_gap_to_exhaustive_search(gpus):
    """The rule weighs relative gains, so it is no search for the least sum; its gap is bounded and usually small."""
    gaps = []
    for names in (("bert", "gpt2"), ("bert", "vgg16"), ("resnet50", "vgg16"), ("gpt2", "resnet50")):
        for lefts in ((200.0, 200.0), (100.0, 800.0)):
            for watts in (900.0, 1400.0, 2400.0, inf):
                ours, best = greedy_and_best(names, lefts, gpus, watts)
                assert ours >= best * (1 - 1e-9)
                gaps.append(ours / best - 1)
    assert sorted(gaps)[len(gaps) // 2] < 0.15
    assert max(gaps) < 1.0


def test_an_infinite_budget_gives_the_rates_of_the_throughput_only_greedy():
    """With GPUs for all, both stop where no step saves time; the clock is the highest everywhere."""
    active = [Active(job(n, 0, 1e6), fitted()[name], 1e6) for n, name in enumerate(sorted(fitted()))]
    view = View(0.0, active, 256, 8, 60.0)
    ours = powerflow.schedule(view, powerflow.Config()).shares
    theirs = elastic.schedule(view, elastic.Config()).shares
    assert ours == theirs
    crowded = View(0.0, active, 16, 8, 60.0)
    scarce = powerflow.schedule(crowded, powerflow.Config()).shares
    assert {share.level for share in scarce.values()} == {5}
    assert sum(share.gpus for share in scarce.values()) == 16


def test_without_clocks_all_run_at_the_cap_and_without_elasticity_as_asked():
    jobs = [job(0, gpus=4), job(1, gpus=2)]
    view = view_of(jobs, fitted()["resnet50"], gpus=16, watts=1500.0)
    fixed = powerflow.schedule(view, powerflow.Config(clocks=False, frequency=0.8)).shares
    assert {share.level for share in fixed.values()} == {3}
    rigid = powerflow.schedule(view, powerflow.Config(elastic=False)).shares
    assert [rigid[n].gpus for n in (0, 1)] == [4, 2]


def test_held_jobs_keep_their_gpus_but_not_their_clock():
    table = fitted()["resnet50"]
    running = Active(job(0, 0, 1e5), table, 1e5, share=Share(2, 0), since=-10.0)
    old = Active(job(1, 0, 1e5), table, 1e5, share=Share(2, 0), since=-1e6)
    plan = powerflow.schedule(View(0.0, [running, old], 16, 8, 60.0), powerflow.Config())
    assert plan.shares[0] == Share(2, 5)
    assert plan.shares[1].gpus > 2
    assert plan.review_s == pytest.approx(890)

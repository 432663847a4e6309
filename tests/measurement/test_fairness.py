"""Group metrics against independent answers, and the study's promises: calibrated under the null, powerful off it."""

from itertools import product
from math import comb

import numpy as np
import pytest
from scipy import stats

from reference_impls.measurement import fairness
from reference_impls.measurement.fairness import Counts, Outcomes

CASES = [(Counts(41, 71), Counts(600, 900)), (Counts(0, 12), Counts(7, 15)), (Counts(30, 30), Counts(25, 30))]


def outcomes_of(hit, group, cluster=None):
    hit = np.asarray(hit, dtype=float)
    return Outcomes(hit, np.asarray(group), np.arange(len(hit)) if cluster is None else np.asarray(cluster))


@pytest.mark.parametrize(("one", "zero"), CASES)
def test_the_squared_z_is_pearsons_chi_square(one, zero):
    table = [[c.hits, c.labels - c.hits] for c in (one, zero)]
    chi = stats.chi2_contingency(table, correction=False)
    found = fairness.two_proportion_test(one, zero)
    assert found.statistic**2 == pytest.approx(chi.statistic)
    assert found.p == pytest.approx(chi.pvalue)
    assert np.sign(found.statistic) == np.sign(one.recall - zero.recall)


def test_the_z_test_agrees_with_every_relabelling_of_a_small_table():
    hit = np.array([1] * 14 + [0] * 4 + [1] * 7 + [0] * 11, dtype=float)
    seen = abs(fairness.gap(outcomes_of(hit, [1] * 18 + [0] * 18)))
    # Which 18 of 36 are group 1: the number of hits among them is hypergeometric, each number counted exactly.
    ways = {k: comb(21, k) * comb(15, 18 - k) for k in range(3, 19)}
    exact = sum(n for k, n in ways.items() if abs(k - (21 - k)) / 18 >= seen - 1e-12) / comb(36, 18)
    found = fairness.two_proportion_test(Counts(14, 18), Counts(7, 18)).p
    assert exact == pytest.approx(stats.fisher_exact([[14, 4], [7, 11]]).pvalue)
    assert found < exact < 2.5 * found  # the normal approximation has no correction: somewhat too sure


def test_where_everything_or_nothing_is_hit_nothing_differs():
    assert fairness.two_proportion_test(Counts(9, 9), Counts(5, 5)).p == 1
    assert fairness.two_proportion_test(Counts(0, 9), Counts(0, 5)).p == 1


@pytest.mark.parametrize(("one", "zero"), CASES)
def test_the_score_interval_is_scipys_and_newcombes_is_built_of_two(one, zero):
    ends = []
    for counts in (one, zero):
        theirs = stats.binomtest(int(counts.hits), counts.labels).proportion_ci(method="wilson")
        assert fairness.wilson(counts) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        ends.append(theirs)
    lo, hi = fairness.newcombe(one, zero)
    difference = one.recall - zero.recall
    assert lo == pytest.approx(difference - np.hypot(one.recall - ends[0].low, ends[1].high - zero.recall))
    assert hi == pytest.approx(difference + np.hypot(ends[0].high - one.recall, zero.recall - ends[1].low))
    assert -1 <= lo <= difference <= hi <= 1


def test_newcombes_interval_is_the_one_of_his_table():
    lo, hi = fairness.newcombe(Counts(56, 70), Counts(48, 80))  # example (a), method 10: 0.0524 to 0.3339
    assert (lo, hi) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_adjusted_p_values_are_those_worked_by_hand_and_scipys():
    p = [0.01, 0.04, 0.03, 0.005]
    assert fairness.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    many = np.random.default_rng(0).random(50) ** 3
    theirs = stats.false_discovery_control(many, method="bh")
    assert fairness.benjamini_hochberg(many) == pytest.approx(theirs.tolist())
    assert (np.array(fairness.holm(many)) >= theirs - 1e-12).all()


@pytest.mark.parametrize(("lost", "won"), [(9, 2), (0, 6), (3, 3), (0, 0)])
def test_mcnemar_is_the_sign_test_of_the_items_that_changed(lost, won):
    before = np.array([1] * lost + [0] * won + [1, 1, 0], dtype=float)
    after = np.array([0] * lost + [1] * won + [1, 1, 0], dtype=float)
    found = fairness.mcnemar(before, after)
    assert found.statistic == lost - won
    assert found.p == pytest.approx(stats.binomtest(lost, lost + won).pvalue if lost + won else 1)


def test_few_labels_see_large_gaps_only():
    # 71 children at night against 900 adults, at a recall of 0.6
    assert 0.03 < fairness.minimum_detectable_gap(71, 900, recall=0.6) < 0.2
    assert fairness.minimum_detectable_gap(72, 72) == pytest.approx(2.8016 * np.sqrt(0.5 / 72), rel=1e-4)


@pytest.mark.parametrize("size", [0.05, 0.10, 0.20])
def test_a_gap_is_found_as_often_as_the_power_says(size):
    rng = np.random.default_rng(1)
    labels, studies = 300, 2000
    hits = rng.binomial(labels, [0.5 + size / 2, 0.5 - size / 2], size=(studies, 2))
    found = [
        fairness.two_proportion_test(Counts(one, labels), Counts(zero, labels)).p < 0.05 for one, zero in hits.tolist()
    ]
    spread = np.sqrt((0.25 - size**2 / 4) * 2 / labels)
    predicted = stats.norm.cdf(size / spread - 1.96)
    assert np.mean(found) == pytest.approx(predicted, abs=0.04)  # 2,000 studies: 3 deviations are 0.034


def test_under_a_shuffled_attribute_p_values_are_uniform():
    rng = np.random.default_rng(2)
    hit, group = rng.random(2000) < 0.6, np.arange(2000) < 700
    p = []
    for _ in range(1000):
        rng.shuffle(group)
        one = outcomes_of(hit, group.astype(int))
        p.append(fairness.two_proportion_test(one.counts(1), one.counts(0)).p)
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 0.021  # three deviations of 1,000 draws
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_runs_repeated_are_no_new_evidence():
    rng = np.random.default_rng(3)
    once = (rng.random(200) < 0.5).astype(float)
    group = np.arange(200) % 2
    ten = fairness.average_runs(np.tile(once, (10, 1)))
    a, b = outcomes_of(once, group), outcomes_of(ten, group)
    assert fairness.two_proportion_test(a.counts(1), a.counts(0)) == fairness.two_proportion_test(
        b.counts(1), b.counts(0)
    )


def test_a_gap_that_is_one_of_size_vanishes_within_sizes():
    # Group 1 has small boxes three times of four, group 0 one of four; a small one is hit half as often, whoever it is.
    cells = [(1, 0, 30, 60), (1, 1, 16, 20), (0, 0, 10, 20), (0, 1, 48, 60)]  # group, stratum, hits, labels
    hit = np.concatenate([np.arange(n) < hits for _, _, hits, n in cells])
    group = np.concatenate([np.full(n, g) for g, _, _, n in cells])
    stratum = np.concatenate([np.full(n, s) for _, s, _, n in cells])
    mixed = outcomes_of(hit, group)
    assert fairness.gap(mixed) == pytest.approx(46 / 80 - 58 / 80)
    assert fairness.stratified_gap(mixed, stratum) == pytest.approx(0, abs=1e-12)
    assert fairness.stratified_gap(mixed, np.zeros(160, dtype=int)) == pytest.approx(fairness.gap(mixed))
    with pytest.raises(ValueError, match="no stratum"):
        fairness.stratified_gap(mixed, group)


def test_the_odds_ratio_is_that_of_the_cells_and_finite():
    assert fairness.odds_ratio(Counts(400, 800), Counts(200, 800)) == pytest.approx(3, rel=0.01)
    assert np.isfinite(fairness.odds_ratio(Counts(5, 5), Counts(0, 5)))


# The change of a gap.


def test_no_change_is_exactly_none():
    rng = np.random.default_rng(4)
    one = outcomes_of(rng.random(80) < 0.7, np.arange(80) % 2, np.arange(80) // 4)
    found = fairness.change_of_gap(one, one)
    assert (found.value, found.p) == (0, 1)
    plain = fairness.change_of_gap(one, one, fairness.Config(imaginary=False))
    assert (plain.value, plain.lo, plain.hi, plain.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("clusters", [20, 40, 80])
def test_where_nothing_changed_the_study_still_says_what_it_could_have_missed(clusters):
    one = outcomes_of(np.ones(2 * clusters), np.tile([0, 1], clusters), np.arange(clusters).repeat(2))
    found = fairness.change_of_gap(one, one)
    assert 1 / clusters < found.detectable() < 6 / clusters  # the rule of three: up to 3 / n may have been missed
    assert found.margin == pytest.approx(-found.lo, rel=0.5)


def test_everyone_worse_alike_is_no_change_of_the_gap():
    group = np.tile([0, 1], 40)
    dense, smaller = outcomes_of(np.ones(80), group, np.arange(80) // 2), np.ones(80)
    smaller[:20] = 0  # ten pairs, both items lost
    plain = fairness.Config(imaginary=False)
    found = fairness.change_of_gap(dense, outcomes_of(smaller, group, np.arange(80) // 2), plain)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.margin == pytest.approx(0, abs=1e-12)  # lost as pairs: every template loses both


def test_the_bootstrap_of_few_clusters_is_that_of_all_its_draws():
    hit = np.array([[1, 1], [1, 1], [1, 1], [1, 1]], dtype=float)  # (clusters, group)
    lost = np.array([[0, 1], [1, 1], [0, 0], [0, 1]], dtype=float)
    group, cluster = np.tile([0, 1], 4), np.repeat(np.arange(4), 2)
    moved = (lost - hit)[:, 1] - (lost - hit)[:, 0]
    draws = [moved[list(chosen)].mean() for chosen in product(range(4), repeat=4)]
    dense, smaller = outcomes_of(hit.ravel(), group, cluster), outcomes_of(lost.ravel(), group, cluster)
    found = fairness.change_of_gap(dense, smaller, fairness.Config(imaginary=False))
    assert found.value == pytest.approx(moved.mean())
    assert found.standard_error == pytest.approx(np.std(draws), rel=0.03)  # 10,000 draws
    assert (found.lo, found.hi) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))


def study(rng, clusters, loss):
    """A dense model, and one that loses each hit of group 1 with probability `loss`; items of a cluster are alike."""
    ease = rng.beta(4, 2, clusters).repeat(4)
    group, cluster = np.tile([0, 1], 2 * clusters), np.arange(clusters).repeat(4)
    hit = rng.random(4 * clusters) < ease
    kept = rng.random(4 * clusters) >= np.where(group == 1, loss, 0.1)
    return outcomes_of(hit, group, cluster), outcomes_of(hit & kept, group, cluster)


def test_the_interval_of_a_change_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    truth = -(4 / 6) * (0.3 - 0.1)  # mean ease times the losses' difference
    config = fairness.Config(resamples=400)
    found = [fairness.change_of_gap(*study(rng, 60, 0.3), config) for _ in range(400)]
    held = np.mean([one.lo <= truth <= one.hi for one in found])
    assert 0.91 < held < 0.98  # 95 % nominal, deviation 1.1 %; the percentile bootstrap is a little short
    stated, seen = np.mean([one.standard_error for one in found]), np.std([one.value for one in found])
    assert stated == pytest.approx(seen, rel=0.15)


def test_pairing_finds_what_two_separate_samples_would_miss():
    dense, smaller = study(np.random.default_rng(6), 60, 0.3)
    paired = fairness.change_of_gap(dense, smaller).detectable()
    separate = fairness.minimum_detectable_gap(120, 120) * np.sqrt(2)
    assert paired < 0.7 * separate


def test_without_a_difference_false_alarms_are_as_rare_as_stated():
    rng = np.random.default_rng(7)
    config = fairness.Config(resamples=400)
    alarms = [fairness.change_of_gap(*study(rng, 60, 0.1), config).p < 0.05 for _ in range(400)]
    assert 0.01 < np.mean(alarms) < 0.09


def test_other_items_are_refused():
    a = outcomes_of([1, 0, 1, 1], [0, 1, 0, 1])
    with pytest.raises(ValueError, match="same items"):
        fairness.change_of_gap(a, outcomes_of([1, 0, 1, 1], [1, 0, 0, 1]))


@pytest.mark.parametrize("bad", [(3, 2), (-1, 4), (0, 0)])
def test_impossible_counts_are_refused(bad):
    with pytest.raises(ValueError, match="hits"):
        Counts(*bad)


def test_one_group_alone_is_refused():
    with pytest.raises(ValueError, match="groups"):
        outcomes_of([1, 0], [1, 1])

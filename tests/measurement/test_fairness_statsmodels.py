"""The statistics of group fairness against statsmodels, the library whose test the study itself used."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.measurement import fairness
from reference_impls.measurement.fairness import Counts

proportion = pytest.importorskip("statsmodels.stats.proportion")
contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
multitest = pytest.importorskip("statsmodels.stats.multitest")
power = pytest.importorskip("statsmodels.stats.power")


@st.composite
def counts(draw):
    labels = draw(st.integers(2, 3000))
    return Counts(draw(st.integers(0, labels)), labels)


two = settings(max_examples=60, deadline=None)


@two
@given(one=counts(), zero=counts())
def test_the_test_of_two_proportions(one, zero):
    if 0 < one.hits + zero.hits < one.labels + zero.labels:
        theirs = proportion.proportions_ztest([one.hits, zero.hits], [one.labels, zero.labels])
        found = fairness.two_proportion_test(one, zero)
        assert (found.statistic, found.p) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


@two
@given(one=counts(), zero=counts(), confidence=st.floats(0.5, 0.999))
def test_the_intervals_of_a_share_and_of_a_difference(one, zero, confidence):
    theirs = proportion.proportion_confint(one.hits, one.labels, 1 - confidence, method="wilson")
    assert fairness.wilson(one, confidence) == pytest.approx(theirs, abs=1e-9)
    difference = proportion.confint_proportions_2indep(
        one.hits, one.labels, zero.hits, zero.labels, method="newcomb", compare="diff", alpha=1 - confidence
    )
    assert fairness.newcombe(one, zero, confidence) == pytest.approx(difference, abs=1e-9)


@settings(max_examples=6, deadline=None)  # theirs takes a tenth of a second
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_corrections_for_many_tests(p):
    assert fairness.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1].tolist(), abs=1e-12)
    theirs = multitest.multipletests(p, method="fdr_bh")[1].tolist()
    assert fairness.benjamini_hochberg(p) == pytest.approx(theirs, abs=1e-12)


@two
@given(lost=st.integers(0, 40), won=st.integers(0, 40))
def test_the_test_of_items_that_changed(lost, won):
    before = np.array([1] * lost + [0] * won + [1, 0], dtype=float)
    after = np.array([0] * lost + [1] * won + [1, 0], dtype=float)
    theirs = contingency.mcnemar([[1, lost], [won, 1]], exact=True)
    assert fairness.mcnemar(before, after).p == pytest.approx(theirs.pvalue, abs=1e-12)


@two
@given(one=counts(), zero=counts())
def test_the_odds_ratio_with_half_a_count_in_each_cell(one, zero):
    cells = np.array([[each.hits, each.labels - each.hits] for each in (one, zero)])
    assert fairness.odds_ratio(one, zero) == pytest.approx(contingency.Table2x2(cells + 0.5).oddsratio)


@pytest.mark.parametrize(("labels1", "labels0", "recall"), [(71, 900, 0.6), (300, 300, 0.5), (40, 2000, 0.9)])
@pytest.mark.parametrize("wanted", [0.8, 0.9])
def test_the_gap_that_a_study_can_see(labels1, labels0, recall, wanted):
    # Their effect is in deviations of one item; that of a hit is sqrt(recall * (1 - recall)).
    effect = power.NormalIndPower().solve_power(nobs1=labels1, ratio=labels0 / labels1, alpha=0.05, power=wanted)
    found = fairness.minimum_detectable_gap(labels1, labels0, recall, wanted)
    assert found == pytest.approx(effect * np.sqrt(recall * (1 - recall)), rel=1e-4)


@pytest.mark.parametrize("size", [0.1, 0.2])
def test_the_power_at_a_gap(size):
    """Injected gaps are found as often as their formula for two proportions foretells."""
    labels, studies = 200, 1500
    high, low = 0.5 + size / 2, 0.5 - size / 2
    theirs = proportion.power_proportions_2indep(size, low, labels, ratio=1, alpha=0.05).power
    hits = np.random.default_rng(0).binomial(labels, [high, low], size=(studies, 2)).tolist()
    found = np.mean([fairness.two_proportion_test(Counts(a, labels), Counts(b, labels)).p < 0.05 for a, b in hits])
    assert found == pytest.approx(theirs, abs=3.5 * np.sqrt(theirs * (1 - theirs) / studies) + 0.01)


def test_a_gap_within_strata_is_the_mantel_haenszel_difference():
    """Against the estimate written out with their tables of strata: weights n1 n0 / (n1 + n0)."""
    rng = np.random.default_rng(1)
    group, stratum = rng.integers(0, 2, 600), rng.integers(0, 4, 600)
    hit = (rng.random(600) < 0.3 + 0.1 * stratum + 0.1 * group).astype(float)
    tables = [
        np.array([[hit[(stratum == s) & (group == g)].sum(), (1 - hit[(stratum == s) & (group == g)]).sum()]
                  for g in (1, 0)])
        for s in range(4)
    ]  # fmt: skip
    ours = fairness.stratified_gap(fairness.Outcomes(hit, group, np.arange(600)), stratum)
    weights = [table.sum(1).prod() / table.sum() for table in tables]
    risks = [contingency.Table2x2(table).riskratio for table in tables]
    base = [table[1, 0] / table[1].sum() for table in tables]
    by_ratio = sum(w * b * (r - 1) for w, b, r in zip(weights, base, risks, strict=True)) / sum(weights)
    assert ours == pytest.approx(by_ratio)

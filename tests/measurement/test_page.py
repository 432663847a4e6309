"""What the page on performance testing says holds: its sums are right, and its findings were recorded."""

import json
from pathlib import Path
from statistics import fmean

import pytest
from scipy.stats import binom

from reference_impls.measurement.intervals import ranks
from reference_impls.measurement.variance import smallest_with_ranks
from scripts.catalogue.model import Run
from scripts.website.plots.stopping import Scores, scores_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "techniques" / "measurement" / "performance-testing.md").read_text("utf-8")
RECORDED = sorted((ROOT / "results").glob("*/measurement.json"))


def coverage(low, high, n, share):
    """The chance that the percentile lies between the low-th and the high-th of n sorted runs."""
    return binom.cdf(high - 1, n, share) - binom.cdf(low - 1, n, share)


def test_the_ranks_and_shares_of_the_page_are_right():
    assert "l = 14 and u = 27" in PAGE
    assert ranks(40, 0.5) == (14, 27)
    assert round(100 * coverage(14, 27, 40, 0.5)) == 96
    low, high = ranks(40, 0.75)
    assert round(100 * coverage(low, high, 40, 0.75)) == 96
    assert round(100 * coverage(low + 1, high + 1, 40, 0.75)) == 94
    assert [smallest_with_ranks(share) for share in (0.5, 0.25, 0.75, 0.9, 0.99)] == [6, 16, 16, 45, 476]
    assert "a median needs 6 runs, a quartile 16, the 90th percentile 45 and the 99th 476" in PAGE


def recorded_scores() -> Scores:
    if not RECORDED:
        pytest.skip("results/ holds no run of this suite yet")
    return scores_of(Run.model_validate_json(RECORDED[-1].read_text("utf-8")).measurements)


def test_the_findings_of_the_page_are_those_recorded():
    scores = recorded_scores()
    right = {shape: {rule: one.stop_coverage for rule, one in rules.items()} for shape, rules in scores.items()}
    runs = {shape: {rule: one.repetitions for rule, one in rules.items()} for shape, rules in scores.items()}
    held = {shape: {rule: one.interval_coverage for rule, one in rules.items()} for shape, rules in scores.items()}
    independent = [shape for shape in scores if shape not in ("ar1", "late-mode")]

    for rule in ("median-only", "confirm", "metior", "pt4cloud"):  # stop too early
        assert all(right[shape][rule] < right[shape]["superflow"] for shape in scores)
        assert right["late-mode"][rule] < 20
    for shape in independent:  # looking often costs little
        assert held[shape]["superflow"] > 94
        assert 91 < held[shape]["median-only"] < held[shape]["fixed-own-mean"]
    cost = [runs[shape]["confidence-sequence"] / runs[shape]["superflow"] for shape in scores]
    assert 1.7 < fmean(cost) < 3
    assert max(held["ar1"][rule] for rule in ("superflow", "fixed-50", "fixed-own-mean")) < 85  # dependence costs much
    assert held["ar1"]["superflow"] < held["ar1"]["superflow-adaptive"] < 90
    for shape in ("ar1", "normal"):  # the plain bootstrap
        assert runs[shape]["superflow-bootstrap"] < runs[shape]["superflow"]
        assert right[shape]["superflow-bootstrap"] < right[shape]["superflow"]
    told = [right[shape]["fixed-own-mean"] - right[shape]["superflow"] for shape in scores]
    assert abs(fmean(told)) < 3  # as good when told
    assert min(right[shape]["superflow"] for shape in scores) > 10 + min(
        right[shape]["fixed-overall-mean"] for shape in scores
    )


def test_every_recorded_sample_of_the_study_counts_whole_trials():
    recorded_scores()
    for path in RECORDED:
        for one in json.loads(path.read_text("utf-8"))["measurements"]:
            if one["metric"] == "stop_coverage":
                size = one["workload"]["trials_per_sample"]
                assert all(abs(share * size / 100 - round(share * size / 100)) < 1e-6 for share in one["samples"])

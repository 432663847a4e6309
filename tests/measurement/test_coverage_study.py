"""How often the estimate at the stop is truly within the error bound: what `confidence` alone does not say.

Checking after every batch is optional stopping, so this is measured, not assumed. The quick version runs everywhere;
the study of 500 trials is slow. Both assert orderings and loose bounds, never digits.
"""

from itertools import pairwise

import numpy as np
import pytest

from reference_impls.measurement.confidence_sequence import Config as SequenceConfig
from reference_impls.measurement.confidence_sequence import TimeUniform
from reference_impls.measurement.stopping_baselines import Config as BaselineConfig
from reference_impls.measurement.stopping_baselines import median_only
from reference_impls.measurement.superflow import Config, Stopper
from tests.measurement.series import SHAPES, feed

R, CAP = 0.02, 3000
RULES = {
    "median only": lambda: median_only(BaselineConfig(error_bound=R, max_n=CAP)),
    "no stability": lambda: Stopper(Config(error_bound=R, max_n=CAP, stability=False)),
    "SuperFlow": lambda: Stopper(Config(error_bound=R, max_n=CAP)),
    "time-uniform": lambda: TimeUniform(SequenceConfig(error_bound=R, max_n=CAP)),
}


def study(shape, rule, trials):
    """-> share of trials within r of the true percentile, per percentile; mean runs; share cut at the cap."""
    draw, truth = SHAPES[shape]
    within, runs, cut = [], [], []
    for seed in range(trials):
        stopper = RULES[rule]()
        decision = feed(stopper, draw(np.random.default_rng([7, seed]), CAP))
        found = np.percentile(stopper.sample.ordered, list(truth))
        within.append([abs(value / true - 1) <= R for value, true in zip(found, truth.values(), strict=True)])
        runs.append(decision.n)
        cut.append(decision.reason == "max_n")
    return dict(zip(truth, np.mean(within, axis=0), strict=True)), float(np.mean(runs)), float(np.mean(cut))


@pytest.mark.parametrize("shape", ["normal", "bimodal"])
def test_superflow_is_within_the_bound_more_often_than_the_median_alone(shape):
    alone, alone_runs, _ = study(shape, "median only", 60)
    superflow, superflow_runs, cut = study(shape, "SuperFlow", 60)
    assert cut == 0
    assert alone_runs < superflow_runs
    for percentile in (25, 50, 75):
        assert superflow[percentile] >= 0.95
        assert superflow[percentile] >= alone[percentile]


def test_the_median_alone_says_little_about_another_percentile():
    alone, _, _ = study("bimodal", "median only", 60)
    assert alone[75] < 0.8 < 0.9 < alone[50]


def test_a_heavy_tail_hits_the_cap_and_is_reported():
    _, runs, cut = study("pareto", "SuperFlow", 12)
    assert cut > 0.4
    assert runs <= CAP


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["normal", "lognormal", "bimodal", "correlated"])
def test_the_order_of_the_rules_over_500_trials(shape):
    found = {rule: study(shape, rule, 500) for rule in RULES}
    runs = [runs for _, runs, _ in found.values()]
    medians = [within[50] for within, _, _ in found.values()]
    thirds = [within[75] for within, _, _ in found.values()]
    assert runs == sorted(runs)
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(medians))
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(thirds))
    assert found["SuperFlow"][0][50] > (0.9 if shape == "correlated" else 0.98)
    assert found["time-uniform"][0][50] > 0.97


@pytest.mark.slow
def test_dependence_is_what_breaks_it_and_blocks_help():
    draw, truth = SHAPES["correlated"]
    covered = {"general": [], "switched": []}
    for seed in range(100):
        samples = draw(np.random.default_rng([8, seed]), CAP)
        for name, limit in (("general", None), ("switched", 0.2)):
            stopper = Stopper(Config(error_bound=R, max_n=CAP, correlation_limit=limit))
            middle = feed(stopper, samples).estimates[1]
            covered[name].append(middle.lo <= truth[50] <= middle.hi)
    assert np.mean(covered["general"]) < 0.9
    assert np.mean(covered["switched"]) >= np.mean(covered["general"])

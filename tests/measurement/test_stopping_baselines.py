import numpy as np
import pytest

from reference_impls.measurement.similarity import similarity
from reference_impls.measurement.stopping_baselines import Config, Confirm, FixedCount, Metior, PT4Cloud, median_only
from reference_impls.measurement.superflow import Config as SuperFlowConfig
from reference_impls.measurement.superflow import Stopper
from tests.measurement.series import bimodal, feed, lognormal, normal, pareto

RULES = {
    "fixed": FixedCount,
    "median": lambda config: median_only(config),
    "pt4cloud": PT4Cloud,
    "metior": Metior,
    "confirm": Confirm,
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_the_budget_and_refuses_what_is_no_latency(rule):
    config = Config(max_n=43, count=1000, error_bound=0.001, threshold=0.9999, resamples=50)
    decision = feed(RULES[rule](config), pareto(np.random.default_rng(0), 100))
    assert (decision.reason, decision.n, decision.converged) == ("max_n", 43, False)
    with pytest.raises(ValueError, match="finite number"):
        RULES[rule](config).update(float("nan"))


@pytest.mark.parametrize("rule", ["median", "metior", "confirm", "pt4cloud"])
def test_a_constant_stops_at_the_first_judgement(rule):
    expected = {"median": 10, "metior": 10, "confirm": 10, "pt4cloud": 10}
    assert feed(RULES[rule](Config()), [2.0] * 100).n == expected[rule]


@pytest.mark.parametrize("count", [1, 7, 50])
def test_a_fixed_count_is_exact_and_no_success(count):
    decision = feed(FixedCount(Config(count=count)), [1.0] * 100)
    assert (decision.n, decision.reason, decision.stop, decision.converged) == (count, "count", True, False)


def test_pt4cloud_stops_at_the_first_batch_that_changed_little():
    samples = lognormal(np.random.default_rng(1), 300)
    alike = [n for n in range(10, 301, 5) if similarity(samples[: n - 5], samples[:n]) >= 0.9]
    assert feed(PT4Cloud(), samples).n == alike[0]


def test_confirm_of_one_subsample_is_the_interval_of_the_median():
    # with a single shuffle the largest size is the sample itself, whatever the draw
    samples = np.concatenate([np.linspace(0.9, 1.1, 10), np.ones(90)])
    stop = feed(Confirm(Config(subsamples=1)), samples)
    assert stop.n == feed(median_only(Config()), samples).n


def test_metior_depends_on_its_generator_alone():
    samples = lognormal(np.random.default_rng(2), 300)
    runs = [feed(Metior(Config(resamples=100), np.random.default_rng(3)), samples).n for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_stricter_bound_never_stops_earlier():
    samples = lognormal(np.random.default_rng(4), 600)
    for make in (median_only, lambda config: PT4Cloud(config)):
        loose = feed(make(Config(error_bound=0.05, threshold=0.8)), samples).n
        assert loose <= feed(make(Config(error_bound=0.02, threshold=0.95)), samples).n


def test_the_published_order_of_cost_holds_on_a_two_mode_series():
    # PT4Cloud < CONFIRM < median only at 1 % < SuperFlow at 1 %, in mean runs
    runs = {name: [] for name in ("pt4cloud", "confirm", "median", "superflow")}
    for seed in range(8):
        samples = bimodal(np.random.default_rng([5, seed]), 1500)
        runs["pt4cloud"].append(feed(PT4Cloud(), samples).n)
        runs["confirm"].append(feed(Confirm(), samples).n)
        runs["median"].append(feed(median_only(Config(error_bound=0.01)), samples).n)
        runs["superflow"].append(feed(Stopper(SuperFlowConfig(max_n=1500)), samples).n)
    means = [np.mean(found) for found in runs.values()]
    assert means == sorted(means)


def test_every_rule_notes_the_median_it_saw():
    samples = normal(np.random.default_rng(6), 60)
    decision = feed(FixedCount(Config(count=60)), samples)
    assert decision.estimates[0].value == pytest.approx(np.median(samples))
    assert decision.estimates[0].lo == np.sort(samples)[21]  # rank rint(30 - 1.96 * 3.87) = 22


@pytest.mark.parametrize("wrong", [{"threshold": 1.0}, {"count": 0}, {"smallest": 9}, {"max_n": 5}])
def test_a_config_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)

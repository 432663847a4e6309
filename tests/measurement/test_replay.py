import os
from pathlib import Path

import numpy as np
import pytest

from reference_impls.measurement.replay import Outcome, equal_budget, load_series, replay, summarise
from reference_impls.measurement.similarity import similarity
from reference_impls.measurement.stopping_baselines import Config as BaselineConfig
from reference_impls.measurement.stopping_baselines import FixedCount
from reference_impls.measurement.superflow import Config, Stopper
from tests.measurement.series import bimodal, lognormal, normal


def test_csv_and_npz_give_the_same_series(tmp_path):
    (tmp_path / "runs.csv").write_text("one,two\n1.5,2\n3,\n4,\n")
    np.savez(tmp_path / "runs.npz", one=[1.5, 3, 4], two=[2])
    for name in ("runs.csv", "runs.npz"):
        series = load_series(tmp_path / name)
        assert {name: runs.tolist() for name, runs in series.items()} == {"one": [1.5, 3, 4], "two": [2]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("runs.csv", "one,two\n1,2\n3,x\n", r"runs.csv: line 3: two: expected a number, got 'x'"),
        ("runs.csv", "one,one\n1,2\n", "line 1: every series needs a name of its own"),
        ("runs.xlsx", "", "expected a .csv"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_series(tmp_path / name)


def test_an_absent_file_is_said_to_be_absent_with_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file; expected a \.csv"):
        load_series(tmp_path / "cold.csv")


def test_pickled_arrays_are_not_loaded(tmp_path):
    np.savez(tmp_path / "runs.npz", one=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_series(tmp_path / "runs.npz")


def test_an_outcome_is_what_the_rule_saw():
    runs, apart = normal(np.random.default_rng(0), 200), normal(np.random.default_rng(1), 200)
    rules = {"fixed": lambda: FixedCount(BaselineConfig(count=30)), "SuperFlow": Stopper}
    fixed, superflow = replay({"f": runs}, rules, {"f": apart})
    assert fixed == Outcome("fixed", "f", 30, "count", similarity(runs[:30], runs), similarity(runs[:30], apart))
    assert (superflow.n, superflow.reason) == (200, "exhausted")  # 1 % of a 5 % spread needs about 300 runs
    assert superflow.accuracy == pytest.approx(1)
    assert superflow.accuracy_independent < 1


def test_the_summary_counts_cost_worst_case_and_cuts():
    outcomes = [
        Outcome("r", "f", 10, "converged", 0.9, None),
        Outcome("r", "g", 30, "max_n", 0.5, 0.4),
        Outcome("s", "f", 5, "count", 0.1, None),
    ]
    first, second = summarise(outcomes)
    assert (first.rule, first.mean_runs, first.accuracy, first.worst) == ("r", 20, pytest.approx(0.7), 0.5)
    assert (first.accuracy_independent, first.cut_short) == (0.4, 1)
    assert (second.mean_runs, second.accuracy_independent, second.cut_short) == (5, None, 0)
    assert equal_budget(outcomes, "r")().config.count == 20


def test_at_equal_budget_the_rule_spends_where_the_spread_is_which_similarity_does_not_reward():
    draws = {"quiet": lambda rng, n: 1 + (normal(rng, n) - 1) / 10, "modes": bimodal, "skewed": lognormal}
    series = {
        f"{name} {seed}": draw(np.random.default_rng([2, seed]), 1000)
        for name, draw in draws.items()
        for seed in range(4)
    }
    rules = {"SuperFlow": lambda: Stopper(Config(error_bound=0.02))}
    outcomes = replay(series, rules)
    outcomes += replay(series, {"fixed": equal_budget(outcomes, "SuperFlow")})
    superflow, fixed = summarise(outcomes)
    assert fixed.mean_runs == pytest.approx(superflow.mean_runs, abs=0.5)
    hard = {o.rule: o.n for o in outcomes if o.series == "modes 0"}
    easy = {o.rule: o.n for o in outcomes if o.series == "quiet 0"}
    assert easy["SuperFlow"] < fixed.mean_runs < hard["SuperFlow"]
    # similarity sees shape, not scale: a quiet series known to 0.5 % after 25 runs still counts as unlike its truth
    worst = min((o for o in outcomes if o.rule == "SuperFlow"), key=lambda outcome: outcome.accuracy)
    assert worst.series.startswith("quiet")
    assert superflow.worst < fixed.worst


def test_the_published_headline_where_the_released_data_are_at_hand():
    folder = os.environ.get("FRUGALFM_SUPERFLOW_DATA")
    if not folder:
        pytest.skip("set FRUGALFM_SUPERFLOW_DATA to a folder with cold.csv and warm.csv of the released 1000 runs")
    outcomes = [
        outcome
        for mode in ("cold", "warm")
        for outcome in replay(load_series(Path(folder) / f"{mode}.csv"), {"SuperFlow": Stopper})
    ]
    (summary,) = summarise(outcomes)
    assert 100 * summary.accuracy == pytest.approx(97.26, abs=0.3)
    assert summary.mean_runs == pytest.approx(288, abs=5)

"""The cases of this family: every method takes part, seeds matter, and a step can be timed as the bench times it."""

import math

import pytest
import torch

from reference_impls.adaptation import bench, methods, updates

pytest.importorskip("tokenizers", reason="tokenizers is not installed")
EVERY = [*methods(), *updates()]
CASES = {case.id: case for case in bench.cases()}


@pytest.fixture
def two_steps(monkeypatch):
    monkeypatch.setattr(bench, "STEPS", 2)
    bench.trained.cache_clear()
    yield
    bench.trained.cache_clear()


def test_every_method_is_in_every_case_of_equal_steps_under_one_name():
    for part in ("perplexity", "trained_parameters", "training_state_bytes"):
        found = {one.module: one.name for one in CASES[f"adaptation/tiny-target/equal-steps/{part}"].implementations}
        assert set(EVERY) == set(found) - {None}
        assert found["lora_plus"] == "lora-plus"
        assert found["bottleneck"] == "adapters"


def test_a_method_is_trained_at_the_rate_that_its_module_declares(monkeypatch):
    assert bench.rate_of("full") == bench.FULL_RATE
    for name, method in {**methods(), **updates()}.items():
        assert bench.rate_of(name) == method.LEARNING_RATE
        monkeypatch.delattr(method, "LEARNING_RATE")
        default = method.Config().learning_rate if name in updates() else bench.FULL_RATE
        assert bench.rate_of(name) == default


def test_every_method_whose_config_has_a_rank_is_in_the_cases_of_ranks():
    assert set(bench.ranked()) == {"lora", "dora", "pissa", "lora_plus"}
    found = CASES["adaptation/tiny-target/rank-2/perplexity"].implementations
    assert {one.module for one in found} - {None} == set(bench.ranked())


@pytest.mark.parametrize("name", ["full", *EVERY])
def test_a_training_changes_the_model_and_counts_what_it_held(two_steps, name):
    result = bench.trained(name, 4, 0)
    with torch.no_grad():
        logits = result.model(bench.capitals()[None, :16])
        assert not torch.equal(logits, bench.trained("none", 4, 0).model(bench.capitals()[None, :16]))
    assert math.isfinite(float(logits.sum()))
    weights = bench.trained("full", 4, 0).trained
    assert (result.trained == weights) == (name in ("full", "lomo", "mezo"))
    largest = max(parameter.nbytes for parameter in bench.trained("none", 4, 0).model.parameters())
    expected = {"lomo": largest, "mezo": 0}.get(name, 12 * result.trained)  # gradient and two moments in float32
    assert result.state_bytes == expected


def test_another_seed_is_another_training(two_steps):
    first, other, again = (bench.trained.__wrapped__("lora", 4, seed) for seed in (0, 1, 0))
    values = [bench.quality(one) for one in (first, other, again)]
    assert values[0] == values[2] != values[1]


def test_no_window_of_training_holds_a_token_that_is_evaluated():
    text = bench.capitals()
    behind = text[bench.EVALUATED :].unfold(0, bench.LENGTH + 1, 1)
    window = bench.windows_of(3)[0][0]
    assert (behind == window).all(1).any()


@pytest.mark.parametrize("name", ["full", *EVERY])
def test_a_step_runs_in_inference_mode_and_trains(name):
    [one] = [
        one for one in CASES["adaptation/tiny-target/training-step"].implementations if (one.module or one.name) == name
    ]
    step = one.prepare({}, "cpu")
    with torch.inference_mode():
        assert step() is None
        assert step() is None

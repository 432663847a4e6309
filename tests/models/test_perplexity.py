import math

import pytest
import torch
from torch import nn

from reference_impls.models.perplexity import mean_loss, token_losses, token_perplexity, windows
from tests.models.conftest import lively, some_tokens


@pytest.mark.parametrize(("context_length", "stride"), [(16, 16), (16, 5), (16, 1), (64, 64), (7, 7)])
def test_equals_a_loop_over_single_tokens(context_length, stride):
    model, tokens = lively(), some_tokens(50)
    total = 0.0
    for start, end, new in windows(50, context_length, stride):
        for target in range(end + 1 - new, end + 1):
            logits = model(tokens[None, start:target])[0, -1]
            total -= logits.log_softmax(-1)[tokens[target]].item()
    assert mean_loss(model, tokens, context_length, stride) == pytest.approx(total / 49, rel=1e-12)


@pytest.mark.parametrize("length", [2, 3, 16, 17, 33, 50])
@pytest.mark.parametrize(("context_length", "stride"), [(16, 16), (16, 5), (16, 1), (1, 1)])
def test_every_target_is_scored_once_with_its_context(length, context_length, stride):
    scored = []
    for start, end, new in windows(length, context_length, stride):
        assert end - start <= context_length
        targets = range(end + 1 - new, end + 1)
        assert all(target - start >= min(target, context_length - stride + 1) for target in targets)
        scored += targets
    assert scored == list(range(1, length))


def test_a_model_that_knows_nothing_hesitates_between_all_tokens():
    class Uniform(nn.Module):
        def forward(self, tokens):
            return torch.zeros(*tokens.shape, 97)

    assert token_perplexity(Uniform(), some_tokens(40), 8) == pytest.approx(97)


def test_more_context_of_the_same_text_scores_the_same_tokens():
    model, tokens = lively(), some_tokens(40)
    assert token_perplexity(model, tokens, 40, 40) == pytest.approx(token_perplexity(model, tokens, 64, 1))


def test_losses_by_hand():
    logits = torch.tensor([[0.2, 0.8], [0.5, 0.5]]).log()
    assert torch.allclose(token_losses(logits, torch.tensor([1, 0])), -torch.tensor([0.8, 0.5]).log())
    assert token_losses(logits.bfloat16(), torch.tensor([1, 0])).dtype == torch.float32


@pytest.mark.parametrize(("length", "context_length", "stride"), [(1, 8, 8), (9, 8, 0), (9, 8, 9)])
def test_impossible_windows_are_refused(length, context_length, stride):
    with pytest.raises(ValueError, match=r"stride|2 tokens"):
        list(windows(length, context_length, stride))


def test_perplexity_is_exp_of_the_loss():
    model, tokens = lively(), some_tokens(30)
    assert token_perplexity(model, tokens, 8) == math.exp(mean_loss(model, tokens, 8))

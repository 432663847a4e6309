import pytest
import torch

from reference_impls.models.generate import Config, choose, generate, keep_top_p, next_token_probs, pad_left
from tests.models.conftest import lively, seeded, some_tokens


def test_greedy_is_the_argmax_of_one_parallel_pass():
    model, prompt = lively(), some_tokens(2, 5)
    made = generate(model, prompt, 20)
    logits = model(torch.cat([prompt, made], 1))
    assert torch.equal(logits[:, 4:-1].argmax(-1), made)


def test_padding_changes_nothing():
    model = lively()
    prompts = [some_tokens(length, seed=length) for length in (3, 11, 7)]
    tokens, valid = pad_left(prompts, pad_token=5)
    together = generate(model, tokens, 12, valid=valid)
    alone = torch.cat([generate(model, prompt[None], 12) for prompt in prompts])
    assert torch.equal(together, alone)


def test_the_generator_decides():
    model, prompt, config = lively(), some_tokens(1, 5), Config(temperature=2.0)
    first, again, other = (generate(model, prompt, 12, config, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stops_when_every_row_has_stopped():
    model, prompt = lively(), some_tokens(2, 5)
    free = generate(model, prompt, 20)
    stop = int(free[0, 6])
    made = generate(model, prompt, 20, stop_token=stop)
    for row, usual in zip(made.tolist(), free.tolist(), strict=True):
        end = usual.index(stop) if stop in usual else 20
        assert row == (usual[:end] + [stop] * 20)[: len(row)]
    assert generate(model, prompt[:1], 20, stop_token=stop).shape[1] <= 7


def test_zero_new_tokens():
    assert generate(lively(), some_tokens(2, 5), 0).shape == (2, 0)


def test_temperature_and_top_p_by_hand():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert torch.allclose(next_token_probs(logits, Config(1.0, 0.7)), torch.tensor([[0.625, 0.375, 0, 0]]))
    # at temperature 1/2 the probabilities are squared: .25, .09, .0225, .0025 of .365
    expected = torch.tensor([[0.25, 0.09, 0.0225, 0.0025]]) / 0.365
    assert torch.allclose(next_token_probs(logits, Config(0.5)), expected)
    assert next_token_probs(logits, Config(0.0)).tolist() == [[1, 0, 0, 0]]


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    probs = torch.rand(50, 30, generator=seeded()).softmax(-1)
    kept = keep_top_p(probs, 0.6)
    assert torch.allclose(kept.sum(-1), torch.ones(50))
    for row, chosen in zip(probs, kept, strict=True):
        held = row[chosen > 0]
        assert held.sum() >= 0.6 - 1e-6
        assert held.sum() - held.min() < 0.6
        assert held.min() >= row[chosen == 0].max()


def test_draws_follow_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    config, draws = Config(0.8, 0.95), 20_000
    expected = next_token_probs(logits, config)
    found = choose(logits.expand(draws, 4), config, seeded()).bincount(minlength=4) / draws
    # five standard deviations of a share
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / draws).sqrt()).all()


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)

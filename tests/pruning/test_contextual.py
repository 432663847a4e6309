"""Contextual sparsity: all kept is dense, one token equals the mask, recall is what counting gives."""

import pytest
import torch
from torch import nn

from reference_impls.models.generate import generate
from reference_impls.pruning import Calibration
from reference_impls.pruning.contextual import (
    Config,
    ContextualFeedForward,
    OraclePredictor,
    activity,
    fit_predictor,
    most_active,
    recall,
    shrink,
)
from tests.quantization.cases import inputs_of, seeded, small_decoder, tokens_of

CHOICES = pytest.mark.parametrize("choice", ["learned", "gate", "oracle"])


def calibration(rows=64):
    return Calibration([tokens_of(4, 16)], sample_rows=rows)


def shrunk(kept, choice, model=None):
    return shrink(model or small_decoder(), Config(kept, choice, rank=8, steps=5), calibration())


@CHOICES
def test_all_kept_is_the_dense_model(choice):
    model = small_decoder(dtype=torch.float64)
    same = shrunk(1.0, choice, model)
    assert torch.allclose(same(tokens_of()), model(tokens_of()), atol=1e-12)
    assert torch.allclose(same(tokens_of(1, 1)), model(tokens_of(1, 1)), atol=1e-12)


@CHOICES
def test_one_token_reads_what_the_mask_keeps(choice):
    small = shrunk(0.3, choice, small_decoder(dtype=torch.float64))
    ffn = small.blocks[0].ffn
    x = torch.randn(6, 64, generator=seeded(), dtype=torch.float64)
    together = ffn(x)
    one_by_one = torch.cat([ffn(row[None]) for row in x])
    assert torch.allclose(together, one_by_one, atol=1e-12)
    assert ffn.count == 29


def test_what_the_predictor_does_not_name_is_not_computed():
    ffn = small_decoder(dtype=torch.float64).blocks[0].ffn
    sparse = ContextualFeedForward(ffn, OraclePredictor(ffn), 0.25)
    x = torch.randn(1, 64, generator=seeded(), dtype=torch.float64)
    chosen = sparse.choose(x).flatten()
    inner = nn.functional.silu(ffn.gate(x)) * ffn.up(x)
    by_hand = sum(inner[0, neuron] * ffn.down.weight[:, neuron] for neuron in chosen)
    assert torch.allclose(sparse(x)[0], by_hand, atol=1e-12)
    others = [neuron for neuron in range(96) if neuron not in chosen.tolist()]
    assert activity(ffn, x)[0, chosen].min() >= activity(ffn, x)[0, others].max()


def test_the_oracle_loses_less_with_more_kept_and_least_of_all_choices():
    model = small_decoder()
    exact = model(tokens_of())

    def loss(kept, choice):
        return float((shrunk(kept, choice, model)(tokens_of()) - exact).norm())

    losses = [loss(kept, "oracle") for kept in (0.1, 0.4, 0.7, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert loss(0.5, "oracle") < loss(0.5, "learned")


def test_it_generates_with_a_cache_what_it_computes_without():
    small = shrunk(0.4, "gate")
    tokens = tokens_of(1, 5)
    new = generate(small, tokens, 6)
    assert torch.equal(small(torch.cat([tokens, new], 1))[:, 4:-1].argmax(-1), new)


def test_the_oracles_recall_is_1_and_a_blind_ones_is_the_share():
    ffn = small_decoder().blocks[0].ffn
    x = inputs_of(400, 64)
    assert recall(ffn, OraclePredictor(ffn), x, 0.25) == 1.0

    class Blind(nn.Module):
        def forward(self, x):
            return torch.rand(len(x), 96, generator=seeded(5))

    assert recall(ffn, Blind(), x, 0.25) == pytest.approx(0.25, abs=0.03)


def test_recall_by_hand():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.arange(96.0).expand(len(x), 96)

    ffn = small_decoder().blocks[0].ffn
    x = inputs_of(5, 64)
    named = set(range(96 - 24, 96))
    true = [set(row.topk(24).indices.tolist()) for row in activity(ffn, x)]
    by_hand = sum(len(named & one) for one in true) / (24 * 5)
    assert recall(ffn, Fixed(), x, 0.25) == pytest.approx(by_hand)


def test_training_raises_recall_on_inputs_it_has_not_seen():
    ffn = small_decoder().blocks[0].ffn
    x = inputs_of(1500, 64)
    recalls = []
    for steps in (0, 200):
        predictor = fit_predictor(ffn, x[:1000], Config(0.25, rank=64, steps=steps))
        recalls.append(recall(ffn, predictor, x[1000:], 0.25))
    assert recalls[0] < 0.4
    assert recalls[1] > recalls[0] + 0.2


def test_the_same_seed_gives_the_same_predictor():
    ffn, x = small_decoder().blocks[0].ffn, inputs_of(100, 64)
    first, again, other = (fit_predictor(ffn, x, Config(rank=4, steps=3, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))


def test_most_active_names_the_same_number_for_each_token():
    scores = torch.rand(7, 96, generator=seeded())
    assert (most_active(scores, 0.3).sum(-1) == 29).all()
    assert (most_active(scores, 0.001).sum(-1) == 1).all()


@pytest.mark.parametrize("wrong", [{"kept": 0.0}, {"kept": 1.1}, {"choice": "magic"}, {"rank": 0}])
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)
    with pytest.raises(ValueError, match="give calibration"):
        shrink(small_decoder(), Config())

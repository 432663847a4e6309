"""LOMO is plain gradient descent, bit for bit, with one gradient alive at a time."""

import copy

import pytest
import torch

from reference_impls.adaptation import lomo
from tests.adaptation.cases import loss_of, model_of

STEPS = 4


def trainable_model():
    return model_of(torch.float32).requires_grad_(True)


def by_sgd(model, rate, clip=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        if clip:
            clip(model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def by_lomo(model, config):
    parameters = list(model.parameters())
    return [lomo.step(parameters, lambda: loss_of(model), config) for _ in range(STEPS)]


def test_it_equals_sgd_exactly():
    plain = trainable_model()
    fused = copy.deepcopy(plain)
    assert plain.head.weight is plain.embedding.weight  # one weight that two layers share is in it
    assert by_sgd(plain, 0.05) == by_lomo(fused, lomo.Config(learning_rate=0.05))
    for (name, one), other in zip(plain.named_parameters(), fused.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_clipping_elements_equals_sgds():
    plain = trainable_model()
    fused = copy.deepcopy(plain)
    by_sgd(plain, 0.05, lambda parameters: torch.nn.utils.clip_grad_value_(parameters, 1e-3))
    by_lomo(fused, lomo.Config(0.05, clip_value=1e-3))
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), fused.parameters(), strict=True))


@pytest.mark.parametrize("norm", [0.1, 1e3])
def test_clipping_the_norm_equals_sgds(norm):
    plain = trainable_model()
    fused = copy.deepcopy(plain)
    by_sgd(plain, 0.05, lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, norm))
    by_lomo(fused, lomo.Config(0.05, clip_norm=norm))
    for one, other in zip(plain.parameters(), fused.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)  # the two norms are summed in another order


def test_the_norm_is_that_of_all_gradients():
    model = trainable_model()
    found = lomo.gradient_norm(list(model.parameters()), lambda: loss_of(model))
    assert all(parameter.grad is None for parameter in model.parameters())
    loss_of(model).backward()
    assert found == pytest.approx(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])), rel=1e-5)


def test_one_gradient_is_alive_at_a_time_and_none_afterwards():
    model = trainable_model()
    parameters = list(model.parameters())
    alive = []
    lomo.backward_with(
        parameters, lambda: loss_of(model), lambda _p: alive.append(sum(p.grad is not None for p in parameters))
    )
    assert alive == [1] * len(parameters)
    assert all(parameter.grad is None for parameter in parameters)


def test_hooks_are_removed_also_when_the_loss_fails():
    model = trainable_model()
    parameters = list(model.parameters())

    def broken():
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        lomo.step(parameters, broken, lomo.Config())
    before = [parameter.detach().clone() for parameter in parameters]
    loss_of(model).backward()
    assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))
    assert all(parameter.grad is not None for parameter in parameters)


def test_gradients_of_several_batches_cannot_be_added_up():
    """What the method gives up: two steps on halves are not one step on the whole."""
    plain = trainable_model()
    halves = copy.deepcopy(plain)
    by_lomo(plain, lomo.Config(0.05))
    parameters = list(halves.parameters())
    for _ in range(2 * STEPS):
        lomo.step(parameters, lambda: loss_of(halves), lomo.Config(0.025))
    assert not all(torch.equal(one, other) for one, other in zip(plain.parameters(), parameters, strict=True))

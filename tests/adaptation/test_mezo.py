"""MeZO: the same seed is the same direction, the estimate is unbiased, and the seeds alone repeat a training."""

import copy

import pytest
import torch
from torch import nn

from reference_impls.adaptation import mezo
from tests.adaptation.cases import loss_of, model_of


def parameters_of(*shapes):
    generator = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def quadratic(parameters):
    """1/2 |diag(1..n) w|^2, whose gradient is known."""
    flat = torch.cat([p.flatten() for p in parameters])
    return (torch.arange(1.0, len(flat) + 1, dtype=torch.float64) * flat.square()).sum() / 2


def gradient(parameters):
    flat = torch.cat([p.detach().flatten() for p in parameters])
    return torch.arange(1.0, len(flat) + 1, dtype=torch.float64) * flat


def z_of(parameters, seed):
    moved = copy.deepcopy(parameters)
    mezo.move(moved, seed, 1.0)
    return torch.cat([(new - old).detach().flatten() for new, old in zip(moved, parameters, strict=True)])


def test_the_same_seed_is_the_same_direction_and_another_is_another():
    parameters = parameters_of((2, 3), (4,))
    assert torch.equal(z_of(parameters, 3), z_of(parameters, 3))
    assert not torch.allclose(z_of(parameters, 3), z_of(parameters, 4))
    assert not torch.allclose(z_of(parameters, 3)[:4], z_of(parameters, 3)[6:])  # tensors draw on, not anew


def test_directions_are_normal():
    z = z_of(parameters_of((200, 200)), 0)
    assert abs(float(z.mean())) < 4 / 200  # four standard errors
    assert abs(float(z.var()) - 1) < 4 * 2**0.5 / 200


@pytest.mark.parametrize("eps", [1e-3, 0.5])
def test_on_a_quadratic_the_slope_is_exact_at_any_distance(eps):
    parameters = parameters_of((2, 3), (4,))
    found, middle = mezo.slope(parameters, lambda: quadratic(parameters), mezo.Config(eps=eps), seed=7)
    z = z_of(parameters, 7)
    assert found == pytest.approx(float(gradient(parameters) @ z), rel=1e-6)
    assert middle > float(quadratic(parameters).detach())  # convex


def test_the_estimate_is_unbiased():
    parameters = parameters_of((5,))
    exact, config = gradient(parameters), mezo.Config(eps=0.1)
    estimates = []
    for seed in range(4000):
        found, _ = mezo.slope(parameters, lambda: quadratic(parameters), config, seed)
        estimates.append(found * z_of(parameters, seed))
    drawn = torch.stack(estimates)
    error = drawn.std(0) / len(drawn) ** 0.5
    assert ((drawn.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.2 * exact.norm()).all()  # so that the test could fail


def test_a_step_goes_down_the_direction_by_the_slope():
    parameters = parameters_of((6,))
    before = parameters[0].detach().clone()
    z, config = z_of(parameters, 2), mezo.Config(eps=1e-4, learning_rate=0.01)
    expected = before - 0.01 * float(gradient(parameters) @ z) * z
    mezo.step(parameters, lambda: quadratic(parameters), config, seed=2)
    assert torch.allclose(parameters[0].detach(), expected, atol=1e-9)


def test_looking_leaves_the_weights_where_they_were():
    parameters = parameters_of((50,))
    before = parameters[0].detach().clone()
    mezo.slope(parameters, lambda: quadratic(parameters), mezo.Config(), 0)
    assert torch.allclose(parameters[0].detach(), before, atol=1e-14)
    assert parameters[0].grad is None


def test_it_trains_a_decoder_and_its_seeds_repeat_the_training():
    model = model_of()
    start = copy.deepcopy(model)
    parameters, config = list(model.parameters()), mezo.Config(eps=1e-4, learning_rate=3e-4)
    log = []
    first = float(loss_of(model))
    for seed in range(60):
        found, _ = mezo.slope(parameters, lambda: loss_of(model), config, seed)
        mezo.move(parameters, seed, -config.learning_rate * found)
        log.append((seed, found))
    assert float(loss_of(model)) < first - 0.05
    mezo.replay(list(start.parameters()), log, config)
    for one, other in zip(start.parameters(), parameters, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_no_gradient_and_no_graph_is_made():
    parameters = parameters_of((3,))

    def loss():
        assert not torch.is_grad_enabled()
        return quadratic(parameters)

    mezo.step(parameters, loss, mezo.Config())

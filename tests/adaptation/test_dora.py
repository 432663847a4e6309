"""DoRA against its formula, and against LoRA where nothing tells them apart."""

import torch
from torch import nn

from reference_impls.adaptation import dora, lora
from tests.quantization.cases import seeded


def layer_of(out=5, width=6):
    torch.manual_seed(0)
    return nn.Linear(width, out, dtype=torch.float64)


def drawn(**options):
    found = dora.DoRALinear(layer_of(), dora.Config(rank=2, alpha=3.0, **options), seeded())
    found.up.data = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64)
    found.length.data = torch.rand(5, 1, generator=seeded(2), dtype=torch.float64) + 0.5
    return found


def test_each_row_has_the_length_that_is_trained_and_the_direction_of_the_changed_weight():
    found = drawn()
    changed = found.layer.weight + 1.5 * found.up @ found.down
    for row in range(5):
        by_hand = found.length[row] * changed[row] / changed[row].norm()
        assert torch.allclose(found.weight()[row], by_hand)
    x = torch.randn(4, 6, generator=seeded(3), dtype=torch.float64)
    assert torch.allclose(found(x), x @ found.weight().T + found.layer.bias)
    assert torch.allclose(found.weight().norm(dim=1, keepdim=True), found.length)


def test_with_lengths_that_follow_the_norms_it_is_lora():
    found = drawn()
    found.length.data = (found.layer.weight + 1.5 * found.up @ found.down).norm(dim=1, keepdim=True).detach()
    same = lora.LoRALinear(layer_of(), lora.Config(rank=2, alpha=3.0), seeded())
    same.up.data, same.down.data = found.up.data, found.down.data
    x = torch.randn(4, 6, generator=seeded(3), dtype=torch.float64)
    assert torch.allclose(found(x), same(x))


def test_gradients_pass_through_the_norm_only_where_asked():
    x = torch.randn(4, 6, generator=seeded(3), dtype=torch.float64)
    gradients = {}
    for detach in (True, False):
        found = drawn(detach_norm=detach)
        found(x).square().sum().backward()
        gradients[detach] = found.down.grad
    assert not torch.allclose(gradients[True], gradients[False])
    found, eps = drawn(detach_norm=False), 1e-6
    start = found.down.data.clone()
    values = []
    for sign in (1, -1):
        found.down.data = start + sign * eps * torch.ones_like(start)
        values.append(float(found(x).square().sum().detach()))
    assert abs((values[0] - values[1]) / (2 * eps) - float(gradients[False].sum())) < 1e-4


def test_it_trains_one_length_a_row_more_than_lora():
    count = sum(p.numel() for p in drawn().parameters() if p.requires_grad)
    assert count == 2 * (5 + 6) + 5


def test_a_row_of_zeros_stays_finite():
    layer = layer_of()
    layer.weight.data[2] = 0
    found = dora.DoRALinear(layer, dora.Config(rank=2), seeded())
    assert found.weight().isfinite().all()

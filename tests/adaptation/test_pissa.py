"""PiSSA: what it takes out of a weight are its leading directions, and what it learns can be told as a LoRA."""

import pytest
import torch
from torch import nn

from reference_impls.adaptation import pissa
from tests.quantization.cases import seeded, weight_of


def layer_of(out=12, width=20, rank=4):
    layer = nn.Linear(width, out, bias=False)
    layer.weight.data = weight_of(out, width, dtype=torch.float64)
    return pissa.PiSSALinear(layer, pissa.Config(rank=rank))


def test_the_residual_keeps_the_singular_values_behind_the_rank():
    values = torch.linalg.svdvals(weight_of(12, 20, dtype=torch.float64))
    found = layer_of()
    assert torch.allclose(torch.linalg.svdvals(found.layer.weight)[:8], values[4:])
    assert torch.allclose(torch.linalg.svdvals((found.up @ found.down).detach())[:4], values[:4])


def test_both_factors_are_balanced():
    found = layer_of()
    assert torch.allclose(found.up.norm(dim=0), found.down.norm(dim=1))


def test_both_factors_move_at_the_first_step_where_loras_do_not():
    found = layer_of()
    found(torch.randn(6, 20, generator=seeded(), dtype=torch.float64)).square().sum().backward()
    assert found.up.grad.abs().max() > 0
    assert found.down.grad.abs().max() > 0


def test_what_was_learnt_is_a_lora_of_twice_the_rank_on_the_original():
    found, original = layer_of(), weight_of(12, 20, dtype=torch.float64)
    found.up.data += torch.randn(12, 4, generator=seeded(1), dtype=torch.float64)
    found.down.data += torch.randn(4, 20, generator=seeded(2), dtype=torch.float64)
    up, down = found.as_lora()
    assert up.shape == (12, 8)
    assert torch.allclose(original + up @ down, found.merged().weight)


@pytest.mark.parametrize("rank", [12, 40])
def test_a_rank_beyond_the_weights_own_leaves_no_residual(rank):
    found = layer_of(rank=rank)
    assert found.layer.weight.abs().max() < 1e-12
    assert torch.allclose(found.merged().weight, weight_of(12, 20, dtype=torch.float64))

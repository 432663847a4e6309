"""LoRA+: only the rates differ from LoRA, and they differ as asked."""

import pytest
import torch

from reference_impls.adaptation import lora, lora_plus
from tests.adaptation.cases import loss_of, model_of
from tests.quantization.cases import seeded


def one_step(module, model, groups):
    optimizer = torch.optim.SGD(groups)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss_of(model).backward()
    optimizer.step()
    return {name: value - before[name] for name, value in model.state_dict().items()}


def start():
    model = lora.adapt(model_of(), lora.Config(rank=4), seeded())
    for number, layer in enumerate(module for module in model.modules() if isinstance(module, lora.LoRALinear)):
        layer.up.data = 0.1 * torch.randn(layer.up.shape, generator=seeded(number), dtype=torch.float64)
    return model  # with B not zero, so that both factors have a gradient


@pytest.mark.parametrize("ratio", [1.0, 16.0])
def test_one_step_moves_b_by_the_ratio_and_a_as_lora_does(ratio):
    plain, faster = start(), start()
    by_lora = one_step(lora, plain, [{"params": lora.adapter_parameters(plain), "lr": 1e-3}])
    found = one_step(lora_plus, faster, lora_plus.parameter_groups(faster, lora_plus.Config(rank=4, ratio=ratio), 1e-3))
    assert any(name.endswith(".up") for name in found)
    for name, change in found.items():
        factor = ratio if name.endswith(".up") else 1.0
        assert torch.allclose(change, factor * by_lora[name], rtol=1e-9, atol=1e-15), name


def test_the_groups_hold_every_factor_once():
    model = start()
    groups = lora_plus.parameter_groups(model, lora_plus.Config(), 1e-3)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, lora.adapter_parameters(model)))
    assert [group["lr"] for group in groups] == [1e-3, 16e-3]

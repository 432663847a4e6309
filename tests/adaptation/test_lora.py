"""LoRA: step 0 is the model itself, merging is exact, and only its own factors learn."""

import pytest
import torch
from torch import nn

from reference_impls.adaptation import lora
from reference_impls.adaptation.lora import Config, LoRALinear, adapt, adapter_parameters, merge
from reference_impls.models.perplexity import token_losses
from reference_impls.quantization.apply import find_linears
from tests.quantization.cases import seeded, small_decoder, tokens_of


def adapted(model=None, **options):
    return adapt(model or small_decoder(dtype=torch.float64), Config(**options), seeded())


def trained(model, steps=20):
    optimizer = torch.optim.AdamW(adapter_parameters(model), lr=1e-2)
    tokens = tokens_of(8, 16)
    losses = []
    for _ in range(steps):
        loss = token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_before_the_first_step_it_is_the_model():
    model = small_decoder(dtype=torch.float64)
    assert torch.equal(adapted(model)(tokens_of()), model(tokens_of()))


def test_only_its_own_parameters_are_trainable_and_get_gradients():
    model = adapted(rank=4)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {f"{name}.{part}" for name in find_linears(small_decoder()) for part in ("up", "down")}
    assert {id(p) for p in adapter_parameters(model)} == {id(p) for p in model.parameters() if p.requires_grad}
    token_losses(model(tokens_of()[:, :-1]), tokens_of()[:, 1:]).mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name in trainable)


def test_training_changes_the_factors_and_nothing_else():
    model = adapted(rank=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = trained(model)
    assert losses[-1] < losses[0] - 0.1
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_merging_is_exact_and_leaves_plain_layers():
    model = adapted(rank=4)
    trained(model)
    plain = merge(model)
    assert torch.allclose(plain(tokens_of()), model(tokens_of()), atol=1e-10)
    assert not any(isinstance(module, LoRALinear) for module in plain.modules())
    assert set(plain.state_dict()) == set(small_decoder().state_dict())
    assert any(isinstance(module, LoRALinear) for module in model.modules())  # what was merged is as it was


def test_the_layer_is_its_formula():
    layer = nn.Linear(6, 5, dtype=torch.float64)
    found = LoRALinear(layer, Config(rank=2, alpha=3.0), seeded())
    found.up.data = torch.randn(5, 2, generator=seeded(1), dtype=torch.float64)
    x = torch.randn(4, 6, generator=seeded(2), dtype=torch.float64)
    by_hand = x @ (layer.weight + 1.5 * found.up @ found.down).T + layer.bias
    assert torch.allclose(found(x), by_hand)
    assert torch.linalg.matrix_rank(found.merged().weight - layer.weight) == 2


def test_the_number_of_parameters_is_the_formula():
    model = adapted(rank=3)
    expected = sum(3 * (layer.in_features + layer.out_features) for layer in find_linears(small_decoder()).values())
    assert sum(parameter.numel() for parameter in adapter_parameters(model)) == expected


def test_targets_choose_the_layers():
    model = adapted(targets=("query", "blocks.0.ffn.*"))
    chosen = {name for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    queries = {f"blocks.{block}.attention.query" for block in (0, 1)}
    assert chosen == queries | {f"blocks.0.ffn.{part}" for part in ("gate", "up", "down")}
    with pytest.raises(ValueError, match="no linear layer matches"):
        adapted(targets=("magic",))
    with pytest.raises(ValueError, match="rank"):
        lora.Config(rank=0)


def test_the_given_model_is_left_alone():
    model = small_decoder(dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained(adapted(model))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_same_generator_gives_the_same_factors():
    first, again = (adapt(small_decoder(), Config(), seeded(3)) for _ in range(2))
    for one, other in zip(adapter_parameters(first), adapter_parameters(again), strict=True):
        assert torch.equal(one, other)

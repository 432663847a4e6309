"""Bottlenecks, prefixes and biases: their formulas, their number of parameters, and a cache that says the same."""

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu

from reference_impls.adaptation import bitfit, bottleneck, prefix, trainable
from reference_impls.models.attend import causal_mask
from reference_impls.models.generate import generate
from reference_impls.quantization.linears import find_linears
from tests.adaptation.cases import adapted, loss_of, model_of, train
from tests.quantization.cases import seeded, tokens_of


def test_the_detour_is_its_formula():
    torch.manual_seed(0)
    layer = nn.Linear(6, 5, dtype=torch.float64)
    found = bottleneck.AdapterLinear(layer, bottleneck.Config(bottleneck=3), seeded())
    for number, parameter in enumerate((found.up, found.up_bias, found.down_bias)):
        parameter.data = torch.randn(parameter.shape, generator=seeded(number), dtype=torch.float64)
    x = torch.randn(4, 6, generator=seeded(9), dtype=torch.float64)
    y = layer(x)
    assert torch.allclose(found(x), y + gelu(y @ found.down.T + found.down_bias) @ found.up.T + found.up_bias)


def test_numbers_of_parameters_are_the_formulas():
    count = {name: sum(p.numel() for p in trainable(adapted(name))) for name in ("bottleneck", "prefix", "bitfit")}
    assert count["bottleneck"] == 2 * 2 * (2 * 64 * 8 + 64 + 8)  # two layers in each of two blocks, width 64
    assert count["prefix"] == 2 * 2 * (2 * 8 * 16)  # keys and values, two blocks, 2 kv_heads of 8 tokens of 16
    assert count["bitfit"] == sum(layer.out_features for layer in find_linears(model_of()).values())


def test_a_prefix_is_what_the_cache_would_hold():
    model, tokens = model_of(), tokens_of(2, 10)
    result = prefix.adapt(model, prefix.Config(tokens=5, deviation=1.0), seeded())
    cache = model.new_cache(2, 32)
    for layer, block in enumerate(result.blocks):
        keys, values = (
            part.detach().expand(2, -1, -1, -1) for part in (block.attention.attend.keys, block.attention.attend.values)
        )
        cache.append(layer, keys, values)
    mask = causal_mask(10, 15)
    expected = model(tokens, cache, positions=torch.arange(10), mask=mask)
    assert torch.allclose(result(tokens), expected, atol=1e-10)
    assert not torch.allclose(result(tokens), model(tokens), atol=1e-2)


def test_decoding_with_a_cache_sees_the_prefix_too():
    result, tokens = prefix.adapt(model_of(), prefix.Config(tokens=5, deviation=1.0), seeded()), tokens_of(2, 40)
    whole, cache = result(tokens), result.new_cache(2, 64)
    parts = [result(tokens[:, :36], cache), *(result(tokens[:, n : n + 1], cache) for n in range(36, 40))]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-10)
    assert generate(result, tokens[:, :4], 3).shape == (2, 3)


def test_a_prefix_is_seen_through_a_mask():
    result, tokens = prefix.adapt(model_of(), prefix.Config(tokens=5, deviation=1.0), seeded()), tokens_of(2, 10)
    assert torch.allclose(result(tokens, mask=causal_mask(10, 10)), result(tokens), atol=1e-12)


def test_a_prefix_needs_a_decoder():
    with pytest.raises(TypeError, match="Sequential"):
        prefix.adapt(nn.Sequential(nn.Linear(2, 2)), prefix.Config())


def test_existing_biases_are_trained_and_no_others_where_none_may_be_added():
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3, bias=False))
    result = bitfit.adapt(model, bitfit.Config(add_missing=False))
    assert [name for name, p in result.named_parameters() if p.requires_grad] == ["0.bias"]
    result(torch.randn(5, 6)).sum().backward()
    assert result[0].bias.grad is not None
    with pytest.raises(ValueError, match="add_missing"):
        bitfit.adapt(nn.Sequential(nn.Linear(2, 2, bias=False)), bitfit.Config(add_missing=False))


def test_biases_alone_lower_the_loss_without_touching_a_weight():
    result = adapted("bitfit")
    before = {name: layer.weight.clone() for name, layer in find_linears(result).items()}
    losses = train(result, steps=30)
    assert losses[-1] < losses[0] - 0.05
    assert float(loss_of(result).detach()) < losses[0]
    assert all(torch.equal(layer.weight, before[name]) for name, layer in find_linears(result).items())

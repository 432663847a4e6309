"""prune_model over this package's decoder, a Hugging Face one, and what it refuses."""

import pytest
import torch
from torch import nn

from reference_impls.models.generate import generate
from reference_impls.pruning import layers, magnitude, sparsegpt, wanda
from reference_impls.pruning.apply import MaskedLinear, prune_model, sparsity
from reference_impls.pruning.semi_structured import SemiStructuredLinear
from reference_impls.quantization.apply import effects, find_linears, weight_bytes
from reference_impls.quantization.calibration import Calibration, collect
from tests.quantization.cases import small_decoder, tokens_of

METHODS = pytest.mark.parametrize("name", ["magnitude", "wanda", "sparsegpt"])


def config_of(name, **options):
    return {"magnitude": magnitude, "wanda": wanda, "sparsegpt": sparsegpt}[name].Config(**options)


def calibration(sequential=False):
    return Calibration([tokens_of(8, 16), tokens_of(8, 16, seed=4)], sequential=sequential)


@METHODS
def test_sparsity_is_exact_and_the_head_is_left_out(name):
    model = small_decoder()
    result = prune_model(model, name, config_of(name, sparsity=0.25), calibration())
    assert sparsity(result) == 0.25
    assert sparsity(model) == 0
    assert torch.equal(result.head.weight, model.head.weight)
    assert set(effects(result)) == set(find_linears(model))
    assert set(effects(result).values()) == {"simulated"}


@METHODS
def test_fields_are_a_config_and_statistics_seen_before_do_as_text_does(name):
    model, options = small_decoder(), {"sparsity": 0.25}
    expected = prune_model(model, name, config_of(name, **options), calibration())
    stats = collect(model, dict(find_linears(model)), calibration())
    for found in (prune_model(model, name, options, calibration()), prune_model(model, name, options, stats)):
        same = zip(found.parameters(), expected.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in same)
    with pytest.raises(TypeError, match="sparsness"):
        prune_model(model, name, {"sparsness": 0.25}, calibration())


def test_fields_are_a_config_of_a_method_on_models_too():
    model = small_decoder()
    expected = prune_model(model, "layers", layers.Config(1), calibration())
    found = prune_model(model, "layers", {"removed": 1}, calibration())
    assert len(found.blocks) == len(model.blocks) - 1
    assert torch.equal(found(tokens_of()), expected(tokens_of()))


@METHODS
def test_nothing_removed_is_the_model(name):
    model = small_decoder()
    same = prune_model(model, name, config_of(name, sparsity=0.0), calibration())
    assert torch.equal(same(tokens_of()), model(tokens_of()))


def test_a_layer_gets_what_the_method_makes_of_its_own_inputs():
    model = small_decoder()
    stats = collect(model, dict(find_linears(model)), calibration())
    result = prune_model(model, wanda, wanda.Config(), calibration())
    for name, layer in find_linears(model).items():
        expected = layer.weight * wanda.keep_mask(layer.weight, wanda.Config(), stats[name])
        found = result.get_submodule(name)
        assert isinstance(found, MaskedLinear)
        assert torch.equal(found.weight, expected)
        assert torch.equal(found.keep_mask, expected != 0)


def test_in_order_later_blocks_see_pruned_earlier_ones():
    model = small_decoder()
    at_once, in_order = (
        prune_model(model, sparsegpt, sparsegpt.Config(), calibration(sequential)) for sequential in (False, True)
    )
    first, last = "blocks.0.ffn.up", "blocks.1.ffn.up"
    assert torch.allclose(at_once.get_submodule(first).weight, in_order.get_submodule(first).weight, atol=1e-5)
    assert not torch.allclose(at_once.get_submodule(last).weight, in_order.get_submodule(last).weight, atol=1e-3)


@METHODS
def test_packed_computes_the_same_in_fewer_bytes(name):
    config = config_of(name, n_of_m=(2, 4))
    dense = prune_model(small_decoder(), name, config, calibration())
    packed = prune_model(small_decoder(), name, config, calibration(), effect="packed")
    assert torch.equal(packed(tokens_of()), dense(tokens_of()))
    assert torch.equal(generate(packed, tokens_of()[:, :4], 4), generate(dense, tokens_of()[:, :4], 4))
    assert set(effects(packed).values()) == {"packed"}
    linears = sum(layer.weight.nbytes for layer in find_linears(dense).values())
    assert weight_bytes(dense) - weight_bytes(packed) == linears * 15 // 32
    assert sparsity(packed) == sparsity(dense) == 0.5
    assert any(isinstance(module, SemiStructuredLinear) for module in packed.modules())


def test_packed_wants_two_of_four():
    with pytest.raises(ValueError, match=r"blocks\.0\.attention\.query: more than two of some four"):
        prune_model(small_decoder(), "magnitude", magnitude.Config(), effect="packed")


def test_global_magnitude_shares_one_threshold():
    model = small_decoder()
    model.blocks[1].ffn.up.weight.data *= 100
    result = prune_model(model, "magnitude", magnitude.Config(0.5, scope="global"))
    assert sparsity(result) == pytest.approx(0.5, abs=1e-4)
    assert float((result.blocks[1].ffn.up.weight == 0).float().mean()) < 0.1


def test_biases_stay():
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    result = prune_model(model, "magnitude", magnitude.Config(0.5))
    assert torch.equal(result[0].bias, model[0].bias)
    x = torch.randn(3, 8)
    hidden = torch.relu(nn.functional.linear(x, result[0].weight, model[0].bias))
    assert torch.allclose(result(x), nn.functional.linear(hidden, result[2].weight, model[2].bias))


def test_what_is_missing_is_told():
    with pytest.raises(ValueError, match="give calibration"):
        prune_model(small_decoder(), "wanda", wanda.Config())
    with pytest.raises(ValueError, match="expected one of"):
        prune_model(small_decoder(), "magic", None)
    with pytest.raises(ValueError, match=r"no nn\.Linear"):
        prune_model(nn.Sequential(nn.ReLU()), "magnitude", magnitude.Config())


@METHODS
def test_a_hugging_face_model_is_pruned_as_well(name):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    shape = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = transformers.LlamaForCausalLM(shape).eval().requires_grad_(False)
    result = prune_model(model, name, config_of(name), calibration(sequential=True))
    assert sparsity(result) == 0.5
    assert result(tokens_of()).logits.isfinite().all()
    assert result.generate(tokens_of()[:, :4], max_new_tokens=3, do_sample=False).shape == (2, 7)

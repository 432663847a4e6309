"""Calibration and applying a method to whole models."""

import pytest
import torch
from torch import nn

from reference_impls.quantization import gptq, methods, rtn
from reference_impls.quantization.apply import effects, find_linears, layer_error, quantize_model
from reference_impls.quantization.calibration import Calibration, collect, find_blocks, stats_of, visit_blocks
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of
from tests.quantization.test_conformance import small_config

every_method = pytest.mark.parametrize("name", methods())


def relative(values, expected):
    return float((values - expected).norm() / expected.norm())


def test_statistics_by_hand():
    inputs = torch.tensor([[1.0, -2.0], [3.0, 0.0]])
    stats = stats_of(inputs)
    assert stats.tokens == 2
    assert stats.mean_abs.tolist() == [2.0, 1.0]
    assert stats.max_abs.tolist() == [3.0, 2.0]
    assert stats.hessian.tolist() == [[10.0, -2.0], [-2.0, 4.0]]  # 2 X^T X / 2
    assert torch.equal(stats.sample, inputs)


def test_hessian_is_of_the_squared_error():
    inputs, change = inputs_of(50, 16, dtype=torch.float64), weight_of(1, 16, dtype=torch.float64).requires_grad_()
    (inputs @ change.T).square().mean().backward()
    assert torch.allclose(change.grad[0], stats_of(inputs).hessian @ change[0].detach())


def test_batches_add_up():
    tokens = tokens_of(4)
    model = small_decoder()
    layers = dict(find_linears(model))
    at_once, in_parts = (collect(model, layers, Calibration(b)) for b in ([tokens], [tokens[:1], tokens[1:]]))
    for name in layers:
        assert at_once[name].tokens == in_parts[name].tokens == tokens.numel()
        assert torch.allclose(at_once[name].hessian, in_parts[name].hessian, rtol=1e-4, atol=1e-4)
        assert torch.allclose(at_once[name].max_abs, in_parts[name].max_abs, atol=1e-5)


def test_collecting_leaves_no_trace():
    model = small_decoder().train()
    collect(model, dict(find_linears(model)), Calibration([tokens_of()]))
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_an_error_of_the_model_is_not_swallowed_and_hooks_are_removed():
    model = small_decoder()
    with pytest.raises(IndexError):
        collect(model, dict(find_linears(model)), Calibration([torch.full((1, 4), 10_000)]))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_blocks_seen_one_by_one_have_the_whole_models_statistics():
    model = small_decoder()
    layers = dict(find_linears(model))
    calibration = Calibration([tokens_of(1), tokens_of(2, seed=5)])
    expected, seen = collect(model, layers, calibration), {}
    visit_blocks(
        model, calibration, lambda block, collect_block: seen.update(
            collect_block({n: layer for n, layer in layers.items() if n.startswith(block)}, True)
        )
    )  # fmt: skip
    assert list(seen) == list(expected)
    for name, stats in seen.items():
        assert torch.allclose(stats.hessian, expected[name].hessian, rtol=1e-4, atol=1e-4)


def test_sequential_calibration_sees_quantized_inputs_of_later_blocks_only():
    model, tokens = small_decoder(), [tokens_of(8)]
    config = gptq.Config(2, 16)
    at_once = quantize_model(model, "gptq", config, Calibration(tokens))
    in_order = quantize_model(model, "gptq", config, Calibration(tokens, sequential=True))
    same = {
        n for n, layer in find_linears(at_once).items() if torch.equal(layer.weight, in_order.get_submodule(n).weight)
    }
    assert same == {name for name in find_linears(model) if name.startswith("blocks.0.")}
    logits = model(*tokens)
    assert relative(in_order(*tokens), logits) < relative(at_once(*tokens), logits) * 1.1


@pytest.mark.parametrize("sequential", [False, True])
@every_method
def test_every_method_runs_on_a_decoder_and_leaves_the_given_one_alone(name, sequential):
    model, tokens = small_decoder(), tokens_of()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits = model(tokens)
    result = quantize_model(model, name, small_config(name), Calibration([tokens], sequential=sequential))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(model(tokens), logits)
    replaced = effects(result)
    assert set(replaced) == set(find_linears(model))
    assert set(replaced.values()) == {"simulated"}
    assert "head" not in replaced
    assert result(tokens).isfinite().all()
    if name != "bitnet":  # meant for training
        assert relative(result(tokens), logits) < 1


def test_more_bits_bring_the_model_closer():
    model, tokens = small_decoder(), tokens_of()
    logits = model(tokens)
    errors = [relative(quantize_model(model, "rtn", rtn.Config(b, 16))(tokens), logits) for b in (2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.03


def test_skip_takes_patterns_and_whole_names():
    model = small_decoder()
    kept = ("blocks.0.*", "*.down", "head")
    result = quantize_model(model, "rtn", rtn.Config(4, 16), skip=kept)
    assert set(effects(result)) == {n for n in find_linears(model) if n.startswith("blocks.1.") and "down" not in n}


def test_a_layer_that_cannot_be_grouped_is_named():
    with pytest.raises(ValueError, match=r"blocks.0.ffn.down: group_size 64 does not divide in=96"):
        quantize_model(small_decoder(), "rtn", rtn.Config(4, 64))


class HalfUsed(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, inputs):
        return self.used(inputs)


def test_what_is_missing_is_said():
    model = small_decoder()
    with pytest.raises(ValueError, match="the method needs hessian of the inputs: give calibration"):
        quantize_model(model, "gptq", gptq.Config(4, 16))
    with pytest.raises(ValueError, match=r"expected one of awq, bitnet, .*, got 'gtpq'"):
        quantize_model(model, "gtpq", gptq.Config(4, 16))
    with pytest.raises(ValueError, match=r"Sequential has no nn.Linear outside skip"):
        quantize_model(nn.Sequential(nn.ReLU()), "rtn", rtn.Config())
    with pytest.raises(ValueError, match="nf4 can only be simulated"):
        quantize_model(model, "nf4", methods()["nf4"].Config(16), effect="kernel")
    with pytest.raises(ValueError, match="llm_int8 can only be simulated"):
        quantize_model(model, "llm_int8", methods()["llm_int8"].Config(), Calibration([tokens_of()]), effect="packed")
    with pytest.raises(ValueError, match=r"no nn.ModuleList of blocks"):
        find_blocks(nn.Sequential(nn.Linear(4, 4)))
    with pytest.raises(ValueError, match="at least one batch"):
        Calibration([])
    with pytest.raises(ValueError, match="unused: calibration never ran this layer"):
        quantize_model(HalfUsed(), "gptq", gptq.Config(4, None), Calibration([torch.ones(2, 8)]))


def test_any_module_with_linear_layers_works_and_keeps_its_biases():
    model = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 8)).requires_grad_(False)
    inputs = inputs_of(64, 32)
    for method, config in (("rtn", rtn.Config(8, 16)), ("gptq", gptq.Config(8, 16))):
        result = quantize_model(model, method, config, Calibration([inputs]))
        assert relative(result(inputs), model(inputs)) < 0.02


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("name", ["rtn", "gptq", "awq", "smoothquant"])
def test_hugging_face_models_work(name, sequential):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = tokens_of()
    options = {"bits": 8} if name != "smoothquant" else {}
    calibration = Calibration([tokens, tokens_of(1, 7, seed=8)], sequential=sequential)
    result = quantize_model(model, name, small_config(name, **options), calibration)
    assert "lm_head" not in effects(result)
    assert len(effects(result)) == 2 * 7
    assert relative(result(tokens).logits, model(tokens).logits) < 0.05
    generated = result.generate(tokens[:, :4], max_new_tokens=3, do_sample=False)
    assert generated.shape == (2, 7)


def test_a_bert_shaped_model_works():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config).eval()
    result = quantize_model(model, "rtn", rtn.Config(8, 16), effect="packed")
    expected, got = (m(tokens_of()).last_hidden_state for m in (model, result))
    assert relative(got, expected) < 0.02


def test_statistics_collected_before_give_the_same_model():
    model, calibration = small_decoder(), Calibration([tokens_of()])
    stats = collect(model, dict(find_linears(model)), calibration)
    by_stats = quantize_model(model, "gptq", gptq.Config(3, 16), stats)
    assert torch.equal(
        by_stats(tokens_of()), quantize_model(model, "gptq", gptq.Config(3, 16), calibration)(tokens_of())
    )


def test_records_follow_the_model_to_another_dtype():
    model = quantize_model(
        small_decoder(), "smoothquant", methods()["smoothquant"].Config(), Calibration([tokens_of()])
    )
    half = model.to(torch.bfloat16)
    layer = half.blocks[0].attention.query
    assert layer.weight.dtype == layer.quantized.input_scale.dtype == torch.bfloat16
    assert half(tokens_of()).dtype == torch.bfloat16


def test_layer_error_is_relative():
    weight, inputs = weight_of(8, 16), inputs_of(10, 16)
    assert layer_error(weight, weight, inputs) == 0
    assert layer_error(weight, 0 * weight, inputs) == pytest.approx(1)

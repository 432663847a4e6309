"""Rotation: nothing changes before rounding, outliers vanish, and the rounded model is better."""

import pytest
import torch
from torch import nn

from reference_impls.quantization.apply import find_linears, quantize_model
from reference_impls.quantization.calibration import Calibration, collect
from reference_impls.quantization.hadamard import hadamard, random_hadamard
from reference_impls.quantization.quarot import Config, dequantize, quantize, quantize_input, rotate_decoder
from tests.quantization.cases import inputs_of, seeded, small_decoder, tokens_of, weight_of

BUILT = [1, 2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 576, 1536]


def relative(values, expected):
    return float((values - expected).norm() / expected.norm())


def kurtosis(values):
    centred = values - values.mean()
    return float(centred.pow(4).mean() / centred.pow(2).mean() ** 2)


@pytest.mark.parametrize("size", BUILT)
def test_hadamard_is_orthogonal_with_entries_of_one_size(size):
    matrix = hadamard(size, torch.float64)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size).double(), atol=1e-12)
    assert torch.allclose(matrix.abs(), torch.full_like(matrix, size**-0.5))


@pytest.mark.parametrize("size, block", [(7, 1), (6, 2), (86, 2), (172, 4), (688, 16)])
def test_other_sizes_are_orthogonal_in_blocks(size, block):
    matrix = hadamard(size, torch.float64)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size).double(), atol=1e-12)
    assert ((matrix != 0).sum(1) == block).all()


def test_sylvester_by_hand():
    assert torch.allclose(hadamard(2) * 2**0.5, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))


def test_random_hadamard_repeats_with_its_generator():
    assert torch.equal(random_hadamard(64, seeded(1)), random_hadamard(64, seeded(1)))
    assert not torch.equal(random_hadamard(64, seeded(1)), random_hadamard(64, seeded(2)))


def test_rotated_decoder_is_the_same_function_in_float64():
    model, tokens = small_decoder(dtype=torch.float64), tokens_of()
    rotated = rotate_decoder(model, seeded())
    assert torch.allclose(rotated(tokens), model(tokens), atol=1e-10)
    weights = {name: layer.weight for name, layer in find_linears(model).items()}
    assert not any(
        torch.allclose(layer.weight, weights[name]) for name, layer in find_linears(rotated).items() if name in weights
    )
    assert model.head.weight is model.embedding.weight  # the given model is untouched
    assert rotated.head.weight is not rotated.embedding.weight


def test_rotated_hugging_face_llama_is_the_same_function():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    rotated = rotate_decoder(model, seeded())
    # 1e-5: its norms and rotary angles are computed in float32
    assert torch.allclose(rotated(tokens_of()).logits, model(tokens_of()).logits, atol=1e-5)


def outlier_decoder():
    """A decoder whose residual stream has two channels 30 times as large as the rest."""
    model = small_decoder()
    model.embedding.weight.data[:, :2] *= 30
    model.head.weight = nn.Parameter(model.head.weight.data.clone())
    model.head.weight.data[:, :2] /= 30
    return model


def test_rotation_makes_activations_flat():
    model = outlier_decoder()
    calibration = Calibration([tokens_of()])
    samples = [
        collect(m, {"layer": m.blocks[0].attention.query}, calibration)["layer"].sample
        for m in (model, rotate_decoder(model, seeded()))
    ]
    assert kurtosis(samples[0]) > 10
    assert kurtosis(samples[1]) < 4  # a normal distribution has 3


def test_with_4_bit_activations_the_rotated_model_is_closer():
    model, tokens = outlier_decoder(), tokens_of()
    config = Config(8, None, input_bits=4, rotate_inputs=False)
    plain = quantize_model(model, "quarot", config)
    folded = quantize_model(rotate_decoder(model, seeded()), "quarot", config)
    online = quantize_model(model, "quarot", Config(8, None, input_bits=4))
    logits = model(tokens)
    assert relative(folded(tokens), logits) < 0.7 * relative(plain(tokens), logits)
    assert relative(online(tokens), logits) < 0.7 * relative(plain(tokens), logits)


def test_online_rotation_equals_integer_arithmetic():
    weight, inputs = weight_of(16, 64), inputs_of(6, 64, outliers=2)
    q = quantize(weight, Config(4, None))
    turned = inputs @ hadamard(64)
    of_row = turned.abs().amax(1, keepdim=True) / 7
    product = (turned / of_row).round().int() @ (q.grid.codes[:, 0].int() - 8).T
    expected = product.float() * of_row * q.grid.scale.flatten()
    assert torch.allclose(quantize_input(inputs, q) @ dequantize(q).T, expected, rtol=1e-3, atol=1e-3)


def test_without_rounding_inputs_rotation_only_changes_the_weights_error():
    weight = weight_of(16, 64)
    weight[:, 0] *= 30
    turned, plain = (
        dequantize(quantize(weight, Config(4, None, rotate_inputs=r, input_bits=None))) for r in (True, False)
    )
    assert relative(turned, weight) < relative(plain, weight)


def test_models_that_are_no_llama_are_refused():
    with pytest.raises(ValueError, match="no Llama-style decoder"):
        rotate_decoder(nn.Sequential(nn.Linear(4, 4)), seeded())

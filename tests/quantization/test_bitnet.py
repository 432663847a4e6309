"""BitNet b1.58: three weights, and gradients that pass the rounding."""

import torch

from reference_impls.quantization.bitnet import BitLinear, Config, dequantize, quantize, quantize_input, ternarize
from reference_impls.quantization.grid import fake_quantize_rows
from reference_impls.quantization.packed import pack
from tests.quantization.cases import inputs_of, seeded, weight_of


def test_hand_worked():
    # mean |w| = 1: 0.4 -> 0, 0.6 -> 1, -2.5 -> -1, 0.5 is a tie and goes to the even 0
    ternary, gamma = ternarize(torch.tensor([[0.4, 0.6, -2.5, 0.5]]))
    assert gamma == 1.0
    assert ternary.tolist() == [[0.0, 1.0, -1.0, 0.0]]


def test_weights_are_three_values():
    again = dequantize(quantize(weight_of(16, 64), Config()))
    gamma = weight_of(16, 64).abs().mean()
    assert torch.allclose(again.unique(), torch.stack([-gamma, torch.zeros(()), gamma]))


def test_forward_equals_the_ternary_product_in_integers():
    weight, inputs = weight_of(16, 64), inputs_of(5, 64)
    layer = BitLinear(64, 16)
    layer.weight.data = weight
    ternary, gamma = ternarize(weight)
    of_row = inputs.abs().amax(1, keepdim=True) / 127
    product = (inputs / of_row).round().int() @ ternary.int().T
    assert torch.allclose(layer(inputs), product.float() * of_row * gamma, rtol=1e-4, atol=1e-4)


def test_trained_layer_and_exported_weight_agree():
    layer, inputs = BitLinear(64, 16), inputs_of(5, 64)
    q = quantize(layer.weight, Config())
    assert torch.allclose(layer(inputs), quantize_input(inputs, q) @ dequantize(q).T, atol=1e-5)


def test_gradients_are_those_of_the_straight_through_formula():
    layer, inputs = BitLinear(8, 4), inputs_of(5, 8).requires_grad_()
    outer = weight_of(5, 4, seed=6)
    (layer(inputs) * outer).sum().backward()
    rounded = fake_quantize_rows(inputs.detach(), 8)
    assert torch.allclose(layer.weight.grad, outer.T @ rounded, atol=1e-5)
    ternary, gamma = ternarize(layer.weight.detach())
    assert torch.allclose(inputs.grad, outer @ (ternary * gamma), atol=1e-5)


def test_training_through_the_rounding_beats_rounding_after():
    inputs = inputs_of(256, 32)
    target = inputs @ weight_of(8, 32, seed=2).T
    torch.manual_seed(0)
    layer = BitLinear(32, 8)
    layer.weight.data = weight_of(8, 32, seed=2).clone()
    loss = [float((layer(inputs) - target).square().mean())]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        error = (layer(inputs) - target).square().mean()
        error.backward()
        optimizer.step()
    loss.append(float((layer(inputs) - target).square().mean()))
    assert loss[1] < 0.8 * loss[0]


def test_packed_it_takes_two_bits():
    weight = torch.randn(16, 64, generator=seeded())
    q = quantize(weight, Config())
    assert pack(q.grid).nbytes == 16 * 64 // 4 + 4
    assert q.bits_per_weight == 2 + 32 / (16 * 64)

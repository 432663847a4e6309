"""SmoothQuant: nothing changes before rounding, and outliers hurt less after it."""

import pytest
import torch

from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.grid import decode, fake_quantize_rows
from reference_impls.quantization.smoothquant import Config, dequantize, input_scale_of, quantize, quantize_input
from tests.quantization.cases import inputs_of, weight_of


def relative(values, expected):
    return float((values - expected).norm() / expected.norm())


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
def test_floating_point_output_is_unchanged(alpha):
    weight, inputs = weight_of(16, 64, dtype=torch.float64), inputs_of(50, 64, outliers=2, dtype=torch.float64)
    s = input_scale_of(inputs.abs().amax(0), weight, alpha)
    assert torch.allclose((inputs / s) @ (weight * s).T, inputs @ weight.T, atol=1e-9)


def test_hand_worked_scale():
    # max|X| 16, max|W| 4: sqrt(16) / sqrt(4) = 2; a channel that is never used keeps 1
    s = input_scale_of(torch.tensor([16.0, 0.0]), torch.tensor([[4.0, 1.0], [-1.0, 2.0]]), 0.5)
    assert s.tolist() == [2.0, 1.0]


def test_half_and_half_leaves_equal_ranges():
    weight, inputs = weight_of(16, 64), inputs_of(50, 64, outliers=2)
    s = input_scale_of(inputs.abs().amax(0), weight, 0.5)
    assert torch.allclose((inputs / s).abs().amax(0), (weight * s).abs().amax(0), rtol=1e-4)


def test_activation_range_falls():
    weight, inputs = weight_of(16, 64), inputs_of(50, 64, outliers=2)
    q = quantize(weight, Config(), stats_of(inputs))
    smooth = inputs / q.input_scale
    assert smooth.abs().max() / smooth.abs().amax(0).median() < 0.3 * inputs.abs().max() / inputs.abs().amax(0).median()


def test_error_falls_with_outliers():
    weight, inputs = weight_of(16, 64), inputs_of(50, 64, outliers=2)
    q = quantize(weight, Config(), stats_of(inputs))
    expected = inputs @ weight.T
    smooth = quantize_input(inputs, q) @ dequantize(q).T
    plain = fake_quantize_rows(inputs, 8) @ fake_quantize_rows(weight, 8).T
    assert relative(smooth, expected) < 0.6 * relative(plain, expected)


def test_equals_integer_arithmetic():
    weight, inputs = weight_of(16, 64), inputs_of(50, 64, outliers=2)
    q = quantize(weight, Config(), stats_of(inputs))
    smooth = inputs / q.input_scale
    of_row = smooth.abs().amax(1, keepdim=True) / 127
    codes = (smooth / of_row).round().to(torch.int32)
    product = codes @ (q.codes[:, 0].to(torch.int32) - 128).T
    expected = product.float() * of_row * q.scale.flatten()
    assert torch.allclose(quantize_input(inputs, q) @ dequantize(q).T, expected, rtol=1e-4, atol=1e-3)
    assert torch.allclose(decode(q.codes, q.scale, q.zero_point)[:, 0] / q.input_scale, dequantize(q))

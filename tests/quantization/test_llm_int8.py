"""LLM.int8(): the outlier columns are exact, the rest is int8."""

import torch

from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.grid import fake_quantize_rows
from reference_impls.quantization.llm_int8 import (
    Config,
    dequantize,
    multiply,
    outlier_columns,
    quantize,
    quantize_input,
)
from tests.quantization.cases import inputs_of, weight_of


def relative(values, expected):
    return float((values - expected).norm() / expected.norm())


def test_threshold_0_is_the_product_in_floating_point():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64)
    assert torch.allclose(multiply(inputs, weight, Config(threshold=0)), inputs @ weight.T, atol=1e-4)
    q = quantize(weight, Config(threshold=0), stats_of(inputs))
    assert torch.equal(dequantize(q), weight)
    assert torch.equal(quantize_input(inputs, q), inputs)


def test_a_threshold_above_every_input_is_plain_int8():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64)
    expected = fake_quantize_rows(inputs, 8) @ fake_quantize_rows(weight, 8).T
    assert torch.allclose(multiply(inputs, weight, Config(threshold=1e9)), expected, atol=1e-5)


def test_outlier_columns_are_exact_in_weight_and_inputs():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64, outliers=3)
    q = quantize(weight, Config(threshold=15), stats_of(inputs))
    assert q.outlier_columns.tolist() == [0, 1, 2]
    assert torch.equal(dequantize(q)[:, :3], weight[:, :3])
    assert torch.equal(quantize_input(inputs, q)[:, :3], inputs[:, :3])
    assert not torch.equal(dequantize(q)[:, 3:], weight[:, 3:])


def test_calibrated_and_searched_outliers_agree_on_the_same_inputs():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64, outliers=3)
    config = Config(threshold=15)
    q = quantize(weight, config, stats_of(inputs))
    assert torch.allclose(quantize_input(inputs, q) @ dequantize(q).T, multiply(inputs, weight, config), atol=1e-3)


def test_keeping_outliers_apart_lowers_the_error():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64, outliers=3)
    expected = inputs @ weight.T
    apart, together = (multiply(inputs, weight, Config(threshold=t)) for t in (15, 1e9))
    assert relative(apart, expected) < 0.5 * relative(together, expected)


def test_int8_part_equals_integer_arithmetic():
    weight, inputs = weight_of(16, 64), inputs_of(20, 64, outliers=3)
    rest = inputs.clone()
    rest[:, :3] = 0
    of_row = rest.abs().amax(1, keepdim=True) / 127
    weights = weight.clone()
    weights[:, :3] = 0
    of_column = weights.abs().amax(1) / 127
    product = (rest / of_row).round().int() @ (weights / of_column[:, None]).round().int().T
    expected = product.float() * of_row * of_column + inputs[:, :3] @ weight[:, :3].T
    assert torch.allclose(multiply(inputs, weight, Config(threshold=15)), expected, rtol=1e-4, atol=1e-3)


def test_outliers_are_counted():
    weight = weight_of(16, 64, dtype=torch.float16)
    q = quantize(weight, Config(threshold=15), stats_of(inputs_of(20, 64, outliers=3)))
    assert q.bits_per_weight == 8 + 16 / 64 + (3 * 16 * 16 + 3 * 32) / (16 * 64)


def test_the_threshold_itself_is_an_outlier():
    assert outlier_columns(torch.tensor([5.9, 6.0, 7.0]), 6.0).tolist() == [1, 2]

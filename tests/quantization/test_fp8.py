"""FP8: every code, every border between codes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.quantization.fp8 import (
    Config,
    code_table,
    dequantize,
    largest,
    quantize,
    quantize_input,
    round_to_format,
)
from tests.quantization.cases import inputs_of, weight_of

TORCH = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
every_format = pytest.mark.parametrize("name", TORCH)


@every_format
def test_table_is_torchs(name):
    theirs = torch.arange(256, dtype=torch.uint8).view(TORCH[name]).float()
    assert torch.equal(code_table(name).nan_to_num(12345.0), theirs.nan_to_num(12345.0))


def test_ends_of_the_range():
    assert (largest("e4m3"), largest("e5m2")) == (448.0, 57344.0)
    assert code_table("e4m3")[1] == 2**-9  # smallest subnormal
    assert code_table("e5m2")[1] == 2**-16


@every_format
def test_codes_are_fixed_points_and_borders_go_to_the_even_code(name):
    values = code_table(name)[:128]
    values = values[values.isfinite()].double()
    assert torch.equal(round_to_format(values, name).double(), values)
    borders = (values[1:] + values[:-1]) / 2
    lower = torch.arange(len(borders))
    even = torch.where(lower % 2 == 0, values[:-1], values[1:])
    assert torch.equal(round_to_format(borders.float(), name).double(), even)
    beside = torch.nextafter(borders.float(), torch.tensor(torch.inf))
    assert torch.equal(round_to_format(beside, name).double(), values[1:])


@every_format
@given(st.floats(-440, 440, width=32))
def test_rounding_equals_torchs_cast_and_the_nearest_code(name, value):
    x = torch.tensor([value])
    rounded = round_to_format(x, name)
    assert torch.equal(rounded, x.to(TORCH[name]).float())
    table = code_table(name)
    table = table[table.isfinite()]
    assert (rounded - x).abs() == (table - x).abs().min()


@every_format
def test_values_beyond_the_end_saturate(name):
    assert round_to_format(torch.tensor([1e6, -1e6]), name).tolist() == [largest(name), -largest(name)]


@every_format
def test_the_largest_weight_is_exact_and_the_relative_error_is_bounded(name):
    weight = weight_of(16, 64)
    again = dequantize(quantize(weight, Config(format=name)))
    at = weight.abs().argmax()
    assert again.flatten()[at] == pytest.approx(weight.flatten()[at].item(), rel=1e-6)
    mantissa = {"e4m3": 3, "e5m2": 2}[name]
    normal = weight.abs() > weight.abs().max() / largest(name) * 2.0 ** {"e4m3": -6, "e5m2": -14}[name]
    assert ((again - weight).abs()[normal] <= weight.abs()[normal] * 2 ** -(mantissa + 1) * (1 + 1e-5)).all()


def test_rounding_again_changes_nothing():
    once = dequantize(quantize(weight_of(16, 64), Config()))
    assert torch.allclose(dequantize(quantize(once, Config())), once, rtol=1e-6)


def test_scale_per_channel_helps_rows_of_unequal_size():
    weight = weight_of(16, 64) * torch.logspace(-6, 0, 16)[:, None]
    one, many = (dequantize(quantize(weight, Config(per_channel=p))) for p in (False, True))
    assert ((many - weight).norm(dim=1) <= (one - weight).norm(dim=1) * 1.2).all()
    assert (many - weight)[0].norm() < 0.1 * (one - weight)[0].norm()


def test_weight_only_leaves_inputs_alone():
    inputs = inputs_of(4, 64)
    q = quantize(weight_of(16, 64), Config(input_format=None))
    assert quantize_input(inputs, q) is inputs


def test_bits_are_eight_and_a_scale():
    assert quantize(weight_of(16, 64), Config()).bits_per_weight == 8 + 32 / (16 * 64)
    assert quantize(weight_of(16, 64), Config(per_channel=True)).bits_per_weight == 8.5


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="expected one of e4m3, e5m2, got 'e3m4'"):
        Config(format="e3m4")

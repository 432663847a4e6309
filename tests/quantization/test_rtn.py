"""Rounding to nearest on the uniform grid."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.quantization.grid import GridConfig, choose_scale, fake_quantize_rows, group, round_weight
from reference_impls.quantization.rtn import Config, dequantize, quantize
from tests.quantization.cases import weight_of

ROUNDING = 1e-5  # float32 arithmetic around an exact step


def error(weight, config):
    return float((dequantize(quantize(weight, config)) - weight).double().norm())


def test_hand_worked_asymmetric():
    # range -1 .. 2 over 3 steps: scale 1, zero_point 1; 0.4 -> code 1, 0.6 -> code 2
    q = quantize(torch.tensor([[-1.0, 0.4, 0.6, 2.0]]), Config(bits=2, group_size=None))
    assert (q.scale.item(), q.zero_point.item()) == (1.0, 1.0)
    assert q.codes.flatten().tolist() == [0, 1, 2, 3]
    assert dequantize(q).flatten().tolist() == [-1.0, 0.0, 1.0, 2.0]


def test_hand_worked_symmetric():
    # largest |w| 3.5 over 7 steps: scale 0.5, codes around 8
    q = quantize(torch.tensor([[3.5, -3.5, 0.2, -1.1]]), Config(bits=4, group_size=None, symmetric=True))
    assert q.scale.item() == 0.5
    assert q.codes.flatten().tolist() == [15, 1, 8, 6]
    assert dequantize(q).flatten().tolist() == [3.5, -3.5, 0.0, -1.0]


def test_bits_per_weight_by_hand():
    weight = weight_of(32, 256, dtype=torch.float16)
    assert quantize(weight, Config(4, 128)).bits_per_weight == 4 + 32 / 128
    assert quantize(weight, Config(4, 128, symmetric=True)).bits_per_weight == 4 + 16 / 128
    assert quantize(weight, Config(8, None, symmetric=True)).bits_per_weight == 8 + 16 / 256


@pytest.mark.parametrize("symmetric", [False, True])
@given(
    st.integers(2, 8),
    st.sampled_from([None, 4, 16]),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=32, max_size=32),
)
def test_error_is_at_most_half_a_step(symmetric, bits, group_size, values):
    weight = torch.tensor(values).view(2, 16)
    q = quantize(weight, Config(bits, group_size, symmetric))
    half_step = (q.scale / 2).expand(q.codes.shape).flatten(1)
    # an asymmetric zero_point is rounded too, which can move an end of the range by half a step
    bound = half_step if symmetric else 2 * half_step
    inside = (q.codes > 0) & (q.codes < 2**bits - 1)
    off = (dequantize(q) - weight).abs()
    assert (off <= bound * (1 + ROUNDING) + 1e-30).all()
    assert (off <= half_step * (1 + ROUNDING) + 1e-30)[inside.flatten(1)].all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_weight_on_the_grid_is_exact_and_rounding_again_changes_nothing(bits, symmetric):
    config = Config(bits, 16, symmetric)
    once = dequantize(quantize(weight_of(8, 64), config))
    assert torch.allclose(dequantize(quantize(once, config)), once, atol=1e-6, rtol=0)


def test_more_bits_less_error():
    errors = [error(weight_of(16, 64), Config(bits, 32)) for bits in range(2, 9)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_smaller_groups_less_error(bits, seed):
    weight = weight_of(32, 128, seed) * torch.logspace(-1, 1, 32)[:, None]
    by_group, by_channel = error(weight, Config(bits, 16)), error(weight, Config(bits, None))
    by_tensor = error(weight, Config(bits, None, per_tensor=True))
    assert by_group <= by_channel <= by_tensor


@pytest.mark.parametrize("symmetric", [False, True])
def test_equals_torch_fake_quantize_per_channel(symmetric):
    weight = weight_of(16, 64)
    q = quantize(weight, Config(8, None, symmetric))
    expected = torch.fake_quantize_per_channel_affine(
        weight, q.scale.flatten(), q.zero_point.flatten().to(torch.int32), 0, 1 if symmetric else 0, 255
    )
    assert torch.allclose(dequantize(q), expected, atol=1e-6, rtol=0)


def test_scale_equals_torch_observer():
    observer = torch.ao.quantization.PerChannelMinMaxObserver(dtype=torch.quint8, qscheme=torch.per_channel_affine)
    weight = weight_of(16, 64)
    observer(weight)
    scale, zero_point = observer.calculate_qparams()
    q = quantize(weight, Config(8, None))
    assert torch.allclose(q.scale.flatten(), scale)
    assert torch.equal(q.zero_point.flatten(), zero_point.float())


@pytest.mark.parametrize("symmetric", [False, True])
def test_equals_torchao(symmetric):
    primitives = pytest.importorskip("torchao.quantization.quant_primitives", reason="torchao is not installed")
    weight = weight_of(16, 64)
    kind = primitives.MappingType.SYMMETRIC if symmetric else primitives.MappingType.ASYMMETRIC
    low, high, dtype = (-7, 7, torch.int8) if symmetric else (0, 15, torch.uint8)
    scale, zero_point = primitives.choose_qparams_affine(weight, kind, (1, 32), dtype, low, high, eps=1e-9)
    codes = primitives.quantize_affine(weight, (1, 32), scale, zero_point, dtype, low, high)
    q = quantize(weight, Config(4, 32, symmetric))
    assert torch.allclose(q.scale.squeeze(2), scale)
    assert torch.equal(q.codes.flatten(1).to(torch.int8) - (8 if symmetric else 0), codes.to(torch.int8))


def test_int8_symmetric_equals_torchao_weight_only():
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    layer = torch.nn.Linear(64, 16, bias=False)
    ours = quantize(layer.weight, Config(8, None, symmetric=True))
    torchao.quantize_(layer, torchao.Int8WeightOnlyConfig())
    theirs = layer.weight.dequantize()
    step = ours.scale.squeeze(2)
    assert ((dequantize(ours) - theirs).abs() <= step).all()  # torchao spans -128 .. 127: never more than a step apart


@pytest.mark.parametrize("bits", [2, 3, 4])  # at 8 bits the step is hardly smaller, and exact ends are worth more
def test_full_range_uses_every_code_with_a_smaller_step(bits):
    weight = weight_of(64, 64)
    full, odd = (quantize(weight, Config(bits, 32, symmetric=True, full_range=f)) for f in (True, False))
    assert torch.allclose(full.scale * (2**bits - 1), odd.scale * (2**bits - 2))
    assert full.codes.min() == 0 and odd.codes.min() == 1
    assert ((dequantize(full) - weight).abs().view(full.codes.shape) <= full.scale / 2 * (1 + ROUNDING)).all()
    assert (dequantize(full) - weight).norm() < (dequantize(odd) - weight).norm()


def test_symmetric_is_odd():
    weight, config = weight_of(8, 32), Config(3, 16, symmetric=True)
    assert torch.equal(dequantize(quantize(-weight, config)), -dequantize(quantize(weight, config)))


def test_zero_is_exact_on_an_asymmetric_grid():
    weight = weight_of(8, 32).abs() + 1
    weight[:, 3] = 0
    assert (dequantize(quantize(weight, Config(4, 16)))[:, 3] == 0).all()


@pytest.mark.parametrize("size", [7, 48, 128])
def test_group_size_that_does_not_divide_is_refused_with_its_neighbours(size):
    with pytest.raises(ValueError, match=rf"group_size {size} does not divide in=64; divisors near it: .*"):
        group(weight_of(4, 64), size)


@pytest.mark.parametrize("field, value", [("bits", 1), ("bits", 9), ("group_size", 0)])
def test_configs_are_checked(field, value):
    with pytest.raises(ValueError, match=f"got {value}"):
        dataclasses.replace(GridConfig(), **{field: value})


def test_scales_of_16_bit_weights_are_kept_in_16_bits_and_codes_fit_them():
    weight = weight_of(8, 64, dtype=torch.bfloat16)
    q = quantize(weight, Config(8, None, symmetric=True))
    assert q.scale.dtype == torch.bfloat16
    decoded = (q.codes.float() - 128) * q.scale.float()
    clipped = 127 * q.scale.float() / 256  # the scale's own rounding, at most 2**-8, can push the ends beyond the codes
    assert ((decoded - weight.float().view(8, 1, 64)).abs() <= q.scale.float() / 2 + clipped).all()


@given(st.integers(2, 8), st.integers(0, 5))
def test_rows_are_rounded_each_by_itself(bits, seed):
    inputs = weight_of(5, 16, seed) * torch.logspace(-3, 3, 5)[:, None]
    together = fake_quantize_rows(inputs, bits)
    assert torch.equal(together, torch.cat([fake_quantize_rows(row[None], bits) for row in inputs]))
    expected = round_weight(inputs, GridConfig(bits, None, symmetric=True))
    assert torch.equal(together, dequantize(expected))


def test_per_tensor_has_one_scale():
    scale, zero_point = choose_scale(group(weight_of(8, 32), None), GridConfig(8), per_tensor=True)
    assert scale.shape == zero_point.shape == (1, 1, 1)
    with pytest.raises(ValueError, match="per_tensor"):
        Config(per_tensor=True)

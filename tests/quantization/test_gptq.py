"""GPTQ against the naive update it speeds up, and against rounding to nearest."""

from dataclasses import replace

import pytest
import torch

from reference_impls.quantization import gptq, rtn
from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.gptq import Config, dequantize, inverse_factor, quantize
from reference_impls.quantization.grid import decode, round_to_codes
from tests.quantization.cases import inputs_of, weight_of


def output_error(weight, approximation, inputs):
    return float((inputs.double() @ (approximation.double() - weight.double()).T).square().sum())


def naive_obq(weight, hessian, dampening, order, scale, zero_point, bits):
    """Optimal brain quantization in a fixed order: after each column, remove it from the inverse by elimination."""
    work = weight.clone()
    inverse = torch.linalg.inv(hessian + dampening * hessian.diagonal().mean() * torch.eye(len(hessian)).to(hessian))
    rounded = torch.empty_like(weight)
    left = list(range(weight.shape[1]))
    for column in order:
        code = round_to_codes(work[:, column, None, None], scale[:, :1], zero_point[:, :1], Config(bits, None))
        rounded[:, column] = decode(code, scale[:, :1], zero_point[:, :1]).flatten()
        error = (work[:, column] - rounded[:, column]) / inverse[column, column]
        left.remove(column)
        work[:, left] -= error[:, None] * inverse[column, left]
        inverse = inverse - inverse[:, column, None] * inverse[None, column] / inverse[column, column]
    return rounded


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_equals_naive_obq_on_a_tiny_layer(bits, act_order):
    weight, inputs = weight_of(6, 12, dtype=torch.float64), inputs_of(40, 12, dtype=torch.float64)
    stats = stats_of(inputs)
    q = quantize(weight, Config(bits, None, act_order=act_order), stats)
    order = stats.hessian.diagonal().argsort(descending=True, stable=True) if act_order else torch.arange(12)
    expected = naive_obq(weight, stats.hessian, 0.01, order.tolist(), q.scale, q.zero_point, bits)
    assert torch.allclose(dequantize(q), expected, atol=1e-9)


def test_factor_is_of_the_dampened_inverse():
    hessian = stats_of(inputs_of(50, 12, dtype=torch.float64)).hessian
    factor = inverse_factor(hessian, 0.1)
    assert torch.equal(factor, factor.triu())
    identity = factor.T @ factor @ (hessian + 0.1 * hessian.diagonal().mean() * torch.eye(12).double())
    assert torch.allclose(identity, torch.eye(12).double(), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [{}, {"act_order": True}, {"act_order": True, "static_groups": False}, {"static_groups": False}],
    ids=str,
)
@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_layer_error_is_below_rtns(bits, group_size, options, seed):
    weight, inputs = weight_of(32, 64, seed), inputs_of(512, 64, seed + 10)
    q = quantize(weight, Config(bits, group_size, **options), stats_of(inputs))
    nearest = rtn.dequantize(rtn.quantize(weight, rtn.Config(bits, group_size)))
    assert output_error(weight, dequantize(q), inputs) < 0.8 * output_error(weight, nearest, inputs)


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_equals_gptqmodel(bits, full_range, monkeypatch):
    """Its groups are static without act_order; its symmetric grid is ours with full_range, its asymmetric one ours."""
    monkeypatch.setattr("os.cpu_count", lambda: 16)  # its thread pool refuses to start on two cores
    package = pytest.importorskip("gptqmodel.quantization.gptq", reason="gptqmodel is not installed")
    settings = pytest.importorskip("gptqmodel.quantization.config").QuantizeConfig
    weight, inputs = weight_of(32, 64), inputs_of(512, 64)
    layer = torch.nn.Linear(64, 32, bias=False)
    layer.weight.data = weight.clone()
    options = settings(
        bits=bits, group_size=32, sym=full_range, desc_act=False, act_group_aware=False, damp_percent=0.01
    )
    peer = package.GPTQ(layer, options)
    peer.quantizer.configure(perchannel=True)
    peer.add_batch(inputs[None], None)
    theirs = peer.quantize()[0].float()
    ours = dequantize(quantize(weight, Config(bits, 32, full_range, full_range), stats_of(inputs)))
    # a tie broken the other way changes what follows in its row
    assert ((theirs - ours).abs().amax(1) < 1e-3).float().mean() >= 0.9
    assert output_error(weight, ours, inputs) <= output_error(weight, theirs, inputs) * 1.01


def test_the_gain_holds_on_inputs_it_has_not_seen():
    inputs = inputs_of(2048, 64)
    weight = weight_of(32, 64)
    q = quantize(weight, Config(3, 16), stats_of(inputs[:1024]))
    nearest = rtn.dequantize(rtn.quantize(weight, rtn.Config(3, 16)))
    unseen = inputs[1024:]
    assert output_error(weight, dequantize(q), unseen) < 0.8 * output_error(weight, nearest, unseen)


@pytest.mark.parametrize("group_size", [None, 16])
def test_uncorrelated_inputs_give_rtn(group_size):
    weight = weight_of(16, 32)
    stats = replace(stats_of(inputs_of(64, 32)), hessian=torch.eye(32))
    assert torch.equal(
        quantize(weight, Config(4, group_size), stats).codes, rtn.quantize(weight, rtn.Config(4, group_size)).codes
    )


@pytest.mark.parametrize("act_order", [False, True])
def test_a_weight_on_the_grid_is_left_as_it_is(act_order):
    on_grid = rtn.dequantize(rtn.quantize(weight_of(8, 32), rtn.Config(4, 16)))
    q = quantize(on_grid, Config(4, 16, act_order=act_order), stats_of(inputs_of(200, 32)))
    assert torch.allclose(dequantize(q), on_grid, atol=1e-5)


def test_more_bits_less_error():
    weight, inputs = weight_of(16, 64), inputs_of(512, 64)
    errors = [
        output_error(weight, dequantize(quantize(weight, Config(b, 16), stats_of(inputs))), inputs) for b in range(2, 9)
    ]
    assert errors == sorted(errors, reverse=True)


def test_static_groups_keep_the_columns_in_order():
    weight, stats = weight_of(8, 64), stats_of(inputs_of(300, 64))
    assert quantize(weight, Config(4, 16, act_order=True), stats).columns is None
    moved = quantize(weight, Config(4, 16, act_order=True, static_groups=False), stats)
    assert torch.equal(moved.columns, stats.hessian.diagonal().argsort(descending=True, stable=True))


def test_inputs_that_are_never_used_are_rounded_to_nearest():
    inputs = inputs_of(200, 32)
    inputs[:, 5] = 0
    weight = weight_of(8, 32)
    q = quantize(weight, Config(4, None), stats_of(inputs))
    nearest = rtn.quantize(weight, rtn.Config(4, None))
    assert torch.equal(q.codes[:, 0, 5], nearest.codes[:, 0, 5])


def test_a_hessian_without_rank_needs_dampening():
    stats = stats_of(inputs_of(4, 32))  # 4 tokens span 4 of 32 directions
    with pytest.raises(ValueError, match="not positive definite at dampening 0"):
        quantize(weight_of(4, 32), Config(4, None, dampening=0), stats)
    assert gptq.quantize(weight_of(4, 32), Config(4, None), stats).codes.shape == (4, 1, 32)

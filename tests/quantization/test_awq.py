"""AWQ: what scaling may not change, and what it gains."""

import pytest
import torch

from reference_impls.quantization import rtn
from reference_impls.quantization.awq import Config, dequantize, input_scale_of, quantize, search_scale
from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.grid import fold_input_scale
from tests.quantization.cases import inputs_of, weight_of


def output_error(weight, approximation, inputs):
    return float((inputs @ (approximation - weight).T).square().sum())


def test_alpha_0_is_rtn():
    weight = weight_of(16, 64)
    q = quantize(weight, Config(4, 16, alpha=0.0), stats_of(inputs_of(100, 64, outliers=2)))
    assert torch.equal(q.codes, rtn.quantize(weight, rtn.Config(4, 16)).codes)
    assert torch.equal(q.input_scale, torch.ones(64))


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_scaling_is_an_identity_before_rounding(alpha):
    weight, inputs = weight_of(16, 64, dtype=torch.float64), inputs_of(100, 64, outliers=2, dtype=torch.float64)
    s = input_scale_of(stats_of(inputs).mean_abs, alpha)
    assert torch.allclose((inputs / s) @ (weight * s).T, inputs @ weight.T, atol=1e-10)


def test_hand_worked_scale():
    # alpha 0.5 of means 1 and 16: 1 and 4, of which the geometric mean is brought to 1
    assert torch.allclose(input_scale_of(torch.tensor([1.0, 16.0]), 0.5), torch.tensor([0.5, 2.0]))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_error_on_the_sample_is_never_above_rtns(bits, symmetric, clip):
    weight, inputs = weight_of(32, 64), inputs_of(200, 64, outliers=3)
    q = quantize(weight, Config(bits, 16, symmetric, clip=clip), stats_of(inputs))
    nearest = rtn.dequantize(rtn.quantize(weight, rtn.Config(bits, 16, symmetric)))
    # alpha 0 is among those tried, so the least error cannot be above it; 1e-5: s is divided out in float32
    assert output_error(weight, dequantize(q), inputs) <= output_error(weight, nearest, inputs) * (1 + 1e-5)


def test_outlier_channels_make_the_gain_large():
    weight, inputs = weight_of(32, 64), inputs_of(400, 64, outliers=3)
    stats, unseen = stats_of(inputs[:200]), inputs[200:]
    q = quantize(weight, Config(3, 16), stats)
    nearest = rtn.dequantize(rtn.quantize(weight, rtn.Config(3, 16)))
    assert output_error(weight, dequantize(q), unseen) < 0.5 * output_error(weight, nearest, unseen)


def test_clipping_never_raises_the_error():
    weight, inputs = weight_of(32, 64), inputs_of(200, 64, outliers=3)
    plain, clipped = (
        dequantize(quantize(weight, Config(2, 16, alpha=0.5, clip=clip), stats_of(inputs))) for clip in (False, True)
    )
    assert output_error(weight, clipped, inputs) < output_error(weight, plain, inputs)


def test_scale_folds_into_the_norm_and_into_the_linear_layer_before():
    weight, inputs = weight_of(16, 64), inputs_of(100, 64, outliers=2)
    q = quantize(weight, Config(4, 16), stats_of(inputs))
    on_grid = dequantize(q) * q.input_scale
    norm = weight_of(1, 64, seed=4)[0]
    expected = (inputs * norm) @ dequantize(q).T
    assert torch.allclose((inputs * fold_input_scale(norm, q.input_scale)) @ on_grid.T, expected, atol=1e-3)
    before = weight_of(64, 24, seed=5)
    hidden = inputs_of(10, 24)
    folded = (hidden @ fold_input_scale(before, q.input_scale).T) @ on_grid.T
    assert torch.allclose(folded, (hidden @ before.T) @ dequantize(q).T, atol=1e-3)


def test_layers_that_share_inputs_can_share_a_scale():
    query, key, stats = weight_of(16, 64), weight_of(8, 64, seed=2), stats_of(inputs_of(100, 64, outliers=2))
    shared = search_scale(torch.cat([query, key]), Config(3, 16), stats)
    assert shared.shape == (64,)
    assert shared[:2].min() > shared[2:].max()  # the outlier channels are scaled up most


def test_channels_that_are_never_used_do_no_harm():
    inputs = inputs_of(100, 64)
    inputs[:, 7] = 0
    q = quantize(weight_of(16, 64), Config(4, 16), stats_of(inputs))
    assert dequantize(q).isfinite().all()

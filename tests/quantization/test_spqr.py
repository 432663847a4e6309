"""SpQR: a sparse part and a grid."""

import pytest
import torch

from reference_impls.quantization import gptq, rtn
from reference_impls.quantization.calibration import stats_of
from reference_impls.quantization.grid import choose_scale, decode, decode_weight, round_to_codes
from reference_impls.quantization.spqr import Config, dequantize, leave_one_out_gain, quantize, round_scales
from tests.quantization.cases import inputs_of, weight_of


def output_error(weight, approximation, inputs):
    return float((inputs @ (approximation - weight).T).square().sum())


def spiky(out=32, width=64, seed=0):
    """A weight with one entry in fifty ten times as large."""
    weight = weight_of(out, width, seed)
    return torch.where(
        torch.rand(out, width, generator=torch.Generator().manual_seed(seed)) < 0.02, 10 * weight, weight
    )


def test_without_outliers_and_second_level_it_is_gptq():
    weight, stats = weight_of(16, 64), stats_of(inputs_of(300, 64))
    q = quantize(weight, Config(3, 16, outlier_share=0, scale_bits=None), stats)
    assert len(q.positions) == 0
    assert torch.equal(dequantize(q), gptq.dequantize(gptq.quantize(weight, gptq.Config(3, 16), stats)))


def test_dense_plus_sparse_is_the_reconstruction():
    weight, stats = spiky(), stats_of(inputs_of(300, 64))
    q = quantize(weight, Config(3, 16, outlier_share=0.03), stats)
    dense, sparse = decode_weight(q.grid), torch.zeros(32 * 64)
    mask = torch.zeros(32 * 64, dtype=torch.bool)
    mask[q.positions] = True
    sparse[q.positions] = q.values
    assert torch.equal(dequantize(q), dense.masked_fill(mask.view(32, 64), 0) + sparse.view(32, 64))
    assert len(q.positions) == round(0.03 * 32 * 64)


def test_the_spikes_are_what_is_kept_apart():
    weight = spiky()
    q = quantize(weight, Config(3, 16, outlier_share=0.01), stats_of(inputs_of(300, 64)))
    spikes = weight.abs() > 5
    assert spikes.flatten()[q.positions].float().mean() > 0.7  # of all weights, one in fifty is a spike


def test_gain_is_what_leaving_one_out_saves():
    grouped, config = weight_of(2, 24).view(2, 3, 8), Config(3, 8)
    cost = weight_of(3, 8, seed=3).abs()

    def total(values, cost):
        grid = choose_scale(values[None, None], Config(3, 8))
        return ((decode(round_to_codes(values[None, None], *grid, Config(3, 8)), *grid) - values).square() * cost).sum()

    gain = leave_one_out_gain(grouped, cost, config)
    for row in range(2):
        for at in range(3):
            values = grouped[row, at]
            for left_out in range(8):
                kept = [i for i in range(8) if i != left_out]
                expected = total(values, cost[at]) - total(values[kept], cost[at][kept])
                assert torch.allclose(gain[row, at, left_out], expected, atol=1e-5)


def test_all_outliers_is_exact():
    weight = weight_of(16, 64)
    q = quantize(weight, Config(3, 16, outlier_share=1.0), stats_of(inputs_of(300, 64)))
    assert torch.equal(dequantize(q), weight)


def test_error_falls_with_the_share_and_below_gptqs_and_rtns():
    weight, inputs = spiky(), inputs_of(300, 64)
    stats = stats_of(inputs)
    errors = [
        output_error(weight, dequantize(quantize(weight, Config(3, 16, outlier_share=share), stats)), inputs)
        for share in (0.0, 0.01, 0.02, 0.05)
    ]
    assert errors == sorted(errors, reverse=True)
    by_gptq = output_error(weight, gptq.dequantize(gptq.quantize(weight, gptq.Config(3, 16), stats)), inputs)
    by_rtn = output_error(weight, rtn.dequantize(rtn.quantize(weight, rtn.Config(3, 16))), inputs)
    assert errors[2] < by_gptq < by_rtn


def test_second_level_has_few_values_a_group_of_rows():
    scales = weight_of(32, 4).abs()[..., None]
    rounded = round_scales(scales, bits=3, scale_group=16).restore()
    assert rounded.shape == scales.shape
    for rows in (slice(0, 16), slice(16, 32)):
        for column in range(4):
            assert len(rounded[rows, column].unique()) <= 8
            span = float(scales[rows, column].max() - scales[rows, column].min())
            assert (rounded[rows, column] - scales[rows, column]).abs().max() <= span / 7 / 2 * (1 + 1e-5)


def test_bits_by_hand():
    q = quantize(weight_of(32, 64), Config(3, 16, outlier_share=0.01), stats_of(inputs_of(300, 64)))
    outliers = round(0.01 * 32 * 64)
    assert q.bits_per_weight == pytest.approx(3 + (2 * 3 + 64 / 16) / 16 + 32 * outliers / (32 * 64))


def test_rows_that_do_not_fill_a_scale_group_are_refused():
    with pytest.raises(ValueError, match="does not divide"):
        quantize(weight_of(20, 64), Config(), stats_of(inputs_of(300, 64)))

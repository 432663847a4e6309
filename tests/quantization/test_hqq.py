"""HQQ: a better zero_point without data."""

import pytest
import torch

from reference_impls.quantization import rtn
from reference_impls.quantization.hqq import Config, dequantize, quantize, shrink
from tests.quantization.cases import weight_of


def heavy_tailed(out=32, width=64, seed=0):
    weight = weight_of(out, width, seed)
    return weight * weight.abs()


def mean_error(weight, approximation):
    return float((weight - approximation).abs().mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_mean_error_is_below_rtns(bits, seed):
    weight = heavy_tailed(seed=seed)
    fitted = dequantize(quantize(weight, Config(bits, 32)))
    nearest = rtn.dequantize(rtn.quantize(weight, rtn.Config(bits, 32)))
    assert mean_error(weight, fitted) < mean_error(weight, nearest)


def test_no_group_is_worse_than_rtns():
    weight = heavy_tailed()
    groups = [(w - weight).view(32, 2, 32).abs().mean(2) for w in (
        dequantize(quantize(weight, Config(2, 32))), rtn.dequantize(rtn.quantize(weight, rtn.Config(2, 32)))
    )]  # fmt: skip
    assert (groups[0] <= groups[1] * (1 + 1e-5)).all()


def test_no_steps_is_rtn():
    weight = weight_of(8, 64)
    q = quantize(weight, Config(4, 16, steps=0))
    assert torch.equal(q.codes, rtn.quantize(weight, rtn.Config(4, 16)).codes)


def test_a_weight_on_the_grid_is_left_as_it_is():
    on_grid = rtn.dequantize(rtn.quantize(weight_of(8, 64), rtn.Config(4, 16)))
    assert torch.allclose(dequantize(quantize(on_grid, Config(4, 16))), on_grid, atol=1e-5)


def test_shrink_with_p_1_is_the_soft_threshold():
    # the least of |e| + beta / 2 (e - x)**2 is known: x moved towards 0 by 1 / beta
    assert torch.allclose(
        shrink(torch.tensor([-3.0, -0.05, 0.0, 0.3, 2.0]), beta=10.0, p=1.0), torch.tensor([-2.9, 0.0, 0.0, 0.2, 1.9])
    )


def test_shrink_is_odd_and_lets_large_errors_through():
    errors = torch.linspace(-5, 5, 101)
    out = shrink(errors, beta=10.0, p=0.7)
    assert torch.allclose(out, -shrink(-errors, beta=10.0, p=0.7))
    assert (out.abs() <= errors.abs()).all()
    assert abs(float(out[-1]) - 5) < 0.07  # 5**-0.3 / 10


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_mean_error_is_not_above_the_hqq_packages(bits):
    quantizer = pytest.importorskip("hqq.core.quantize", reason="hqq is not installed").Quantizer
    weight = heavy_tailed(64, 128)
    codes, meta = quantizer.quantize(
        weight.clone(), nbits=bits, group_size=64, axis=1, optimize=True, round_zero=False,
        device="cpu", compute_dtype=torch.float32, bitpack=False,
    )  # fmt: skip
    theirs = quantizer.dequantize(codes, meta)
    ours = dequantize(quantize(weight, Config(bits, 64)))
    assert mean_error(weight, ours) <= mean_error(weight, theirs.float().view_as(weight)) * 1.001


def test_a_symmetric_grid_is_refused():
    with pytest.raises(ValueError, match="symmetric must be False"):
        Config(symmetric=True)

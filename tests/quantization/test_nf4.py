"""NF4: its levels, its rounding, its double quantization."""

import pytest
import torch

from reference_impls.quantization import rtn
from reference_impls.quantization.nf4 import Config, dequantize, levels, quantize, restore_scales, round_scales
from tests.quantization.cases import weight_of

PUBLISHED = (  # arXiv 2305.14314, appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def test_levels_are_the_published_ones():
    assert torch.allclose(levels(), torch.tensor(PUBLISHED), atol=1e-6)  # 1e-6: published from a float32 computation


def test_levels_are_quantiles_at_equal_distances():
    shares = torch.special.ndtr(levels().double() * torch.special.ndtri(torch.tensor((31 / 32 + 29 / 30) / 2).double()))
    negative, positive = shares[:8].diff(), shares[7:].diff()
    assert torch.allclose(negative, negative[0].expand(7), atol=1e-6)
    assert torch.allclose(positive, positive[0].expand(8), atol=1e-6)


def test_every_weight_takes_the_nearest_level():
    weight = weight_of(16, 64)
    q = quantize(weight, Config(16, double=False))
    distance = (weight.view(16, 4, 16, 1) / q.absmax[..., None] - levels()).abs()
    assert torch.equal(q.codes.long(), distance.argmin(-1))


def test_hand_worked_group():
    q = quantize(torch.tensor([[2.0, 0.0, -2.0, 0.2]]), Config(4, double=False))
    assert q.codes.flatten().tolist() == [15, 7, 0, 8]  # 0.2 / 2 = 0.1 is nearest 0.0796
    assert dequantize(q).flatten().tolist() == pytest.approx([2.0, 0.0, -2.0, 2 * PUBLISHED[8]])


def test_rounding_again_changes_nothing():
    once = dequantize(quantize(weight_of(16, 64), Config(16, double=False)))
    assert torch.equal(dequantize(quantize(once, Config(16, double=False))), once)


@pytest.mark.parametrize("count", [1, 255, 256, 700])
def test_rounded_scales_are_within_half_a_step(count):
    scales = weight_of(1, count).abs() + 1
    rounded = round_scales(scales.view(1, -1, 1))
    steps = rounded.step.expand(-1, 256).flatten()[:count]
    assert ((restore_scales(rounded, count) - scales[0]).abs() <= steps / 2 * (1 + 1e-4)).all()


def test_double_quantization_saves_what_the_paper_says():
    weight = weight_of(256, 1024)
    saved = quantize(weight, Config(64, False)).bits_per_weight - quantize(weight, Config(64, True)).bits_per_weight
    assert quantize(weight, Config(64, False)).bits_per_weight == 4.5
    assert saved == pytest.approx(0.373, abs=0.005)  # section 3; the paper keeps one number a run, this two


def test_double_quantization_costs_little_error():
    weight = weight_of(64, 256)
    plain, double = (
        float((dequantize(quantize(weight, Config(64, d))) - weight).norm() / weight.norm()) for d in (False, True)
    )
    assert double < 1.02 * plain


def test_normal_weights_lose_less_than_on_the_uniform_grid():
    weight = weight_of(64, 256)
    uniform = rtn.dequantize(rtn.quantize(weight, rtn.Config(4, 64, symmetric=True)))
    assert (dequantize(quantize(weight, Config(64))) - weight).norm() < (uniform - weight).norm()


def test_equals_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional", reason="bitsandbytes is not installed")
    weight = weight_of(16, 128)
    packed, state = functional.quantize_4bit(weight, blocksize=64, quant_type="nf4")
    theirs = functional.dequantize_4bit(packed, state)
    assert torch.allclose(dequantize(quantize(weight, Config(64, double=False))), theirs, atol=1e-6)


def test_gradients_reach_the_inputs_and_not_the_weight():
    weight = torch.nn.Parameter(weight_of(8, 64))
    inputs = torch.ones(2, 64, requires_grad=True)
    (inputs @ dequantize(quantize(weight, Config(16))).T).sum().backward()
    assert weight.grad is None
    assert inputs.grad is not None

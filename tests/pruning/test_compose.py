"""Pruning with quantization: zeros survive, the order matters, and one pass beats two."""

import pytest
import torch

from reference_impls.pruning import compose as both
from reference_impls.pruning import magnitude, sparsegpt, wanda
from reference_impls.pruning.compose import Config, dequantize, quantize
from reference_impls.quantization import awq, gptq, nf4, rtn
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.calibration import Calibration, stats_of
from reference_impls.quantization.grid import GridConfig
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of

GRID = GridConfig(4, 16)


def output_error(weight, approximation, inputs):
    return float((inputs.double() @ (approximation.double() - weight.double()).T).square().sum())


def run(config, seed=0, bits=4, outliers=2):
    weight, inputs = weight_of(32, 64, seed), inputs_of(512, 64, seed + 5, outliers=outliers)
    found = quantize(weight, config, stats_of(inputs))
    return found, output_error(weight, dequantize(found), inputs)


@pytest.mark.parametrize("quantizer", ["rtn", "awq"])
@pytest.mark.parametrize("pruner, config", [("wanda", wanda.Config()), ("sparsegpt", sparsegpt.Config())])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_mask_made_first_survives_the_rounding(pruner, config, quantizer, symmetric):
    options = awq.Config if quantizer == "awq" else rtn.Config
    grid = options(4, 16, symmetric=symmetric)
    found, _ = run(Config(pruner, config, quantizer, grid))
    values = dequantize(found)
    assert int((~found.mask).sum()) == 32 * 64 // 2
    assert (values[~found.mask] == 0).all()
    assert torch.equal(values, dequantize(found))
    method = {"wanda": wanda, "sparsegpt": sparsegpt}[pruner]
    assert torch.equal(found.mask, method.keep_mask(weight_of(32, 64), config, stats_of(inputs_of(512, 64, 5, 2))))


def test_wanda_then_rtn_is_the_two_by_hand():
    weight, stats = weight_of(32, 64), stats_of(inputs_of(512, 64))
    found = quantize(weight, Config("wanda", wanda.Config(), "rtn", rtn.Config(4, 16)), stats)
    pruned = weight * wanda.keep_mask(weight, wanda.Config(), stats)
    assert torch.equal(dequantize(found), rtn.dequantize(rtn.quantize(pruned, rtn.Config(4, 16))))


@pytest.mark.parametrize("n_of_m", [None, (2, 4)], ids=str)
def test_joint_lies_on_the_grid_and_keeps_its_mask(n_of_m):
    found, _ = run(Config(prune=sparsegpt.Config(n_of_m=n_of_m), quantize=GRID, order="joint"))
    values = dequantize(found)
    assert int((~found.mask).sum()) == 32 * 64 // 2
    assert (values[~found.mask] == 0).all()
    assert found.grid.codes.max() <= 15
    steps = values.view(32, 4, 16) / found.grid.scale
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert torch.allclose(both.decode_weight(found.grid), values)  # removed codes are zero points already


def test_joint_without_pruning_is_gptq():
    weight, stats = weight_of(16, 64), stats_of(inputs_of(512, 64))
    found = quantize(weight, Config(prune=sparsegpt.Config(0.0), quantize=GRID, order="joint"), stats)
    exact = gptq.dequantize(gptq.quantize(weight, gptq.Config(4, 16), stats))
    assert torch.allclose(dequantize(found), exact, atol=1e-5)


def test_joint_with_a_fine_grid_is_sparsegpt():
    weight, stats = weight_of(16, 64), stats_of(inputs_of(512, 64))
    found = quantize(weight, Config(quantize=GridConfig(8, 16), order="joint"), stats)
    alone = sparsegpt.prune(weight, sparsegpt.Config(), stats)
    assert (dequantize(found) - alone).norm() < 0.02 * alone.norm()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [3, 4])
def test_one_pass_beats_two(bits, seed):
    grid = GridConfig(bits, 16)
    joint = run(Config(quantize=grid, order="joint"), seed)[1]
    after = run(Config(quantize=rtn.Config(bits, 16)), seed)[1]
    assert joint < after


@pytest.mark.parametrize("seed", range(3))
def test_pruning_first_leaves_the_weight_closer_than_quantizing_first(seed):
    """Rounding makes ties, among which sizes no longer tell which weight to remove."""
    options = {"prune_method": "magnitude", "prune": magnitude.Config(), "quantize": rtn.Config(3, 16)}
    weight = weight_of(32, 64, seed)
    first, last = (
        (dequantize(run(Config(**options, order=order), seed)[0]) - weight).norm()
        for order in ("prune_first", "quantize_first")
    )
    assert first < last


def test_quantizing_first_keeps_the_mask_too():
    found, _ = run(Config("wanda", wanda.Config(), "rtn", rtn.Config(4, 16), "quantize_first"))
    assert (dequantize(found)[~found.mask] == 0).all()
    assert (both.decode_weight(found.grid)[~found.mask] == 0).all()


def test_bits_are_those_of_the_kept_and_a_bit_for_the_mask():
    found, _ = run(Config(quantize=rtn.Config(4, 16, symmetric=True)))
    assert found.bits_per_weight == pytest.approx(0.5 * 4 + 1 + 32 / 16)


def test_methods_that_fill_zeros_in_again_are_refused():
    with pytest.raises(ValueError, match="fills removed weights in again"):
        run(Config("wanda", wanda.Config(), "gptq", gptq.Config(4, 16)))
    with pytest.raises(ValueError, match="uniform grid"):
        run(Config("wanda", wanda.Config(), "nf4", nf4.Config(16)))


@pytest.mark.parametrize("wrong", [{"order": "both"}, {"order": "joint", "prune_method": "wanda"}])
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=r"order must be|joint hands"):
        Config(**wrong)
    with pytest.raises(ValueError, match="calibrate"):
        quantize(weight_of(4, 16), Config())


def test_it_runs_over_a_model_through_the_other_familys_apply():
    config = Config(quantize=GRID, order="joint")
    result = quantize_model(small_decoder(), both, config, Calibration([tokens_of(8, 16)], sequential=True))
    for block in result.blocks:
        removed = ~block.ffn.up.quantized.mask
        assert int(removed.sum()) == removed.numel() // 2
        assert (block.ffn.up.weight[removed] == 0).all()
    assert result(tokens_of()).isfinite().all()


@pytest.mark.parametrize("order", ["prune_first", "quantize_first", "joint"])
def test_every_order_runs_as_it_stands(order):
    found, _ = run(Config(order=order))
    assert int((~found.mask).sum()) == 32 * 64 // 2

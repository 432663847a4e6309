"""Factors against the singular values left out, with and without the inputs' covariance."""

import dataclasses

import pytest
import torch

from reference_impls.low_rank import HEADER_FIELDS, RankConfig, activation_aware_svd, methods, svd
from reference_impls.low_rank.apply import LowRankLinear, factorize_model
from reference_impls.quantization.apply import find_linears, weight_bytes
from reference_impls.quantization.calibration import Calibration, stats_of
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of

METHODS = methods()
every_method = pytest.mark.parametrize("name", METHODS)


def output_error(weight, factors, inputs):
    return float((inputs.double() @ (factors.product().double() - weight.double()).T).square().sum())


@every_method
def test_header_and_config(name):
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in METHODS[name].__doc__]
    assert not missing, f"{name}: its header lacks {missing}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS[name].Config().kept = 0.1


def test_both_methods_are_found():
    assert {"svd", "activation_aware_svd"} <= set(METHODS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(8, 32), (33, 64), (96, 16)], ids=str)
@every_method
def test_factors_have_the_shape_and_dtype(name, shape, dtype):
    weight = weight_of(*shape, dtype=dtype)
    before = weight.clone()
    factors = METHODS[name].factorize(weight, METHODS[name].Config(rank=4), stats_of(inputs_of(200, shape[1])))
    assert (factors.left.shape, factors.right.shape) == ((shape[0], 4), (4, shape[1]))
    assert factors.left.dtype == factors.right.dtype == dtype
    assert torch.equal(weight, before)
    assert factors.parameters == 4 * sum(shape)


@every_method
def test_full_rank_is_the_weight(name):
    weight = weight_of(12, 20, dtype=torch.float64)
    stats = stats_of(inputs_of(200, 20, dtype=torch.float64))
    factors = METHODS[name].factorize(weight, METHODS[name].Config(rank=12), stats)
    assert torch.allclose(factors.product(), weight, atol=1e-9)


@pytest.mark.parametrize("rank", [1, 5, 11])
def test_error_is_the_eckart_young_tail(rank):
    weight = weight_of(12, 20, dtype=torch.float64)
    factors = svd.factorize(weight, svd.Config(rank=rank))
    tail = torch.linalg.svdvals(weight)[rank:].square().sum()
    assert float((factors.product() - weight).square().sum()) == pytest.approx(float(tail))


@pytest.mark.parametrize("rank", [1, 5, 11])
def test_whitened_output_error_is_the_tail_of_the_whitened_weight(rank):
    """No weight of this rank has a smaller output error: it equals the best for the outputs X W themselves."""
    weight, inputs = weight_of(12, 20, dtype=torch.float64), inputs_of(300, 20, dtype=torch.float64, outliers=2)
    factors = activation_aware_svd.factorize(
        weight, activation_aware_svd.Config(rank=rank, dampening=0), stats_of(inputs)
    )
    tail = torch.linalg.svdvals(inputs @ weight.T)[rank:].square().sum()
    assert output_error(weight, factors, inputs) == pytest.approx(float(tail))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [2, 8, 16])
def test_inputs_known_the_output_error_is_smaller(rank, seed):
    weight, inputs = weight_of(24, 32, seed), inputs_of(800, 32, seed + 5, outliers=2)
    calibrated, unseen = inputs[:500], inputs[500:]
    stats = stats_of(calibrated)
    plain = svd.factorize(weight, svd.Config(rank=rank))
    whitened = activation_aware_svd.factorize(weight, activation_aware_svd.Config(rank=rank), stats)
    scaled = activation_aware_svd.factorize(weight, activation_aware_svd.Config(rank=rank, weighting="diagonal"), stats)
    assert output_error(weight, whitened, calibrated) <= output_error(weight, scaled, calibrated) * (1 + 1e-6)
    assert output_error(weight, scaled, calibrated) < output_error(weight, plain, calibrated)
    assert output_error(weight, whitened, unseen) < output_error(weight, plain, unseen)
    assert (plain.product() - weight).norm() <= (whitened.product() - weight).norm()


def test_white_inputs_give_plain_svd():
    weight = weight_of(12, 20, dtype=torch.float64)
    stats = dataclasses.replace(stats_of(inputs_of(50, 20)), hessian=2 * torch.eye(20).double())
    found = activation_aware_svd.factorize(weight, activation_aware_svd.Config(rank=5, dampening=0), stats)
    assert torch.allclose(found.product(), svd.factorize(weight, svd.Config(rank=5)).product())


def test_alpha_0_gives_plain_svd():
    weight, stats = weight_of(12, 20), stats_of(inputs_of(50, 20))
    config = activation_aware_svd.Config(rank=5, weighting="diagonal", alpha=0.0)
    found = activation_aware_svd.factorize(weight, config, stats)
    assert torch.allclose(found.product(), svd.factorize(weight, svd.Config(rank=5)).product(), atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (96, 32)], ids=str)
def test_the_rank_keeps_at_most_the_share(shape):
    for kept in (0.1, 0.5, 0.9):
        rank = RankConfig(kept).rank_of(shape)
        assert rank * sum(shape) <= kept * shape[0] * shape[1] < (rank + 1) * sum(shape)
    assert RankConfig(1e-9).rank_of(shape) == 1
    assert RankConfig(9.0).rank_of(shape) == min(shape)


@every_method
def test_a_model_gets_really_smaller_layers(name):
    model = small_decoder()
    calibration = Calibration([tokens_of(8, 16)])
    small = factorize_model(model, name, METHODS[name].Config(0.5), calibration)
    factors = [module for module in small.modules() if isinstance(module, LowRankLinear)]
    assert len(factors) == len(find_linears(model))
    assert weight_bytes(small) < weight_bytes(model)
    x = inputs_of(3, 64)
    layer = small.blocks[0].ffn.up
    assert torch.allclose(layer(x), x @ (layer.left @ layer.right).T, atol=1e-4)
    assert small(tokens_of()).isfinite().all()


def test_more_rank_is_closer_and_layers_that_would_grow_stay_dense():
    model = small_decoder()
    exact = model(tokens_of())
    models = [factorize_model(model, "svd", svd.Config(kept)) for kept in (0.2, 0.6, 0.95)]
    errors = [float((one(tokens_of()) - exact).norm()) for one in models]
    assert errors == sorted(errors, reverse=True)
    assert torch.equal(factorize_model(model, "svd", svd.Config(rank=64))(tokens_of()), exact)


def test_what_cannot_be_done_is_told():
    few = stats_of(inputs_of(4, 32))
    with pytest.raises(ValueError, match="span too little at dampening 0"):
        activation_aware_svd.factorize(weight_of(8, 32), activation_aware_svd.Config(dampening=0), few)
    assert activation_aware_svd.factorize(weight_of(8, 32), activation_aware_svd.Config(), few).left.isfinite().all()
    with pytest.raises(ValueError, match="calibrate"):
        activation_aware_svd.factorize(weight_of(8, 32), activation_aware_svd.Config(), None)
    with pytest.raises(ValueError, match="give calibration"):
        factorize_model(small_decoder(), "activation_aware_svd", activation_aware_svd.Config())
    with pytest.raises(ValueError, match="expected one of"):
        factorize_model(small_decoder(), "magic", None)


@pytest.mark.parametrize("wrong", [{"kept": 0.0}, {"rank": 0}, {"weighting": "magic"}, {"dampening": -1.0}])
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        activation_aware_svd.Config(**wrong)

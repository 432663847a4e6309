"""SparseGPT against least squares after each removal, and against its mask alone."""

from dataclasses import replace

import pytest
import torch

from reference_impls.pruning import magnitude, sparsegpt, wanda
from reference_impls.pruning.sparsegpt import Config, keep_mask, prune, prune_and_round
from reference_impls.quantization.calibration import stats_of
from tests.quantization.cases import inputs_of, weight_of


def output_error(weight, approximation, inputs):
    return float((inputs.double() @ (approximation.double() - weight.double()).T).square().sum())


def refit(weight, mask, inputs):
    """Row by row, the best values for the kept weights of a mask: plain least squares."""
    best = torch.zeros_like(weight)
    for row, kept in enumerate(mask):
        target = inputs @ weight[row]
        best[row, kept] = torch.linalg.lstsq(inputs[:, kept], target[:, None]).solution.flatten()
    return best


def column_by_column(weight, mask, inputs):
    """Go through the columns: where one is removed, refit those to its right, those to its left staying as they are."""
    work = weight.clone()
    for row in range(len(weight)):
        target = inputs @ weight[row]
        for column in range(weight.shape[1]):
            if mask[row, column]:
                continue
            work[row, column] = 0
            left, right = slice(0, column + 1), slice(column + 1, None)
            rest = target - inputs[:, left] @ work[row, left]
            if column + 1 < weight.shape[1]:
                work[row, right] = torch.linalg.lstsq(inputs[:, right], rest[:, None]).solution.flatten()
    return work


@pytest.mark.parametrize("config", [Config(0.5, dampening=0), Config(n_of_m=(2, 4), dampening=0)], ids=str)
def test_equals_least_squares_after_each_removal(config):
    weight, inputs = weight_of(6, 16, dtype=torch.float64), inputs_of(80, 16, dtype=torch.float64)
    pruned, mask = prune_and_round(weight, config, stats_of(inputs))
    assert torch.allclose(pruned, column_by_column(weight, mask, inputs), atol=1e-9)


def test_equals_full_least_squares_where_all_removed_come_first():
    weight, inputs = weight_of(4, 16, dtype=torch.float64), inputs_of(80, 16, dtype=torch.float64)
    weight[:, :6] *= 1e-3  # small and silent enough to go, all of them
    pruned, mask = prune_and_round(weight, Config(6 / 16, mask_columns=16, dampening=0), stats_of(inputs))
    assert not mask[:, :6].any()
    assert torch.allclose(pruned, refit(weight, mask, inputs), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", [Config(0.3), Config(0.5), Config(0.7), Config(n_of_m=(2, 4))], ids=str)
def test_error_is_between_the_best_refit_and_the_mask_alone(config, seed):
    weight, inputs = weight_of(24, 64, seed, torch.float64), inputs_of(512, 64, seed + 5, dtype=torch.float64)
    pruned, mask = prune_and_round(weight, config, stats_of(inputs))
    found = output_error(weight, pruned, inputs)
    assert output_error(weight, refit(weight, mask, inputs), inputs) <= found * (1 + 1e-9)
    assert found < 0.95 * output_error(weight, weight * mask, inputs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_order_of_the_methods_on_inputs_with_outliers(sparsity, seed):
    weight, inputs = weight_of(32, 64, seed), inputs_of(512, 64, seed + 5, outliers=3)
    stats = stats_of(inputs)
    by_size = weight * magnitude.keep_mask(weight, magnitude.Config(sparsity, scope="row"))
    by_product = weight * wanda.keep_mask(weight, wanda.Config(sparsity), stats)
    updated = prune(weight, Config(sparsity), stats)
    errors = [output_error(weight, one, inputs) for one in (updated, by_product, by_size)]
    assert errors == sorted(errors)


def test_the_gain_holds_on_inputs_it_has_not_seen():
    inputs, weight = inputs_of(2048, 64), weight_of(32, 64)
    pruned, mask = prune_and_round(weight, Config(), stats_of(inputs[:1024]))
    unseen = inputs[1024:]
    assert output_error(weight, pruned, unseen) < 0.8 * output_error(weight, weight * mask, unseen)


def test_uncorrelated_inputs_of_one_size_give_magnitude_and_move_nothing():
    weight = weight_of(16, 32)
    stats = replace(stats_of(inputs_of(64, 32)), hessian=torch.eye(32))
    pruned, mask = prune_and_round(weight, Config(0.5, mask_columns=32), stats)
    assert torch.equal(mask, magnitude.keep_mask(weight, magnitude.Config(0.5)))
    assert torch.allclose(pruned, weight * mask, atol=1e-6)


def test_nothing_removed_is_the_weight():
    weight = weight_of(8, 32)
    assert torch.equal(prune(weight, Config(0.0), stats_of(inputs_of(99, 32))), weight)


@pytest.mark.parametrize("mask_columns", [1, 7, 128, 1000])
def test_any_width_of_choice_removes_the_exact_share(mask_columns):
    mask = keep_mask(weight_of(10, 150), Config(0.37, mask_columns=mask_columns), stats_of(inputs_of(300, 150)))
    assert int((~mask).sum()) == round(0.37 * 1500)
    by_columns = (~mask).float().mean(0)
    if mask_columns == 1:
        assert by_columns.max() <= 0.4  # each column gives its share
    assert by_columns.std() > 0


def test_wide_choice_may_spare_whole_columns():
    inputs = inputs_of(400, 64)
    inputs[:, :4] *= 50
    mask = keep_mask(weight_of(32, 64), Config(0.5, mask_columns=64), stats_of(inputs))
    assert mask[:, :4].float().mean() > 0.95


def test_dead_inputs_and_short_texts_run():
    inputs = inputs_of(5, 32)
    inputs[:, 7] = 0
    pruned = prune(weight_of(8, 32), Config(), stats_of(inputs))
    assert pruned.isfinite().all()
    with pytest.raises(ValueError, match="not positive definite at dampening 0"):
        prune(weight_of(8, 32), Config(dampening=0), stats_of(inputs_of(4, 32)))


@pytest.mark.parametrize("wrong", [{"mask_columns": 0}, {"dampening": -1.0}])
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        sparsegpt.Config(**wrong)

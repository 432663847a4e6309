"""Magnitude and Wanda against their formulas, and exact counts with and without ties."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.prune import l1_unstructured

from reference_impls.pruning import magnitude, wanda
from reference_impls.pruning.masks import MaskConfig, is_n_of_m, keep_by_row, keep_largest, keep_n_of_m
from reference_impls.quantization.calibration import stats_of
from tests.quantization.cases import inputs_of, seeded, weight_of


@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 2**31))
def test_ties_or_not_the_count_is_exact_and_the_first_of_equals_go(removed, values, seed):
    scores = torch.randint(0, values, (3, 40), generator=seeded(seed)).float()
    mask = keep_largest(scores, removed)
    by_sorting = torch.ones_like(mask).scatter(1, scores.argsort(dim=1, stable=True)[:, :removed], False)
    assert torch.equal(mask, by_sorting)


def test_what_is_kept_is_at_least_as_large_as_what_goes():
    weight = weight_of(16, 64)
    mask = magnitude.keep_mask(weight, magnitude.Config(0.3))
    assert weight[mask].abs().min() >= weight[~mask].abs().max()


def test_a_worked_example():
    weight = torch.tensor([[0.1, -4.0, 0.2, 3.0], [2.0, -0.3, 5.0, 1.0]])
    of_layer = magnitude.keep_mask(weight, magnitude.Config(0.5))
    of_rows = magnitude.keep_mask(weight, magnitude.Config(0.5, scope="row"))
    assert of_layer.int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert of_rows.int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
    assert magnitude.keep_mask(weight, magnitude.Config(0.75)).int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    few_of_rows = magnitude.keep_mask(weight, magnitude.Config(0.75, scope="row"))
    assert few_of_rows.int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_layer_and_row_differ_where_rows_differ_in_size():
    weight = torch.cat([weight_of(4, 32), 10 * weight_of(4, 32, seed=1)])
    of_layer = magnitude.keep_mask(weight, magnitude.Config(0.5)).float().mean(1)
    of_rows = magnitude.keep_mask(weight, magnitude.Config(0.5, scope="row")).float().mean(1)
    assert (of_rows == 0.5).all()
    assert of_layer[:4].max() < 0.5 < of_layer[4:].min()


def test_global_scope_ranks_all_layers_together():
    weights = [weight_of(8, 32), 5 * weight_of(8, 32, seed=1)]
    config = magnitude.fit(weights, magnitude.Config(0.5, scope="global"))
    masks = [magnitude.keep_mask(weight, config) for weight in weights]
    assert sum(int((~mask).sum()) for mask in masks) == 256
    kept = torch.cat([weight[mask].abs() for weight, mask in zip(weights, masks, strict=True)])
    gone = torch.cat([weight[~mask].abs() for weight, mask in zip(weights, masks, strict=True)])
    assert kept.min() > gone.max()
    assert masks[0].float().mean() < masks[1].float().mean()


def test_global_scope_without_its_threshold_is_an_error():
    with pytest.raises(ValueError, match="fit"):
        magnitude.keep_mask(weight_of(4, 8), magnitude.Config(scope="global"))
    assert magnitude.fit([weight_of(4, 8)], magnitude.Config()).threshold is None
    nothing = magnitude.fit([weight_of(4, 8)], magnitude.Config(0.0, scope="global"))
    assert magnitude.keep_mask(torch.zeros(2, 2), nothing).all()


def test_equals_torchs_own_pruning():
    layer = torch.nn.Linear(64, 16, bias=False)
    layer.weight.data = weight_of(16, 64)
    mask = magnitude.keep_mask(layer.weight, magnitude.Config(0.4))
    l1_unstructured(layer, "weight", amount=0.4)
    assert torch.equal(layer.weight_mask.bool(), mask)


def test_wanda_is_its_formula_entry_by_entry():
    weight, inputs = weight_of(5, 12), inputs_of(30, 12, outliers=2)
    found = wanda.saliency(weight, wanda.input_norm(stats_of(inputs)))
    for row in range(5):
        for column in range(12):
            norm = sum(float(inputs[token, column]) ** 2 for token in range(30)) ** 0.5
            expected = abs(float(weight[row, column])) * norm / 30**0.5
            assert float(found[row, column]) == pytest.approx(expected, rel=1e-5)


def test_wanda_with_equal_norms_is_magnitude_per_row():
    weight = weight_of(16, 32)
    stats = replace(stats_of(inputs_of(64, 32)), mean_square=torch.full((32,), 7.0))
    for config in ({"sparsity": 0.3}, {"n_of_m": (2, 4)}):
        by_size = magnitude.keep_mask(weight, magnitude.Config(**config, scope="row"))
        assert torch.equal(wanda.keep_mask(weight, wanda.Config(**config), stats), by_size)


def test_wanda_keeps_the_weights_behind_a_loud_input():
    inputs = inputs_of(200, 32)
    inputs[:, 3] *= 1000
    inputs[:, 4] = 0
    mask = wanda.keep_mask(weight_of(16, 32), wanda.Config(0.5), stats_of(inputs))
    assert mask[:, 3].all()
    assert not mask[:, 4].any()


def test_the_scale_of_the_inputs_does_not_matter():
    weight, inputs = weight_of(16, 32), inputs_of(200, 32, dtype=torch.float64)
    once, tenfold = (wanda.keep_mask(weight, wanda.Config(), stats_of(x)) for x in (inputs, 10 * inputs))
    assert torch.equal(once, tenfold)


def test_more_sparsity_keeps_a_subset():
    scores = weight_of(8, 64).abs()
    masks = [keep_by_row(scores, MaskConfig(share)) for share in (0.2, 0.5, 0.9)]
    assert all((fewer <= more).all() for more, fewer in pairwise(masks))


def test_n_of_m_keeps_the_largest_of_each_group():
    scores = torch.tensor([[3.0, 1, 2, 4, 9, 8, 7, 6]])
    assert keep_n_of_m(scores, (2, 4)).int().tolist() == [[1, 0, 0, 1, 1, 1, 0, 0]]
    assert is_n_of_m(scores * keep_n_of_m(scores, (2, 4)), (2, 4))
    assert not is_n_of_m(scores, (2, 4))

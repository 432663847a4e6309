"""On weights that were trained and never pruned, and real text: the order that the papers claim, as far as it holds."""

from functools import cache

import pytest
import torch

from reference_impls.pruning import layers, magnitude, sparsegpt, structured, wanda, width
from reference_impls.pruning.apply import prune_model, prune_weight
from reference_impls.pruning.surgery import remove_blocks
from reference_impls.quantization.apply import find_linears, layer_error
from reference_impls.quantization.calibration import Calibration, collect

tiny = pytest.importorskip("reference_impls.models.tiny", reason="this package has no trained model")
pytest.importorskip("tokenizers", reason="tokenizers is not installed")
if not (tiny.FOLDER / "target.safetensors").is_file():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

from reference_impls.models.perplexity import mean_loss  # noqa: E402

CONTEXT = 256


@pytest.fixture(scope="module")
def model():
    return tiny.load_target().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokens():
    return tiny.heldout_tokens(4096)


@pytest.fixture(scope="module")
def calibration(tokens):
    return Calibration([*tokens[2048:].view(-1, 1, CONTEXT)])


@pytest.fixture(scope="module")
def added_loss(model, tokens, calibration):
    dense = mean_loss(model, tokens[:2048], CONTEXT)

    @cache
    def added(method, config):
        return mean_loss(prune_model(model, method, config, calibration), tokens[:2048], CONTEXT) - dense

    return added


def test_layer_errors_are_in_order_at_one_half(model, calibration, tokens):
    """SparseGPT below Wanda below magnitude, in the mean over all layers, on inputs not calibrated on."""
    linears = find_linears(model)
    seen = collect(model, dict(linears), calibration)
    unseen = collect(model, dict(linears), Calibration([*tokens[:2048].view(-1, 1, CONTEXT)]), hessian=False)

    def mean_error(method, config):
        errors = [
            layer_error(layer.weight, prune_weight(layer.weight, method, config, seen[name]), unseen[name].sample)
            for name, layer in linears.items()
        ]
        return sum(errors) / len(errors)

    updated, by_product, by_size = (
        mean_error(method, config)
        for method, config in (
            (sparsegpt, sparsegpt.Config()),
            (wanda, wanda.Config()),
            (magnitude, magnitude.Config(scope="row")),
        )
    )
    assert updated < 0.95 * by_product
    assert by_product < by_size


def test_sparsegpt_loses_least(added_loss):
    for sparsity in (0.5, 0.7):
        lost = added_loss(sparsegpt, sparsegpt.Config(sparsity))
        assert lost < added_loss(wanda, wanda.Config(sparsity))
        assert lost < added_loss(magnitude, magnitude.Config(sparsity))


@pytest.mark.parametrize("method", [magnitude, wanda, sparsegpt], ids=["magnitude", "wanda", "sparsegpt"])
def test_more_sparsity_costs_more_and_freedom_less(added_loss, method):
    lost = [added_loss(method, method.Config(sparsity)) for sparsity in (0.3, 0.5, 0.7)]
    assert lost == sorted(lost)
    assert lost[1] < added_loss(method, method.Config(n_of_m=(4, 8))) < added_loss(method, method.Config(n_of_m=(2, 4)))


def test_gradients_choose_better_than_activations_at_the_same_size(added_loss):
    assert added_loss(structured, structured.Config(0.3)) < added_loss(width, width.Config(0.3))


def test_the_least_influential_block_is_the_best_to_remove_or_nearly(model, calibration, tokens, added_loss):
    scores = layers.block_influence(model, calibration)
    assert scores.argmax() == 0  # the first block turns embeddings into something else
    assert added_loss(layers, layers.Config(1)) < 0.2
    worst = remove_blocks(model, [int(scores.argmax())])
    assert mean_loss(worst, tokens[:1024], CONTEXT) > mean_loss(model, tokens[:1024], CONTEXT) + 1
    assert torch.isfinite(scores).all()

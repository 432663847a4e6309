"""Cut decoders: what is left computes what the whole one does with the same structures set to zero."""

from itertools import pairwise

import pytest
import torch

from reference_impls.models.generate import generate
from reference_impls.models.perplexity import mean_loss, token_losses
from reference_impls.models.shapes import parameter_count
from reference_impls.models.weights import load, save
from reference_impls.pruning import Calibration, structured, width
from reference_impls.pruning.surgery import (
    BlockScores,
    RaggedDecoder,
    ShrinkConfig,
    cut,
    keep_groups,
    keep_neurons,
    parameters_in,
)
from tests.quantization.cases import seeded, small_decoder, tokens_of

MODULES = pytest.mark.parametrize("method", [structured, width], ids=["structured", "width"])


def calibration():
    return Calibration([tokens_of(), tokens_of(seed=4)])


def random_scores(model, seed=0):
    generator = seeded(seed)
    return [BlockScores(torch.rand(96, generator=generator), torch.rand(2, generator=generator)) for _ in model.blocks]


def zeroed(model, block, neurons=(), group=None):
    """Structures set to zero where they stand. Only what they put out needs to be."""
    ffn, attention = model.blocks[block].ffn, model.blocks[block].attention
    for neuron in neurons:
        ffn.down.weight.data[:, neuron] = 0
    if group is not None:
        attention.output.weight.data[:, 32 * group : 32 * (group + 1)] = 0


def test_a_cut_model_equals_the_whole_one_with_zeros():
    model = small_decoder(dtype=torch.float64)
    gone = [3, 17, 80]
    neurons, groups = torch.ones(96, dtype=torch.bool), torch.tensor([False, True])
    neurons[gone] = False
    whole, small = small_decoder(dtype=torch.float64), small_decoder(dtype=torch.float64)
    zeroed(whole, 1, gone, group=0)
    keep_neurons(small.blocks[1].ffn, neurons)
    keep_groups(small.blocks[1].attention, groups)
    assert small.blocks[1].ffn.up.weight.shape == (93, 64)
    assert small.blocks[1].attention.query.weight.shape == (32, 64)
    assert torch.allclose(small(tokens_of()), whole(tokens_of()), atol=1e-10)
    assert not torch.allclose(small(tokens_of()), model(tokens_of()), atol=1e-3)


@MODULES
def test_removing_silent_structures_changes_nothing(method):
    """The score must find them, and leaving them out must be exact."""
    model = small_decoder(dtype=torch.float64)
    for block, layer in enumerate(model.blocks):
        silent = list(range(block, 96, 5))[:19]  # of 96: just the share removed below
        for weight in (layer.ffn.gate.weight, layer.ffn.up.weight):
            weight.data[silent] = 0
        zeroed(model, block, silent, group=block)
        layer.attention.value.weight.data[16 * block : 16 * (block + 1)] = 0
        for projection, rows in ((layer.attention.query, 32), (layer.attention.key, 16)):
            projection.weight.data[rows * block : rows * (block + 1)] = 0
    small = method.shrink(model, method.Config(removed_neurons=19 / 96, removed_groups=1), calibration())
    assert torch.allclose(small(tokens_of()), model(tokens_of()), atol=1e-10)
    assert small.config.ffn == 77
    assert small.config.kv_heads == 1


@MODULES
def test_nothing_removed_is_the_same_model(method):
    model = small_decoder()
    same = method.shrink(model, method.Config(removed_neurons=0.0), calibration())
    assert torch.equal(same(tokens_of()), model(tokens_of()))
    assert parameters_in(same) == parameters_in(model)


@MODULES
@pytest.mark.parametrize("protect", [0, 1])
def test_it_generates_with_a_cache_what_it_generates_without(method, protect):
    config = method.Config(removed_neurons=0.3, removed_groups=1, protect_first=protect)
    small = method.shrink(small_decoder(), config, calibration())
    assert isinstance(small, RaggedDecoder) == bool(protect)
    tokens = tokens_of()[:, :5]
    new = generate(small, tokens, 6)
    text = torch.cat([tokens, new], 1)
    assert torch.equal(small(text)[:, 4:-1].argmax(-1), new)


def test_a_ragged_cache_crops_all_its_layers():
    small = cut(small_decoder(), random_scores(small_decoder()), ShrinkConfig(0.25, 1, protect_last=1))
    cache = small.new_cache(2, 20)
    assert [layer.storage.shape[3] for layer in cache.layers] == [1, 2]
    small(tokens_of(), cache)
    cache.crop(7)
    assert cache.length == 7
    rest = small(tokens_of()[:, 7:], cache)
    assert torch.allclose(rest, small(tokens_of())[:, 7:], atol=1e-5)
    with pytest.raises(ValueError, match="crop keeps 0 to 12"):
        cache.crop(13)


@MODULES
def test_parameters_are_those_of_the_shape_and_fewer(method):
    whole = small_decoder()
    sizes = []
    for share in (0.0, 0.2, 0.5):
        small = method.shrink(whole, method.Config(share, removed_groups=1), calibration())
        assert parameters_in(small) == parameter_count(small.config)
        sizes.append(parameters_in(small))
    assert all(more > fewer for more, fewer in pairwise([parameters_in(whole), *sizes]))


def test_both_ways_remove_the_same_number():
    for config in ({"removed_neurons": 0.3}, {"removed_neurons": 0.1, "removed_groups": 1, "protect_last": 1}):
        models = [m.shrink(small_decoder(), m.Config(**config), calibration()) for m in (structured, width)]
        assert parameters_in(models[0]) == parameters_in(models[1])


def test_an_even_cut_can_be_saved_and_loaded(tmp_path):
    small = width.shrink(small_decoder(), width.Config(0.4, 1), calibration())
    save(small, tmp_path / "small.safetensors")
    assert torch.equal(load(tmp_path / "small.safetensors")(tokens_of()), small(tokens_of()))


def test_the_head_stays_tied():
    small = width.shrink(small_decoder(), width.Config(0.4), calibration())
    assert small.head.weight is small.embedding.weight


def test_gradient_times_weight_is_the_change_of_the_loss_to_first_order():
    """Scaling one neuron's column of `down` by 1 - h must change the loss by -h times its product."""
    model, tokens = small_decoder(dtype=torch.float64), tokens_of()
    weight = model.blocks[0].ffn.down.weight
    product = structured.gradient_products(model, [tokens])[weight][:, 5].sum()

    def loss(factor):
        other = small_decoder(dtype=torch.float64)
        other.blocks[0].ffn.down.weight.data[:, 5] *= factor
        return token_losses(other(tokens[:, :-1]), tokens[:, 1:]).mean()

    slope = (loss(1 + 1e-5) - loss(1 - 1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(product), rel=1e-5)
    assert not weight.requires_grad
    assert weight.grad is None


def test_importance_sums_over_all_that_goes_together():
    model = small_decoder()
    products = structured.gradient_products(model, [tokens_of()])
    block = model.blocks[1]
    scores = structured.block_scores(block, products, structured.Config())
    ffn, attention = block.ffn, block.attention
    by_hand = sum(float(products[w.weight][7].abs().sum()) for w in (ffn.gate, ffn.up))
    by_hand += float(products[ffn.down.weight][:, 7].abs().sum())
    assert float(scores.neurons[7]) == pytest.approx(by_hand, rel=1e-5)
    by_hand = float(products[attention.query.weight][32:].abs().sum() + products[attention.key.weight][16:].abs().sum())
    by_hand += float(products[attention.value.weight][16:].abs().sum())
    by_hand += float(products[attention.output.weight][:, 32:].abs().sum())
    assert float(scores.groups[1]) == pytest.approx(by_hand, rel=1e-5)


def test_vector_importance_is_at_most_the_elements():
    model = small_decoder()
    products = structured.gradient_products(model, [tokens_of()])
    element, vector = (
        structured.block_scores(model.blocks[0], products, structured.Config(importance=kind))
        for kind in ("element", "vector")
    )
    assert (vector.neurons <= element.neurons * (1 + 1e-5)).all()
    assert (vector.groups < element.groups).all()


def test_activation_scores_are_means_of_what_is_put_out():
    model, tokens = small_decoder(), tokens_of(batch=1, seq=7)
    seen = {}
    for name, layer in (("down", model.blocks[0].ffn.down), ("output", model.blocks[0].attention.output)):
        layer.register_forward_pre_hook(lambda _m, inputs, name=name: seen.update({name: inputs[0][0]}))
    scores = width.activation_scores(model, Calibration([tokens]))[0]
    assert torch.allclose(scores.neurons.float(), seen["down"].abs().mean(0), rtol=1e-5)
    heads = seen["output"].view(7, 4, 16).norm(dim=-1).mean(0)  # two heads read each key/value head
    assert torch.allclose(scores.groups.float(), torch.stack([heads[:2].sum(), heads[2:].sum()]), rtol=1e-5)


def test_recovery_lowers_the_loss_and_leaves_a_plain_decoder():
    text = tokens_of(8, 24)
    small = structured.shrink(small_decoder(), structured.Config(0.4), Calibration([text]))
    recovery = structured.Recovery(steps=30, learning_rate=5e-3)
    better = structured.recover(small, [text], recovery, seeded())
    assert mean_loss(better, text.flatten(), 24) < mean_loss(small, text.flatten(), 24) - 0.1
    assert {name: value.shape for name, value in better.state_dict().items()} == {
        name: value.shape for name, value in small.state_dict().items()
    }


@pytest.mark.parametrize("wrong", [{"removed_neurons": 1.0}, {"removed_groups": -1}, {"protect_first": -1}])
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        structured.Config(**wrong)


def test_one_group_must_stay_and_importance_is_known():
    with pytest.raises(ValueError, match="one must stay"):
        cut(small_decoder(), random_scores(small_decoder()), ShrinkConfig(removed_groups=2))
    with pytest.raises(ValueError, match="importance"):
        structured.Config(importance="magic")

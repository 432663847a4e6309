"""Block influence on hand-made states, and removal of blocks that do nothing."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.models.decoder import Config as Shape
from reference_impls.models.decoder import Decoder
from reference_impls.models.generate import generate
from reference_impls.pruning import Calibration
from reference_impls.pruning.layers import Config, block_influence, influence, least_influential, shrink
from reference_impls.pruning.surgery import parameters_in, remove_blocks
from tests.quantization.cases import seeded, tokens_of


def deep_decoder(layers=5):
    model = Decoder(Shape(vocab=50, hidden=32, layers=layers, heads=4, kv_heads=2, head_dim=8, ffn=48))
    generator = seeded(1)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval().requires_grad_(False)


def silence(model, index):
    model.blocks[index].attention.output.weight.data.zero_()
    model.blocks[index].ffn.down.weight.data.zero_()


def test_hand_made_states():
    before = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 4.0]])
    after = torch.tensor([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [4.0, 3.0]])
    assert influence(before, after).tolist() == pytest.approx([0.0, 1.0, 2.0, 1 - 24 / 25])


@given(st.integers(0, 2**31))
def test_it_is_between_0_and_2(seed):
    before, after = torch.randn(2, 20, 6, generator=seeded(seed))
    found = influence(before, after)
    assert (found >= -1e-12).all()
    assert (found <= 2 + 1e-12).all()


def keep_states(states, _module, inputs, output):
    states.append((inputs[0], output))


def test_mean_over_all_tokens_of_all_batches():
    model = deep_decoder()
    batches = [tokens_of(2, 6), tokens_of(1, 9, seed=5)]
    seen = []
    with torch.no_grad():
        for tokens in batches:
            states = []
            hook = partial(keep_states, states)
            handles = [block.register_forward_hook(hook) for block in model.blocks]
            model(tokens)
            for handle in handles:
                handle.remove()
            seen.append(torch.stack([influence(x, y).flatten() for x, y in states]))
    expected = torch.cat(seen, 1).mean(1)
    found = block_influence(model, Calibration(batches))
    assert torch.allclose(found, expected)
    assert ((found > 0) & (found < 2)).all()


@pytest.mark.parametrize("silent", [[0], [2], [4], [1, 3]], ids=str)
def test_blocks_that_do_nothing_go_first_and_removing_them_is_exact(silent):
    model = deep_decoder()
    for index in silent:
        silence(model, index)
    calibration = Calibration([tokens_of()])
    assert least_influential(block_influence(model, calibration), len(silent)) == silent
    small = shrink(model, Config(len(silent)), calibration)
    assert torch.equal(small(tokens_of()), model(tokens_of()))
    tokens = tokens_of()[:, :4]
    assert torch.equal(generate(small, tokens, 5), generate(model, tokens, 5))


def test_the_cache_has_a_place_for_each_block_that_stays():
    small = remove_blocks(deep_decoder(), [1, 3])
    assert small.config.layers == len(small.blocks) == 3
    cache = small.new_cache(2, 12)
    first = small(tokens_of()[:, :7], cache)
    rest = small(tokens_of()[:, 7:], cache)
    assert torch.allclose(torch.cat([first, rest], 1), small(tokens_of()), atol=1e-5)
    assert cache.storage.shape[0] == 3


def test_every_block_removed_saves_its_share():
    model = deep_decoder()
    sizes = [parameters_in(remove_blocks(model, range(count))) for count in range(4)]
    assert len({before - after for before, after in pairwise(sizes)}) == 1
    assert torch.equal(remove_blocks(model, [])(tokens_of()), model(tokens_of()))


def test_equal_scores_go_in_order():
    assert least_influential(torch.tensor([0.3, 0.1, 0.1, 0.2]), 3) == [1, 2, 3]
    assert least_influential(torch.zeros(4), 2) == [0, 1]


@pytest.mark.parametrize("removed", [[5], [-1], [0, 1, 2, 3, 4]], ids=str)
def test_what_cannot_be_removed_is_refused(removed):
    with pytest.raises(ValueError, match="can be removed"):
        remove_blocks(deep_decoder(), removed)
    with pytest.raises(ValueError, match="removed must not"):
        Config(-1)

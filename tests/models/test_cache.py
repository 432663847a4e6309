import pytest
import torch

from reference_impls.models.cache import Cache, ContiguousCache
from tests.models.conftest import SMALL, lively, some_tokens


def test_crop_goes_back_to_the_shorter_text():
    model, tokens, other = lively(), some_tokens(1, 20), some_tokens(1, 6, seed=9)
    cache = model.new_cache()
    model(tokens, cache)
    cache.crop(14)
    assert cache.length == 14
    after = model(other, cache)
    whole = model(torch.cat([tokens[:, :14], other], 1))
    assert torch.allclose(after, whole[:, 14:], atol=1e-11)


def test_crop_repairs_a_pass_that_was_cut_short():
    model, tokens = lively(), some_tokens(1, 10)
    cache = model.new_cache()
    model(tokens[:, :6], cache)
    keys = torch.full((1, SMALL.kv_heads, 1, SMALL.head_dim), 7.0, dtype=torch.float64)
    cache.append(0, keys, keys)  # the first layer only
    assert cache.length == 6
    cache.crop(6)
    assert torch.allclose(model(tokens[:, 6:], cache), model(tokens)[:, 6:], atol=1e-11)


@pytest.mark.parametrize("length", [-1, 5])
def test_crop_refuses_what_is_not_held(length):
    cache = lively().new_cache()
    lively()(some_tokens(1, 4), cache)
    with pytest.raises(ValueError, match="0 to 4"):
        cache.crop(length)


def test_append_refuses_more_than_its_capacity():
    model = lively()
    with pytest.raises(ValueError, match="holds 4 tokens, 5"):
        model(some_tokens(1, 5), model.new_cache(capacity=4))


def test_append_returns_views_of_its_memory():
    cache = ContiguousCache(layers=2, batch=1, kv_heads=1, capacity=8, head_dim=2)
    keys, values = torch.ones(1, 1, 3, 2), torch.zeros(1, 1, 3, 2)
    held_keys, held_values = cache.append(1, keys, values)
    assert torch.equal(held_keys, keys)
    assert torch.equal(held_values, values)
    assert held_keys.data_ptr() == cache.storage[1, 0].data_ptr()
    assert cache.length == 0  # layer 0 holds nothing yet


def test_the_decoder_needs_no_more_than_the_protocol():
    """A cache made of nothing but the three members gives the same logits."""

    class Lists:
        def __init__(self) -> None:
            self.held: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        @property
        def length(self) -> int:
            return self.held[SMALL.layers - 1][0].shape[2] if self.held else 0

        def append(self, layer, keys, values):
            if layer in self.held:
                old = self.held[layer]
                keys, values = torch.cat([old[0], keys], 2), torch.cat([old[1], values], 2)
            self.held[layer] = keys, values
            return keys, values

        def crop(self, length: int) -> None:
            self.held = {layer: (k[:, :, :length], v[:, :, :length]) for layer, (k, v) in self.held.items()}

    model, tokens = lively(), some_tokens(1, 12)
    cache: Cache = Lists()
    model(tokens[:, :9], cache)
    cache.crop(7)
    assert torch.allclose(model(tokens[:, 7:], cache), model(tokens)[:, 7:], atol=1e-11)

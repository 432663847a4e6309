"""Pooled heads by hand, and models whose heads are alike lose nothing."""

import pytest
import torch

from reference_impls.attention.gqa import Config, cache_numbers, convert, pool, spread
from tests.models.conftest import SMALL, lively, some_tokens

MODEL, TOKENS = lively(), some_tokens(2, 14)


def test_the_mean_of_heads_by_hand():
    weight = torch.tensor(
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [0.0, 0.0], [2.0, 2.0], [4.0, 0.0], [0.0, 6.0]]
    )
    assert pool(weight, 4, Config(2)).tolist() == [[3.0, 4.0], [5.0, 6.0], [2.0, 0.0], [1.0, 4.0]]
    assert pool(weight, 4, Config(2, "first")).tolist() == weight[[0, 1, 4, 5]].tolist()


def test_as_many_groups_as_heads_changes_nothing():
    same = convert(MODEL, Config(SMALL.kv_heads))
    assert torch.equal(same(TOKENS), MODEL(TOKENS))
    wide = spread(MODEL)
    assert wide.config.kv_heads == SMALL.heads
    assert torch.allclose(wide(TOKENS), MODEL(TOKENS), atol=1e-10)


@pytest.mark.parametrize("how", ["mean", "first"])
def test_heads_that_are_alike_are_pooled_without_loss(how):
    back = convert(spread(MODEL), Config(SMALL.kv_heads, how))
    assert torch.allclose(back(TOKENS), MODEL(TOKENS), atol=1e-10)


def test_fewer_heads_keep_the_queries_and_shrink_the_cache():
    single = convert(MODEL, Config(1))
    assert single.new_cache(2, 10).storage.nbytes * 2 == MODEL.new_cache(2, 10).storage.nbytes
    assert not torch.allclose(single(TOKENS), MODEL(TOKENS), atol=1e-2)
    cache = single.new_cache(2)
    parts = torch.cat([single(TOKENS[:, :9], cache), single(TOKENS[:, 9:], cache)], 1)
    assert torch.allclose(parts, single(TOKENS), atol=1e-10)
    assert cache_numbers(SMALL.kv_heads, SMALL.head_dim) == 2 * cache_numbers(1, SMALL.head_dim)
    assert MODEL.config.kv_heads == SMALL.kv_heads  # the model that was given stays as it is


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="must divide the model's 6, got 4"):
        convert(spread(MODEL), Config(4))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Config(0)

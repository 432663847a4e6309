"""Reading a prompt once and filling caches from it is the same as reading it with each cache."""

import pytest
import torch

from reference_impls.kv_cache import evict, h2o, kivi, snapkv, streaming_llm
from reference_impls.kv_cache.evaluate import Retrieval, fill, losses_behind, read_prompt, recalled
from reference_impls.models.perplexity import token_losses
from tests.kv_cache.models import MODEL, MORE, PROMPT, shape

TEXT = torch.cat([PROMPT[:1], MORE[:1]], 1)[0]


@pytest.mark.parametrize(
    "method, config",
    [(h2o, h2o.Config(16)), (snapkv, snapkv.Config(16, 8)), (streaming_llm, streaming_llm.Config(16))],
    ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2],
)
def test_a_filled_cache_is_one_that_read_the_prompt(method, config):
    own, filled = (evict.new_cache(shape(1), method, config) for _ in range(2))
    with evict.observing(MODEL, own):
        MODEL(TEXT[None, :40], own)
    fill(filled, read_prompt(MODEL, shape(1), TEXT[None, :40]))
    for left, right in zip(own.layers, filled.layers, strict=True):
        assert torch.equal(left.keys, right.keys)
        if own.watches:
            assert torch.allclose(left.accumulated, right.accumulated)
    assert torch.allclose(*(losses_behind(MODEL, one, TEXT[40:], 1) for one in (own, filled)))


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_losses_of_a_full_cache_are_those_of_one_pass(chunk):
    cache = kivi.new_cache(shape(1))
    fill(cache, read_prompt(MODEL, shape(1), TEXT[None, :40]))
    whole = token_losses(MODEL(TEXT[None, :-1])[0, 40:], TEXT[41:])
    assert torch.allclose(losses_behind(MODEL, cache, TEXT[40:], chunk), whole, atol=1e-8)


def test_recall_is_the_share_of_tokens_given():
    best = MODEL(TEXT[None, :41])[0, -1].argmax()
    right, wrong = best[None], (best[None] + 1) % 97
    for answer, expected in ((right, 1.0), (wrong, 0.0), (torch.cat([wrong, wrong]), None)):
        cache = kivi.new_cache(shape(1))
        fill(cache, read_prompt(MODEL, shape(1), TEXT[None, :40]))
        found = recalled(MODEL, cache, Retrieval(TEXT[:40], TEXT[40:41], answer))
        assert found in (0.0, 0.5) if expected is None else found == expected

"""The rules by hand, the machinery against attention over the kept tokens, and what cannot be undone."""

from dataclasses import replace

import pytest
import torch

from reference_impls.kv_cache import CacheShape, CacheView, evict, h2o, random_eviction, shape_of, snapkv, streaming_llm
from reference_impls.kv_cache.evict import attention_shares
from reference_impls.models.attend import causal_mask
from tests.kv_cache.models import MODEL, MORE, PROMPT, expected, run, shape
from tests.models.conftest import lively, seeded


def view(scores, attention=None):
    """A cache view of one row and head. scores, attention: lists"""
    accumulated = torch.tensor(scores, dtype=torch.float32)[None, None]
    keys = torch.zeros(1, 1, accumulated.shape[-1], 2)
    shares = None if attention is None else torch.tensor(attention)[None, None]
    return CacheView(keys, keys, shares, accumulated)


def test_h2o_keeps_the_heaviest_and_the_newest():
    keep = h2o.keep_indices(view([5.0, 0.1, 3.0, 0.2, 4.0, 0.0, 0.3]), h2o.Config(budget=4))
    assert keep.flatten().tolist() == [0, 4, 5, 6]


def test_h2o_equals_its_algorithm_token_by_token():
    """Algorithm 1 with a set and a running sum, on the weights of one head."""
    keys, queries = (torch.randn(1, 1, 24, 8, generator=seeded(seed)) for seed in (1, 2))
    budget, recent = 8, 4
    kept, sums = [], {}
    cache = evict.new_cache(one_head(), h2o, h2o.Config(budget, recent / budget))
    for step in range(24):
        kept.append(step)
        sums[step] = 0.0
        weights = attention_shares(queries[:, :, step : step + 1], keys[:, :, kept])[0, 0, 0]
        for token, weight in zip(kept, weights.tolist(), strict=True):
            sums[token] += weight
        if len(kept) > budget:
            kept.remove(min(kept[:-recent], key=sums.__getitem__))
        new = keys[:, :, step : step + 1]
        shown, _ = cache.append(0, new, new)
        cache.observe(0, attention_shares(queries[:, :, step : step + 1], shown))
        assert torch.equal(cache.layers[0].keys, keys[:, :, kept])
    assert cache.length == 24


def one_head():
    return CacheShape(layers=1, batch=1, kv_heads=1, head_dim=8, capacity=64)


def test_snapkv_counts_the_votes_of_the_window_and_pools_them():
    votes = [[0.0, 0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0]]
    seen = view([0.0] * 10, votes)
    assert snapkv.keep_indices(seen, snapkv.Config(5, 2, 3)).flatten().tolist() == [1, 2, 3, 8, 9]
    assert snapkv.keep_indices(seen, snapkv.Config(4, 2, 1)).flatten().tolist() == [2, 7, 8, 9]


def test_snapkv_cuts_the_prompt_once_and_keeps_what_follows():
    cache = evict.new_cache(shape(), snapkv, snapkv.Config(budget=20, observation_window=8))
    with evict.observing(MODEL, cache):
        run(cache)
    assert (cache.held, cache.length) == (20 + 30, 70)


def test_the_window_without_sinks_is_the_newest_tokens():
    keep = streaming_llm.keep_indices(view([0.0] * 9), streaming_llm.Config(4, 0))
    assert keep.flatten().tolist() == [5, 6, 7, 8]
    keep = streaming_llm.keep_indices(view([0.0] * 9), streaming_llm.Config(4, 2))
    assert keep.flatten().tolist() == [0, 1, 7, 8]


def test_streaming_reads_sinks_and_window_at_positions_of_the_cache():
    """One layer deep, the kept tokens alone are what the next token sees: the model over that text gives the same."""
    shallow = lively(replace(MODEL.config, layers=1))
    tokens = torch.cat([PROMPT, MORE], 1)
    cache = evict.new_cache(shape_of(shallow, 2, 128), streaming_llm, streaming_llm.Config(12, 3))
    for end in range(1, 71):
        logits = shallow(tokens[:, end - 1 : end], cache)
        kept = tokens[:, :end] if end <= 13 else torch.cat([tokens[:, :3], tokens[:, end - 10 : end]], 1)
        assert torch.allclose(logits[:, -1], shallow(kept)[:, -1], atol=1e-5)  # angles are float32
    assert cache.length == 12


def test_a_stream_may_be_longer_than_the_models_positions():
    cache = evict.new_cache(shape(), streaming_llm, streaming_llm.Config(32))
    for seed in range(30):
        logits = MODEL(torch.randint(97, (2, 20), generator=seeded(seed)), cache)
    assert MODEL.config.max_positions < 600
    assert torch.isfinite(logits).all()


def test_random_eviction_draws_every_old_token_equally_often():
    seen = view([0.0] * 12)
    counts = torch.zeros(12)
    for seed in range(600):
        counts[random_eviction.keep_indices(seen, random_eviction.Config(6, 2, seed)).flatten()] += 1
    assert counts[-2:].tolist() == [600, 600]
    assert (counts[:-2] - 240).abs().max() < 5 * (600 * 0.4 * 0.6) ** 0.5  # five standard deviations


def test_attention_shares_are_those_of_repeated_heads():
    queries, keys = torch.randn(2, 6, 4, 8, generator=seeded(1)), torch.randn(2, 3, 10, 8, generator=seeded(2))
    scores = queries @ keys.repeat_interleave(2, 1).transpose(2, 3) / 8**0.5
    weights = scores.masked_fill(~causal_mask(4, 10), float("-inf")).softmax(-1)
    assert torch.allclose(attention_shares(queries, keys), weights.view(2, 3, 2, 4, 10).mean(2), atol=1e-6)


def test_h2o_beats_nothing_by_accident():
    """The kept tokens hold more of the attention than as many random ones."""
    cache = evict.new_cache(shape(), h2o, h2o.IDENTITY)
    with evict.observing(MODEL, cache):
        MODEL(PROMPT, cache)
    for at in cache.layers:
        seen = CacheView(at.keys, at.values, at.attention, at.accumulated)
        held = at.accumulated.gather(-1, h2o.keep_indices(seen, h2o.Config(10, 0.1)))
        chance = at.accumulated.gather(-1, random_eviction.keep_indices(seen, random_eviction.Config(10)))
        assert (held.sum(-1) >= chance.sum(-1)).all()


def test_what_was_evicted_cannot_be_cropped_back():
    cache = evict.new_cache(shape(), streaming_llm, streaming_llm.Config(64))
    MODEL(PROMPT, cache)
    cache.crop(30)
    assert torch.allclose(MODEL(PROMPT[:, 30:], cache), expected()[:, 30:40], atol=1e-10)
    cache = evict.new_cache(shape(), random_eviction, random_eviction.Config(16))
    MODEL(PROMPT, cache)
    with pytest.raises(ValueError, match="cannot be brought back"):
        cache.crop(39)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match=r"observing"):
        h2o.keep_indices(CacheView(PROMPT, PROMPT), h2o.Config())
    with pytest.raises(ValueError, match=r"observing"):
        snapkv.keep_indices(CacheView(PROMPT, PROMPT), snapkv.Config())
    cache = evict.new_cache(shape(), h2o, h2o.Config())
    with evict.observing(MODEL, cache), pytest.raises(ValueError, match="no mask"):
        MODEL(PROMPT, cache, mask=causal_mask(40, 40))
    for wrong in (lambda: streaming_llm.Config(4, 4), lambda: h2o.Config(0), lambda: snapkv.Config(8, 9)):
        with pytest.raises(ValueError, match="must be"):
            wrong()
    with pytest.raises(ValueError, match="cuts once"):
        evict.EvictingCache(shape(), h2o, h2o.Config(), MODEL.new_cache(2))

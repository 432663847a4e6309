"""Pairs that are made equal their parts where one is at its identity; the others are refused with a reason."""

from itertools import combinations_with_replacement

import pytest
import torch

from reference_impls.kv_cache import caches, evict, evictions, kivi, offload, paged, snapkv
from reference_impls.kv_cache.blocks import OutOfBlocksError
from reference_impls.kv_cache.compose import MADE, REFUSED, RefusedError, compose, kind
from reference_impls.kv_cache.paged import PagedPool
from reference_impls.kv_cache.prefix import PrefixTree
from tests.kv_cache.models import MODEL, MORE, PROMPT, expected, run, shape

CODES = kivi.Config(4, 16, 8)
BLOCKS = paged.Config(16, 64)
NAMES = sorted([*caches(), *evictions(), "prefix"])


def alone():
    return run(kivi.new_cache(shape(), CODES))


def test_offloaded_codes_are_the_codes_and_less_moves():
    plain = offload.new_cache(shape(), offload.Config(group_size=16, recent_tokens=8))
    both = compose(shape(), ("kivi", CODES), ("offload", offload.Config()))
    assert torch.equal(run(both), alone())
    run(plain)
    ratio = both.place.log.bytes_out / plain.place.log.bytes_out
    assert ratio == CODES.bits_per_number / 64  # the model's own numbers have 64 bits


def test_paged_codes_are_the_codes_and_return_their_blocks():
    both = compose(shape(), ("paged", BLOCKS), ("kivi", CODES))
    assert torch.equal(run(both), alone())
    free = both.place.manager.free_blocks()
    assert free == 64 - 3 * 2 * 3  # layers, rows, groups of 16 among 70 - 8 tokens
    assert both.nbytes == kivi_bytes()
    both.crop(17)
    assert both.place.manager.free_blocks() == 64 - 3 * 2
    both.crop(0)
    assert both.place.manager.free_blocks() == 64


def kivi_bytes():
    cache = kivi.new_cache(shape(), CODES)
    run(cache)
    return cache.nbytes


def test_a_full_pool_is_a_clean_error():
    both = compose(shape(), ("paged", paged.Config(16, 13)), ("kivi", CODES))
    MODEL(PROMPT, both)  # 2 groups a row and layer: 12 blocks
    with pytest.raises(OutOfBlocksError):
        MODEL(MORE, both)
    both.crop(16)
    assert both.length == 16


def test_snapkv_then_codes_equals_each_where_the_other_is_at_its_identity():
    cut = snapkv.Config(budget=24, observation_window=8)
    for first, second, reference in (
        (snapkv.IDENTITY, CODES, alone),
        (cut, kivi.IDENTITY, lambda: watched(evict.new_cache(shape(), snapkv, cut))),
        (snapkv.IDENTITY, kivi.IDENTITY, expected),
    ):
        both = compose(shape(), ("snapkv", first), ("kivi", second))
        assert torch.allclose(watched(both), reference(), atol=1e-10)
    both = compose(shape(), ("snapkv", cut), ("kivi", CODES))
    watched(both)
    assert (both.length, both.held) == (70, 54)
    assert both.nbytes < 54 / 70 * kivi_bytes() * 1.3


def watched(cache):
    with evict.observing(MODEL, cache):
        return run(cache)


@pytest.mark.parametrize("pair", [*combinations_with_replacement(NAMES, 2)], ids="-".join)
def test_every_pair_is_made_or_refused_with_its_own_reason(pair):
    if pair in {("kivi", "offload"), ("kivi", "paged"), ("kivi", "snapkv")}:
        return
    with pytest.raises(RefusedError) as refusal:
        compose(shape(), *((name, None) for name in pair))
    kinds = tuple(sorted(map(kind, pair)))
    names, _, reason = str(refusal.value).partition(": ")
    assert sorted(names.split(" with ")) == sorted(pair)
    assert reason == REFUSED[kinds]


def test_reasons_are_of_their_pair_and_say_enough():
    assert len({*REFUSED.values()}) == len(REFUSED)
    for pair, reason in REFUSED.items():
        assert len(reason.split()) >= 8, pair
        assert "nobody has said" not in reason
    kinds = sorted({kind(name) for name in NAMES})
    assert {*MADE, *REFUSED} == {*combinations_with_replacement(kinds, 2)}
    with pytest.raises(ValueError, match="no technique of this family"):
        compose(shape(), ("kivi", CODES), ("pagged", BLOCKS))


def test_a_shared_prefix_in_pages_is_made_as_its_refusal_says():
    assert "prefix.PrefixTree(pool.manager)" in REFUSED["paged", "prefix"]
    pool = PagedPool(shape(), BLOCKS)
    tree = PrefixTree(pool.manager)
    first = pool.new_sequence()
    MODEL(PROMPT[:1], pool.batch([first]))
    tree.keep(PROMPT[0].tolist(), first)
    request = torch.cat([PROMPT[:1], MORE[:1]], 1)
    second = tree.start(request[0].tolist())
    assert second.length == 32
    assert torch.allclose(MODEL(request[:, 32:], pool.batch([second])), expected()[:1, 32:], atol=1e-10)


def test_the_tables_are_sorted_and_apart():
    assert all(pair == tuple(sorted(pair)) for pair in (*MADE, *REFUSED))
    assert not set(MADE) & set(REFUSED)
    assert kind("h2o") == "eviction"
    with pytest.raises(RefusedError, match="a block must be a group"):
        compose(shape(), ("kivi", CODES), ("paged", paged.Config(8, 64)))

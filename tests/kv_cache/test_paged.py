"""Paged sequences give what each would give alone in a contiguous cache, whatever happens to their blocks."""

import mmap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_impls.kv_cache.blocks import Config, OutOfBlocksError
from reference_impls.kv_cache.paged import PagedPool, new_cache
from reference_impls.kv_cache.shape import shape_of
from reference_impls.models.generate import generate, pad_left
from tests.models.conftest import SMALL, lively, seeded, some_tokens

STATM = Path("/proc/self/statm")
TOLERANCE = 1e-10  # float64, other matrix shapes
MODEL = lively()


def pool_of(blocks=24, tokens_per_block=4, host=0):
    return PagedPool(shape_of(MODEL), Config(tokens_per_block, blocks, host))


def prefill(pool, tokens):
    """A sequence that holds the tokens."""
    sequence = pool.new_sequence()
    MODEL(tokens[None], pool.batch([sequence]))
    return sequence


def last_logits(tokens):
    return MODEL(tokens[None])[0, -1]


def held_bytes():
    """Of this process."""
    return int(STATM.read_text().split()[1]) * mmap.PAGESIZE


def close(got, expected):
    return torch.allclose(got, expected, atol=TOLERANCE)


@pytest.mark.parametrize("tokens_per_block", [1, 3, 16])
def test_generation_equals_the_contiguous_caches(tokens_per_block):
    tokens = some_tokens(2, 9)
    expected = generate(MODEL, tokens, 12)
    cache = new_cache(shape_of(MODEL, 2, 21), Config(tokens_per_block))
    assert torch.equal(generate(MODEL, tokens, 12, cache=cache), expected)
    padded, valid = pad_left([tokens[0], tokens[1, :4]])
    cache = new_cache(shape_of(MODEL, 2, 21), Config(tokens_per_block))
    assert torch.equal(generate(MODEL, padded, 12, valid=valid, cache=cache), generate(MODEL, padded, 12, valid=valid))


def test_rows_of_different_lengths_decode_together():
    pool, texts = pool_of(), [some_tokens(length, seed=length) for length in (11, 3, 8)]
    sequences = [prefill(pool, text) for text in texts]
    for _ in range(6):
        cache = pool.batch(sequences)
        newest = torch.stack([last_logits(text).argmax() for text in texts])
        texts = [torch.cat([text, new[None]]) for text, new in zip(texts, newest, strict=True)]
        logits = MODEL(newest[:, None], cache, *cache.inputs(1))
        for row, text in enumerate(texts):
            assert close(logits[row, -1], last_logits(text))
    assert [one.length for one in sequences] == [17, 9, 14]
    assert cache.length == 9


def test_one_batch_serves_many_steps():
    pool, texts = pool_of(), [some_tokens(length, seed=length) for length in (5, 2)]
    cache = pool.batch([prefill(pool, text) for text in texts])
    for step in range(5):
        newest = some_tokens(2, 2, seed=step)
        logits = MODEL(newest, cache, *cache.inputs(2))
        texts = [torch.cat([text, new]) for text, new in zip(texts, newest, strict=True)]
    assert all(close(logits[row, -1], last_logits(text)) for row, text in enumerate(texts))


def test_prefill_and_decode_share_a_pass():
    pool, old, fresh = pool_of(), some_tokens(7), some_tokens(5, seed=8)
    running, starting = prefill(pool, old[:6]), pool.new_sequence()
    cache = pool.batch([running, starting], new_tokens=[1, 5])
    tokens = torch.stack([torch.cat([torch.zeros(4, dtype=torch.long), old[6:]]), fresh])
    logits = MODEL(tokens, cache, *cache.inputs(5))
    assert close(logits[0, -1], last_logits(old))
    assert close(logits[1], MODEL(fresh[None])[0])
    assert [running.length, starting.length] == [7, 5]


def test_a_fork_shares_until_it_writes():
    pool, text = pool_of(), some_tokens(10)
    first = prefill(pool, text)
    used = 24 - pool.manager.free_blocks()
    second = pool.fork(first)
    assert 24 - pool.manager.free_blocks() == used == 3
    branches = [some_tokens(3, seed=seed) for seed in (5, 6)]
    cache = pool.batch([first, second])
    logits = MODEL(torch.stack(branches), cache)
    for row, branch in enumerate(branches):
        assert close(logits[row, -1], last_logits(torch.cat([text, branch])))
    assert first.blocks[:2] == second.blocks[:2]
    assert 24 - pool.manager.free_blocks() == 2 + 2 * 2


def test_swapping_out_and_in_changes_no_token_and_counts_its_bytes():
    pool, text = pool_of(host=8), some_tokens(10)
    sequence = prefill(pool, text)
    others = [prefill(pool, some_tokens(4, seed=seed)) for seed in range(2)]
    moved = pool.swap_out(sequence)
    assert moved == 3 * pool.bytes_per_block == 3 * 4 * shape_of(MODEL).bytes_per_token
    others += [prefill(pool, some_tokens(9, seed=seed)) for seed in range(3)]  # they take its blocks
    assert pool.swap_in(sequence) == moved
    new = some_tokens(1, seed=9)
    assert close(MODEL(new[None], pool.batch([sequence]))[0, -1], last_logits(torch.cat([text, new])))
    assert pool.manager.free_blocks("host") == 8


def test_a_pass_that_does_not_fit_leaves_everything_and_can_be_tried_again():
    pool, text = pool_of(blocks=4), some_tokens(9)
    sequence, other = prefill(pool, text), prefill(pool, some_tokens(2))
    with pytest.raises(OutOfBlocksError):
        MODEL(some_tokens(1, 5), pool.batch([sequence]))
    assert sequence.length == 9
    pool.free(other)  # cancelled
    new = some_tokens(5, seed=4)
    assert close(MODEL(new[None], pool.batch([sequence]))[0, -1], last_logits(torch.cat([text, new])))
    pool.free(sequence)
    assert pool.manager.free_blocks() == 4


def test_crop_and_move_do_what_the_contiguous_cache_does():
    tokens = some_tokens(2, 12)
    paged, plain = new_cache(shape_of(MODEL, 2, 40), Config(4)), MODEL.new_cache(2)
    sources, targets = torch.tensor([[9, 11], [8, 10]]), torch.tensor([[7, 8], [6, 9]])
    for cache in (paged, plain):
        MODEL(tokens, cache)
        cache.move(sources, targets)
        cache.crop(9)
    assert paged.length == plain.length == 9
    again = some_tokens(2, 3, seed=5)
    assert close(MODEL(again, paged), MODEL(again, plain))


def test_crop_repairs_a_pass_that_was_cut_short():
    pool, text = pool_of(), some_tokens(8)
    sequence = prefill(pool, text)
    cache = pool.batch([sequence])
    keys = torch.full((1, SMALL.kv_heads, 3, SMALL.head_dim), 7.0, dtype=torch.float64)
    for _ in range(2):  # an early layer may run ahead, as drafting with the first layers does
        cache.append(0, keys, keys)
    assert cache.length == 8
    cache.crop(8)
    assert len(sequence.blocks) == 2
    new = some_tokens(4, seed=6)
    assert close(MODEL(new[None], cache)[0, -1], last_logits(torch.cat([text, new])))


def test_waste_is_below_one_block_a_sequence():
    pool = pool_of(blocks=60, tokens_per_block=8)
    lengths = torch.randint(1, 40, (12,), generator=seeded()).tolist()
    sequences = [prefill(pool, some_tokens(length)) for length in lengths]
    slots = sum(len(one.blocks) * 8 for one in sequences)
    assert sum(lengths) <= slots <= sum(lengths) + 7 * len(sequences)


@pytest.mark.skipif(not STATM.exists(), reason="the system does not say what a process holds")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pool_on_a_cpu_takes_memory_only_as_it_is_written(dtype):
    block = replace(shape_of(MODEL), dtype=dtype)
    before, bytes_per_block = held_bytes(), PagedPool(block, Config(64, 1)).bytes_per_block
    pool = PagedPool(block, Config(64, 2**30 // bytes_per_block, 2**30 // bytes_per_block))
    assert held_bytes() - before < 2**28
    assert pool.storage.is_contiguous()
    assert pool.storage.data_ptr() % 64 == 0
    assert pool.storage[:: len(pool.storage) // 9].count_nonzero() == 0


def test_misuse_is_refused():
    pool = pool_of()
    sequence = prefill(pool, some_tokens(5))
    with pytest.raises(ValueError, match="one number for each of 1 rows, got 2"):
        pool.batch([sequence], [1, 2])
    with pytest.raises(ValueError, match="0 to 5"):
        pool.batch([sequence]).crop(6)
    with pytest.raises(ValueError, match="1 to the 3 columns"):
        pool.batch([sequence], [2]).inputs(3)

"""The tree against a dictionary of all prefixes, and hits against recomputation."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kv_cache.blocks import BlockManager, Config
from reference_impls.kv_cache.paged import PagedPool
from reference_impls.kv_cache.prefix import PrefixTree
from reference_impls.kv_cache.shape import shape_of
from tests.models.conftest import lively, some_tokens

WIDE = 2
texts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=11), min_size=1, max_size=12)


def hold(manager, tree, text):
    """Start, fill and keep a sequence, as an engine does. -> it and how much of it was found"""
    sequence = tree.start(text)
    hit = sequence.length
    manager.reserve([(sequence, hit, len(text))])
    sequence.length = len(text)
    tree.keep(text, sequence)
    return sequence, hit


@given(texts)
def test_the_longest_known_prefix_is_found_and_its_blocks_hold_it(found):
    manager = BlockManager(Config(WIDE, 200))
    tree, known, content = PrefixTree(manager), set(), {}
    for text in found:
        sequence, hit = hold(manager, tree, text)
        longest = max((n for n in range(0, len(text), WIDE) if n == 0 or tuple(text[:n]) in known), default=0)
        assert hit == longest
        kept = [block for node, count in tree._walk(tree._runs(text)) for block in node.blocks[:count]]
        assert kept[: hit // WIDE] == sequence.blocks[: hit // WIDE]
        for place, block in enumerate(kept):
            prefix = tuple(text[: (place + 1) * WIDE])
            assert content.setdefault(block, prefix) == prefix  # a block never comes to stand for another text
        known |= {tuple(text[:n]) for n in range(WIDE, len(text) + 1, WIDE)}
        manager.free(sequence)
    assert len(tree.blocks) == len(set(tree.blocks)) == len(known) == 200 - manager.free_blocks()


@given(texts, st.integers(0, 40))
def test_eviction_frees_what_nobody_uses_and_nothing_else(found, count):
    manager = BlockManager(Config(WIDE, 200))
    tree = PrefixTree(manager)
    sequences = [hold(manager, tree, text)[0] for text in found]
    for sequence in sequences[1:]:
        manager.free(sequence)
    running = [*sequences[0].blocks]
    idle = len(set(tree.blocks) - set(running))
    free = manager.free_blocks()
    assert tree.evict(count) == min(count, idle) == manager.free_blocks() - free
    assert all(manager.references(block) >= 1 for block in running)
    manager.free(sequences[0])
    tree.evict(1000)
    assert (tree.blocks, manager.free_blocks()) == ([], 200)


def test_the_least_recently_used_leaves_first():
    manager = BlockManager(Config(WIDE, 3))
    tree = PrefixTree(manager)
    for text in ([1, 1], [2, 2], [3, 3]):
        manager.free(hold(manager, tree, text)[0])
    manager.free(tree.start([1, 1, 0]))  # used again
    manager.free(hold(manager, tree, [4, 4])[0])  # needs a block
    assert {tuple(run) for run in tree.root.children} == {(1, 1), (3, 3), (4, 4)}


def test_a_hit_gives_the_logits_of_recomputation():
    model = lively()
    pool = PagedPool(shape_of(model), Config(4, 30))
    tree = PrefixTree(pool.manager)
    system = some_tokens(13)
    for seed in range(4):
        text = torch.cat([system, some_tokens(6, seed=seed)])
        sequence = tree.start(text.tolist())
        assert sequence.length == (12 if seed else 0)
        logits = model(text[None, sequence.length :], pool.batch([sequence]))
        assert torch.allclose(logits[0, -1], model(text[None])[0, -1], atol=1e-10)
        tree.keep(text.tolist(), sequence)
        pool.free(sequence)
    assert tree.hit_tokens == 3 * 12
    again = tree.start(text.tolist())
    assert again.length == 16  # of 19: one token at least is left to compute

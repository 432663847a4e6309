"""Blocks stay aligned and disjoint whatever happens; what fits in number is never refused when jobs may move."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cluster.buddy import Block, Buddy, Config

SIZES = (1, 2, 4, 8, 16, 32)


def check(buddy):
    """Aligned, disjoint, and the books agree."""
    seen = [0] * buddy.config.nodes
    for owner, blocks in buddy.owned.items():
        for block in blocks:
            assert block.size & (block.size - 1) == 0
            assert block.offset % block.size == 0
            assert block.offset + block.size <= buddy.config.gpus_per_node
            assert not seen[block.node] & block.mask
            seen[block.node] |= block.mask
            assert owner in buddy.at[block.node]
    assert seen == buddy.used
    assert sum(len(owners) for owners in buddy.at) == sum(len({b.node for b in o}) for o in buddy.owned.values())


def walk(seed, steps, nodes=4, per_node=8, migrate=True, pack=True):
    """Random requests and ends. -> how many requests were refused although they would fit in number"""
    rng = random.Random(seed)
    buddy = Buddy(Config(nodes, per_node, pack))
    sizes, refused = {}, 0
    for number in range(steps):
        if sizes and rng.random() < 0.45:
            owner = rng.choice(sorted(sizes))
            buddy.free(owner)
            del sizes[owner]
        else:
            gpus = rng.choice([size for size in SIZES if size <= nodes * per_node])
            fits = gpus <= buddy.free_gpus
            got = buddy.allocate(number, gpus)
            if not got and migrate:
                moved = buddy.make_room(gpus)
                assert (moved is None) == (not fits)
                if moved is not None:
                    assert len(set(moved)) == len(moved)
                    assert buddy.allocate(number, gpus)
                    got = True
            refused += fits and not got
            if got:
                sizes[number] = gpus
        if rng.random() < 0.05:
            before = buddy.nodes_on
            moved = buddy.compact()
            assert buddy.nodes_on == before - bool(moved)
        check(buddy)
        assert {owner: sum(b.size for b in blocks) for owner, blocks in buddy.owned.items()} == sizes
    return refused


def test_with_moves_nothing_that_fits_is_refused():
    """400 sequences of 30 operations: 12,000 operations."""
    assert sum(walk(seed, 30) for seed in range(400)) == 0


def test_ten_thousand_short_sequences():
    assert sum(walk(seed, 6, nodes=2, per_node=4) for seed in range(10_000)) == 0


def test_without_moves_gaps_refuse_what_would_fit():
    """Negative control: it is the moves that do it."""
    assert sum(walk(seed, 30, migrate=False) for seed in range(40)) > 0


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 5), st.booleans())
def test_any_shape(seed, per_node, nodes, pack):
    assert walk(seed, 25, nodes, per_node, pack=pack) == 0


def test_packing_takes_the_smallest_gap_and_spreading_the_emptiest_node():
    packed, spread = (Buddy(Config(2, 8, pack)) for pack in (True, False))
    for buddy in (packed, spread):
        buddy.allocate(0, 4)
        buddy.allocate(1, 2)
    assert packed.owned[1][0].node == packed.owned[0][0].node == 0
    assert spread.owned[1][0].node != spread.owned[0][0].node
    packed.allocate(2, 1)
    packed.allocate(3, 1)
    assert packed.owned[3] == (Block(0, 7, 1),)  # beside the one, not in a fresh node


def test_a_block_by_hand():
    """1 GPU on each half of two nodes: a request for 8 moves one job."""
    buddy = Buddy(Config(2, 8, pack=False))
    for owner in (0, 1):
        buddy.allocate(owner, 1)
    assert not buddy.allocate(2, 8)
    assert len(buddy.make_room(8)) == 1
    assert buddy.allocate(2, 8)
    assert buddy.make_room(8) is None


@pytest.mark.parametrize("fields", [{"nodes": 0}, {"gpus_per_node": 6}])
def test_bad_shapes_are_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        Config(**fields)

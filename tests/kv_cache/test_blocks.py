"""The allocator against a model of sets and counts, in random series of operations."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reference_impls.kv_cache.blocks import BlockManager, Config, OutOfBlocksError

CONFIG = Config(tokens_per_block=4, device_blocks=12, host_blocks=6)


class Allocator(RuleBasedStateMachine):
    """Sequences come, grow, fork, shrink, swap and go; after every step the books must balance."""

    def __init__(self):
        super().__init__()
        self.manager, self.sequences = BlockManager(CONFIG), []

    def on(self, place):
        return [one for one in self.sequences if one.place == place]

    def pick(self, data, place):
        return data.draw(st.sampled_from(self.on(place)))

    def books(self):
        tables = [(one.place, [*one.blocks], one.length) for one in self.sequences]
        return tables, self.manager.free_blocks(), self.manager.free_blocks("host")

    def attempt(self, act):
        """Do it; where it fails, nothing may have changed."""
        before = self.books()
        try:
            return act()
        except OutOfBlocksError as error:
            assert error.needed > error.free
            assert self.books() == before
            return None

    @rule()
    def start(self):
        self.sequences.append(self.manager.new_sequence())

    @precondition(lambda self: self.on("device"))
    @rule(data=st.data(), more=st.integers(1, 9))
    def grow(self, data, more):
        one = self.pick(data, "device")
        end = one.length + more
        shared_before = [block for block in one.blocks if self.manager.references(block) > 1]
        copies = self.attempt(lambda: self.manager.reserve([(one, one.length, end)]))
        if copies is None:
            return
        assert {source for source, _ in copies} <= set(shared_before)
        written = one.blocks[one.length // 4 : -(-end // 4)]
        assert all(self.manager.references(block) == 1 for block in written)
        one.length = end

    @precondition(lambda self: self.on("device"))
    @rule(data=st.data())
    def fork(self, data):
        self.sequences.append(self.manager.fork(self.pick(data, "device")))

    @precondition(lambda self: self.on("device"))
    @rule(data=st.data())
    def shrink(self, data):
        one = self.pick(data, "device")
        self.manager.truncate(one, data.draw(st.integers(0, one.length)))
        assert len(one.blocks) == self.manager.blocks_for(one.length)

    @precondition(lambda self: self.on("device"))
    @rule(data=st.data())
    def out(self, data):
        one = self.pick(data, "device")
        self.attempt(lambda: self.manager.swap_out(one))

    @precondition(lambda self: self.on("host"))
    @rule(data=st.data())
    def back(self, data):
        one = self.pick(data, "host")
        self.attempt(lambda: self.manager.swap_in(one))

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def cancel(self, data):
        one = data.draw(st.sampled_from(self.sequences))
        self.sequences.remove(one)
        self.manager.free(one)

    @invariant()
    def books_balance(self):
        for tier, total in (("device", CONFIG.device_blocks), ("host", CONFIG.host_blocks)):
            held = Counter(block for one in self.on(tier) for block in one.blocks)
            assert all(self.manager.references(block, tier) == held[block] for block in range(total))
            assert self.manager.free_blocks(tier) == total - len(held)

    @invariant()
    def tables_hold_their_tokens(self):
        assert all(len(one.blocks) >= self.manager.blocks_for(one.length) for one in self.sequences)
        assert all(len(set(one.blocks)) == len(one.blocks) for one in self.sequences)

    def teardown(self):
        for one in self.sequences:
            self.manager.free(one)
        assert self.manager.free_blocks() == CONFIG.device_blocks
        assert self.manager.free_blocks("host") == CONFIG.host_blocks


Allocator.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_allocator = Allocator.TestCase


def test_the_last_of_two_forks_keeps_the_shared_block():
    manager = BlockManager(CONFIG)
    first = manager.new_sequence()
    manager.reserve([(first, 0, 6)])
    first.length = 6
    second = manager.fork(first)
    copies = manager.reserve([(first, 6, 7), (second, 6, 7)])
    assert len(copies) == 1  # one of the two copies its half-filled block, the full one stays shared
    assert first.blocks[0] == second.blocks[0]
    assert first.blocks[1] != second.blocks[1]


def test_a_batch_that_does_not_fit_takes_nothing():
    manager = BlockManager(Config(tokens_per_block=4, device_blocks=3))
    first, second = manager.new_sequence(), manager.new_sequence()
    with pytest.raises(OutOfBlocksError, match="4 device blocks are needed, 3 are free"):
        manager.reserve([(first, 0, 8), (second, 0, 8)])
    assert (first.blocks, second.blocks, manager.free_blocks()) == ([], [], 3)


def test_the_tree_is_asked_before_it_fails():
    manager = BlockManager(Config(tokens_per_block=4, device_blocks=2))
    held, wanting = manager.new_sequence(), manager.new_sequence()
    manager.reserve([(held, 0, 8)])
    asked = []

    def reclaim(count):
        asked.append(count)
        manager.free(held)
        return 2

    manager.reclaim = reclaim
    manager.reserve([(wanting, 0, 5)])
    assert asked == [2]
    assert len(wanting.blocks) == 2


def test_misuse_is_refused():
    manager = BlockManager(CONFIG)
    one = manager.new_sequence()
    manager.reserve([(one, 0, 4)])
    one.length = 4
    manager.swap_out(one)
    with pytest.raises(ValueError, match="one that is host"):
        manager.reserve([(one, 4, 5)])
    manager.free(one)
    for act in (manager.free, manager.fork, manager.swap_in):
        with pytest.raises(ValueError, match="freed"):
            act(one)
    with pytest.raises(ValueError, match="nobody holds it"):
        manager.release(0)
    with pytest.raises(ValueError, match="tokens_per_block must be at least 1, got 0"):
        Config(tokens_per_block=0)

"""Never faster than the slowest part nor slower than all in turn, equal where formulas say so, and as measured."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.kv_cache import flexgen, flexgen_replay
from reference_impls.kv_cache.flexgen import DEVICE, DIRECTIONS, DISK, HOST, Config, Machine, Shares, bytes_moved
from reference_impls.kv_cache.flexgen_block import Lookahead, OffloadedBlock, block_step, work_of
from tests.kv_cache.models import MODEL
from tests.models.conftest import some_tokens

THIRDS = Shares(1 / 3, 1 / 3, 1 / 3)
PLACES = [DEVICE, HOST, DISK, THIRDS]
PLACED = st.tuples(*[st.sampled_from(PLACES)] * 3)
BLOCKS: dict[Config, OffloadedBlock] = {}


def block_of(config):
    """Its weights alone are placed: a replay asks where things lie, not what they are."""
    if config not in BLOCKS:
        BLOCKS[config] = OffloadedBlock(MODEL, config)
    return BLOCKS[config]


def both(config, machine, tokens=32):
    """-> seconds as replayed, and by the formula without the new tokens' bytes, which move once a segment"""
    block = block_of(config)
    work = work_of(MODEL, tokens, len(block.chunks), group=10**9)
    new = {one: bytes_moved(work, replace(block.placed, activations=DEVICE))[one] for one in DIRECTIONS[2:]}
    formula = flexgen.step_seconds(work, block.placed, machine)
    extra = sum(new[one] / getattr(machine, one) for one in DIRECTIONS[2:])
    return flexgen_replay.step_seconds(work, block, machine, tokens), formula, extra


@settings(max_examples=40, deadline=None)
@given(PLACED, st.tuples(*[st.floats(1e5, 1e8)] * 4), st.floats(1e7, 1e11), st.sampled_from(["zigzag", "rows"]))
def test_overlapped_it_lies_between_the_slowest_part_and_the_sum_of_all(places, rates, flops, order):
    machine = Machine(*rates, flops=flops, memory=1e12)
    config = Config(2, 3, *places, order)
    replayed, slowest, extra = both(config, machine)
    in_turn, total, _ = both(replace(config, overlap=False), machine)
    assert in_turn == pytest.approx(total - extra)
    assert slowest - extra <= replayed * (1 + 1e-9)
    assert replayed <= in_turn * (1 + 1e-9)


@pytest.mark.parametrize("places", [(HOST, HOST, HOST), (THIRDS, THIRDS, HOST)], ids=["host", "mixed"])
def test_in_turn_every_transfer_is_waited_for_and_takes_its_least_time(places):
    slow = Machine(1e8, 1e8, 1e8, 1e8, flops=1e12, memory=1e12)
    woken = replace(slow, wake_s=0.01)
    config = Config(2, 3, *places, overlap=False)
    replayed, formula, extra = both(config, woken)
    assert replayed == pytest.approx(formula - extra, rel=0.2)  # of a disk's two transfers one is waited for
    without = both(config, slow)[0]
    chunks = [tier != "device" for tier in block_of(config).weights.tiers]
    caches = [tier != "device" for tier in block_of(config).cache.tiers]
    assert replayed - without == pytest.approx(0.01 * (sum(chunks) + sum(caches) + 2 * 2 * 3))
    least = replace(slow, least_s=(0.0, 0.02, 0.0, 0.0))
    assert both(config, least)[0] >= 0.02 * (sum(chunks) + sum(caches) + 2 * 3)


def test_where_computing_hides_every_load_only_the_first_is_seen():
    config = Config(2, 3, DEVICE, HOST, DEVICE)
    machine = Machine(1e6, 1e6, 1e6, 1e6, flops=1e6, memory=1e12)
    replayed, slowest, _ = both(config, machine)
    work = work_of(MODEL, 32)
    assert replayed == pytest.approx(slowest + 2 * 32 * work.token_bytes / 1e6)


class Started:
    """Which numbers are on their way, by the order in which they were started."""

    def __init__(self, tiers):
        self.tiers, self.coming, self.reading = tiers, [], []

    def bring(self, number):
        if self.tiers[number] != "device" and number not in self.coming:
            self.coming.append(number)
            if number in self.reading:
                self.reading.remove(number)

    def read(self, number):
        if self.tiers[number] == "disk" and number not in {*self.reading, *self.coming}:
            self.reading.append(number)


@given(st.lists(st.sampled_from(["device", "host", "disk"]), min_size=12, max_size=12))
def test_a_cache_is_on_its_way_before_it_is_needed_and_no_more_than_the_buffers_hold(tiers):
    cache, idle = Started(tiers), Started(["device"] * 12)
    ahead = Lookahead(Config(1, 4), 3, 4, idle, cache, idle)
    ahead.begin()
    for place in range(12):
        ahead.after(place // 4, place % 4)
        if tiers[place] != "device":
            assert place in cache.coming
            cache.coming.remove(place)
        away = [number for number in range(place + 1, 12) if tiers[number] != "device"]
        on_disk = [number for number in range(place + 1, 12) if tiers[number] == "disk"]
        assert cache.coming == away[:1]  # though it be many places on
        assert sorted({*cache.reading, *cache.coming} & {*on_disk}) == sorted(
            {*on_disk[:2]} | ({*away[:1]} & {*on_disk})
        )


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("places", [(HOST, HOST, HOST), (THIRDS, THIRDS, HOST), (DISK, THIRDS, DISK)], ids=str)
def test_a_step_over_slow_links_takes_what_the_replay_says(places, overlap):
    config, rate = Config(2, 3, *places, overlap=overlap), 4e6
    block, texts = OffloadedBlock(MODEL, config, group_size=8), [some_tokens(2, 33, seed=seed) for seed in (1, 5, 6)]
    block_step(block, [text[:, :32] for text in texts])
    for link in block.links.by_name.values():
        link.bytes_per_s = rate
    start = time.perf_counter()
    block_step(block, [text[:, 32:] for text in texts])
    took = time.perf_counter() - start
    work = work_of(MODEL, 32, len(block.chunks), 8)
    said = flexgen_replay.step_seconds(work, block, Machine(rate, rate, rate, rate, 1e12, 1e12), 32)
    assert 0.95 * said < took < 2 * said + 0.05

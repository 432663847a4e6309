"""The same states as in memory wherever things lie, bytes as the formula says, and links that run beside computing."""

import time
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.kv_cache.flexgen import (
    DEVICE,
    DIRECTIONS,
    DISK,
    HOST,
    Config,
    Machine,
    Shares,
    bytes_moved,
    step_seconds,
    without_offload,
)
from reference_impls.kv_cache.flexgen_block import OffloadedBlock, block_step, chunks_of, lying, spread, work_of
from reference_impls.kv_cache.links import Link, Links, Tiered
from tests.kv_cache.models import MODEL
from tests.models.conftest import some_tokens

THIRDS = Shares(1 / 3, 1 / 3, 1 / 3)
TEXTS = [some_tokens(2, 14, seed=seed) for seed in (1, 5, 6)]


def decoded(config, group_size=1):
    """States of a prompt of 10 tokens and of the four behind it. -> block, (batches, batch, 14, hidden)"""
    block = OffloadedBlock(MODEL, config, group_size=group_size)
    fed = [[text[:, :10] for text in TEXTS], *([text[:, at : at + 1] for text in TEXTS] for at in range(10, 14))]
    states = [torch.stack(block_step(block, tokens)) for tokens in fed]
    return block, torch.cat(states, 2)


PLACES = [DEVICE, HOST, DISK, THIRDS]


@pytest.mark.parametrize("order", ["zigzag", "rows"])
@pytest.mark.parametrize("overlap", [True, False])
def test_states_are_those_of_the_model_in_memory_for_every_placement(order, overlap):
    expected = torch.stack([MODEL.hidden_states(text) for text in TEXTS])
    for first, second in product(range(4), repeat=2):  # each two of the three in all ways
        if first != second and not (overlap and order == "zigzag"):
            continue
        weights, cache, activations = PLACES[first], PLACES[second], PLACES[(first + second) % 4]
        config = Config(2, 3, weights, cache, activations, order, overlap)
        assert torch.allclose(decoded(config)[1], expected, atol=1e-10), config


@pytest.mark.parametrize("group_size", [4, 32])
def test_a_group_changes_no_value(group_size):
    expected = torch.stack([MODEL.hidden_states(text) for text in TEXTS])
    for tier in (HOST, DISK):
        assert torch.allclose(decoded(Config(2, 3, tier, tier, tier), group_size=group_size)[1], expected, atol=1e-10)


@pytest.mark.parametrize("order", ["zigzag", "rows"])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("shares", [(DISK, DEVICE, DEVICE), (HOST, THIRDS, DISK), (THIRDS, DISK, THIRDS)], ids=str)
def test_bytes_moved_are_those_of_the_formula(order, overlap, shares):
    config = Config(2, 3, *shares, order, overlap)
    block, _ = decoded(config)
    for _ in range(2):
        before, length = block.links.moved, block.caches[0].length
        block_step(block, [text[:, :1] for text in TEXTS])
        block.states.wait()
        moved = {name: block.links.moved[name] - before[name] for name in DIRECTIONS}
        assert moved == pytest.approx(bytes_moved(work_of(MODEL, length), block.placed))
    assert sum(moved.values()) > 0


def test_a_crop_takes_back_what_was_decoded():
    block, states = decoded(Config(2, 3, HOST, THIRDS, HOST), group_size=4)
    for cache in block.caches:
        cache.crop(11)
    again = torch.stack(block_step(block, [text[:, 11:] for text in TEXTS]))
    assert torch.allclose(again, states[:, :, 11:], atol=1e-10)


def test_what_stays_moves_nothing():
    block, _ = decoded(without_offload(Config(2, 3)))
    assert set(block.links.moved.values()) == {0}
    assert block.caches[0].nbytes == 14 * 2 * work_of(MODEL, 0).token_bytes * 3


@pytest.mark.parametrize("tier", [HOST, DISK], ids=["host", "disk"])
def test_a_step_over_slow_links_takes_what_the_cost_model_says_with_overlap_and_without(tier):
    took, predicted = {}, {}
    rate = 3e6
    for overlap in (True, False):
        config = Config(2, 3, tier, tier, tier, overlap=overlap)
        block, _ = decoded(config)
        for link in block.links.by_name.values():
            link.bytes_per_s = rate
        machine = Machine(rate, rate, rate, rate, 1e13, 1e9)
        predicted[overlap] = step_seconds(work_of(MODEL, block.caches[0].length), config, machine)
        start = time.perf_counter()
        block_step(block, [text[:, :1] for text in TEXTS])
        block.states.wait()
        took[overlap] = time.perf_counter() - start
        assert took[overlap] > 0.95 * predicted[overlap]
    if tier is DISK:  # reading and copying up meet in a third of the time of each of three layers
        assert took[True] < 0.85 * took[False]


@settings(deadline=None)
@given(st.integers(1, 12))
def test_chunks_hold_every_weight_once(count):
    chunks = chunks_of(MODEL.blocks[0], count)
    assert sorted(name for chunk in chunks for name in chunk) == sorted(dict(MODEL.blocks[0].named_parameters()))
    assert len(chunks) <= count


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_parts_are_spread_so_that_each_tier_has_its_share_to_a_part(sizes, first, second):
    device, host = first, (1 - first) * second
    shares = Shares(device, host, max(0.0, 1 - device - host))
    tiers = spread(sizes, shares)
    for end in range(1, len(sizes) + 1):  # at every place, so they are spread
        got = lying(sizes[:end], tiers[:end])
        for tier in ("device", "host", "disk"):
            assert abs(getattr(got, tier) - getattr(shares, tier)) * sum(sizes[:end]) <= 2 * max(sizes)
    assert sorted(spread([1] * 6, THIRDS)) == ["device", "device", "disk", "disk", "host", "host"]
    assert spread([1] * 4, DISK) == ["disk"] * 4


def test_a_link_keeps_its_rate_over_many_small_transfers():
    link, start = Link(1e6), time.perf_counter()
    jobs = [link.submit(1000, lambda: (), ()) for _ in range(50)]
    for job in jobs:
        job.result()
    assert 0.049 < time.perf_counter() - start < 0.5
    assert link.moved == 50_000
    with pytest.raises(ValueError, match="bytes_per_s"):
        Link(0.0)
    with pytest.raises(ValueError, match="directions are"):
        Links(up=1.0)


def test_reading_from_a_disk_passes_the_host():
    links = Links()
    held = Tiered(["disk", "host", "device"], links, torch.device("cpu"))
    for number in range(3):
        held.put(number, (torch.arange(6.0).view(3, 2) + number,))
    held.wait()
    assert links.moved == {"disk_to_host": 0, "host_to_device": 0, "device_to_host": 48, "host_to_disk": 24}
    for number in range(3):
        held.bring(number)
        assert torch.equal(held.get(number)[0], torch.arange(6.0).view(3, 2) + number)
        held.keep(number, 1)
        assert (held.count(number), held.get(number)[0].shape) == (1, (1, 2))
    assert (links.moved["disk_to_host"], links.moved["host_to_device"]) == (32, 64)

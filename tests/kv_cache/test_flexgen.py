"""The order's loads counted, the cost model's ends, and the policy against brute force and another solver."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
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
    Work,
    best_policy,
    best_shares,
    bytes_moved,
    compute_seconds,
    fits,
    memory_needed,
    part_seconds,
    programme,
    schedule,
    step_seconds,
    throughput,
    weight_loads,
    without_offload,
)

WORK = Work(layers=12, layer_bytes=4e8, token_bytes=2e4, tokens=512, layer_flops=4e8, state_bytes=1e4)
MACHINE = Machine(2e9, 1.2e10, 1.1e10, 1e9, flops=5e13, memory=3e9, host_memory=8e9)
SPLIT = Shares(0.5, 0.25, 0.25)


@given(st.integers(2, 9), st.integers(1, 9))
def test_zigzag_loads_a_layer_once_a_block_and_rows_once_a_batch(layers, batches):
    orders = {order: [*schedule(layers, batches, order)] for order in ("rows", "zigzag")}
    assert set(orders["rows"]) == set(orders["zigzag"])
    assert len(set(orders["rows"])) == len(orders["rows"]) == layers * batches
    work = Work(layers, 1.0, 0.0, 0, 0.0)
    assert weight_loads(orders["zigzag"]) == layers == bytes_moved(work, Config(2, batches))["host_to_device"]
    rows = bytes_moved(work, Config(2, batches, order="rows"))["host_to_device"]
    assert weight_loads(orders["rows"]) == layers * batches == rows
    for order, steps in orders.items():  # a batch goes through its layers in order
        for batch in range(batches):
            assert [layer for layer, own in steps if own == batch] == [*range(layers)], order


def test_bytes_of_a_step_in_each_direction():
    config = Config(2, 3, SPLIT, Shares(0.25, 0.5, 0.25), Shares(0.0, 0.8, 0.2))
    weights, new, states = 12 * 4e8, 12 * 6 * 2e4, 11 * 6 * 1e4
    assert bytes_moved(WORK, config) == pytest.approx(
        {
            "disk_to_host": 0.25 * weights + 0.25 * new * 512 + 0.2 * states,
            "host_to_device": 0.5 * weights + 0.75 * new * 512 + states,
            "device_to_host": 0.75 * new + states,
            "host_to_disk": 0.25 * new + 0.2 * states,
        }
    )
    assert set(bytes_moved(WORK, without_offload(config)).values()) == {0.0}


def test_memory_is_what_lies_on_a_tier_and_the_buffers():
    config = Config(2, 3, SPLIT, HOST, DISK)
    buffers = 2 * (4e8 + 2 * (512 * 2e4 + 1e4))
    weights, cache, states = 12 * 4e8, 12 * 6 * 513 * 2e4, 6 * 1e4
    expected = 0.5 * weights + buffers, 0.25 * weights + cache + buffers, 0.25 * weights + states
    assert memory_needed(WORK, config) == pytest.approx(expected)
    assert fits(WORK, config, Machine(1, 1, 1, 1, 1, *expected))
    for short in range(3):
        room = [has * (0.99 if tier == short else 1) for tier, has in enumerate(expected)]
        assert not fits(WORK, config, Machine(1, 1, 1, 1, 1, *room))


@pytest.mark.parametrize("shares", [(HOST, HOST, DEVICE), (DISK, SPLIT, HOST)], ids=str)
def test_overlap_takes_the_slowest_part_and_no_overlap_their_sum(shares):
    config = Config(8, 8, *shares)
    moved = bytes_moved(WORK, config)
    parts = [moved[one] / getattr(MACHINE, one) for one in DIRECTIONS]
    parts.append(12 * 64 * 4e8 / 5e13)
    assert compute_seconds(WORK, config, MACHINE) == parts[-1]
    assert step_seconds(WORK, config, MACHINE) == pytest.approx(max(parts))
    assert step_seconds(WORK, Config(8, 8, *shares, overlap=False), MACHINE) == pytest.approx(sum(parts))


def test_in_turn_each_transfer_is_waited_for_and_small_ones_take_their_least_time():
    work, config = replace(WORK, chunks=5, group=8), Config(2, 3, HOST, DISK, HOST, overlap=False)
    woken = replace(MACHINE, wake_s=1e-3)
    moves = {"weights": 12 * 5, "cache": 12 * 3, "new": 12 * 3 / 8, "states": 11 * 3}
    waits = moves["weights"] + 2 * moves["cache"] + 2 * moves["new"] + 2 * moves["states"]
    assert step_seconds(work, config, woken) - step_seconds(work, config, MACHINE) == pytest.approx(1e-3 * waits)
    least = replace(MACHINE, least_s=(0.0, 1.0, 0.0, 0.0))  # more than any takes
    found = part_seconds(work, config, least)
    assert found[2] == pytest.approx(moves["weights"] + moves["cache"] + moves["states"])
    overlapped = replace(config, overlap=True)
    assert step_seconds(work, overlapped, least) == step_seconds(work, overlapped, MACHINE)


def test_larger_blocks_pay_for_the_weights_until_the_cache_is_all_that_moves():
    speeds = [throughput(WORK, Config(4, count, cache=DEVICE), MACHINE) for count in (1, 2, 4, 8)]
    assert speeds == sorted(speeds)
    assert speeds[1] == pytest.approx(2 * speeds[0])
    moved = [throughput(WORK, Config(4, count), MACHINE) for count in (640, 1280)]
    assert moved[1] < 1.1 * moved[0]


def grid(steps):
    """Shares of all three kinds in steps."""
    one = [
        Shares(a / steps, b / steps, (steps - a - b) / steps) for a in range(steps + 1) for b in range(steps + 1 - a)
    ]
    return product(one, repeat=3)


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("memory", [(3e9, 8e9, 1e12), (2e9, 3e9, 1e12), (1e10, 2e9, 4e8)], ids=str)
def test_no_shares_of_a_grid_are_faster_than_the_best(overlap, memory):
    machine = Machine(2e9, 1.2e10, 1.1e10, 1e9, 5e13, *memory, wake_s=0.05, least_s=(0.3, 0.01, 0.1, 0.2))
    config = Config(4, 2, overlap=overlap)
    found = best_shares(WORK, machine, config)
    assert fits(WORK, found, machine)
    tried = [Config(4, 2, *shares, overlap=overlap) for shares in grid(4)]
    seconds = [step_seconds(WORK, one, machine) for one in tried if fits(WORK, one, machine)]
    assert seconds
    assert step_seconds(WORK, found, machine) <= min(seconds) * (1 + 1e-6)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.floats(0.02, 1), min_size=3, max_size=3),
    st.integers(1, 8),
    st.integers(1, 8),
    st.booleans(),
    st.tuples(*[st.floats(0, 0.5)] * 5),
)
def test_the_best_vertex_is_what_another_solver_finds(memory, batch, batches, overlap, starts):
    optimize = pytest.importorskip("scipy.optimize")
    room = [1.5e10 * share for share in memory]
    machine = Machine(2e9, 1.2e10, 1.1e10, 1e9, 5e13, *room, wake_s=starts[0], least_s=starts[1:])
    config = Config(batch, batches, overlap=overlap)
    rows, bounds = programme(WORK, machine, config)
    theirs = optimize.linprog([0] * 6 + [1], rows, bounds, bounds=(None, None))
    found = best_shares(WORK, machine, config)
    assert (found is None) == (theirs.status == 2)
    if found is not None:
        assert fits(WORK, found, machine)
        everything = Config(batch, batches, DISK, DISK, DISK, overlap=overlap)
        unit = sum(part_seconds(WORK, everything, machine))
        assert step_seconds(WORK, found, machine) == pytest.approx(theirs.fun * unit, rel=1e-5)


def test_the_best_policy_uses_each_tier_as_the_room_demands():
    def policy(*room, sizes=(1, 4)):
        return best_policy(WORK, Machine(2e9, 1.2e10, 1.1e10, 1e9, 5e13, *room), sizes)

    everything = policy(1e15)
    assert (everything.weights.device, everything.cache.device) == pytest.approx((1, 1))
    no_disk = policy(2e9, 1e12)
    assert no_disk.weights.device < 1
    assert no_disk.weights.disk == no_disk.cache.disk == pytest.approx(0)
    small = policy(1.5e9, 2e9)
    assert small.weights.disk > 0.5
    with pytest.raises(ValueError, match="nothing fits"):
        policy(1e6, sizes=(1,))


def test_shares_are_whole():
    assert np.isclose(sum([SPLIT.device, SPLIT.host, SPLIT.disk]), 1)
    for wrong in ((0.5, 0.4, 0.0), (1.2, -0.2, 0.0)):
        with pytest.raises(ValueError, match="1 together"):
            Shares(*wrong)
    with pytest.raises(ValueError, match="batches"):
        Config(1, 0)

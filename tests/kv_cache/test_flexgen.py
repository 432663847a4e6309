"""The order's loads counted, a model run in both orders, and the cost model's ends."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kv_cache.flexgen import (
    Config,
    Machine,
    Work,
    best_policy,
    block_step,
    bytes_in,
    bytes_out,
    memory_needed,
    schedule,
    step_seconds,
    throughput,
    weight_loads,
    without_offload,
)
from tests.kv_cache.models import MODEL, PROMPT
from tests.models.conftest import some_tokens

WORK = Work(layers=12, layer_bytes=4e8, token_bytes=2e5, tokens=512, layer_flops=4e8)
MACHINE = Machine(to_device=1.2e10, to_host=1.2e10, flops=5e13, memory=1.6e10)


@given(st.integers(2, 9), st.integers(1, 9))
def test_zigzag_loads_a_layer_once_a_block_and_rows_once_a_batch(layers, batches):
    orders = {order: [*schedule(layers, batches, order)] for order in ("rows", "zigzag")}
    assert set(orders["rows"]) == set(orders["zigzag"])
    assert len(set(orders["rows"])) == len(orders["rows"]) == layers * batches
    assert weight_loads(orders["zigzag"]) == layers
    assert weight_loads(orders["rows"]) == layers * batches
    for order, steps in orders.items():  # a batch goes through its layers in order
        for batch in range(batches):
            assert [layer for layer, own in steps if own == batch] == [*range(layers)], order


@pytest.mark.parametrize("order", ["rows", "zigzag"])
def test_both_orders_give_the_same_states_and_load_what_the_formula_says(order):
    loads = []

    def load(layer):
        loads.append(layer)
        return MODEL.blocks[layer]

    batches = [PROMPT, some_tokens(2, 17, seed=5), some_tokens(1, 30, seed=6)]
    caches = [MODEL.new_cache(len(tokens)) for tokens in batches]
    for tokens in (batches, [one[:, :1] for one in batches]):
        states = block_step(MODEL, tokens, caches, load, Config(order=order))
    for row, tokens in enumerate(batches):
        whole = MODEL.hidden_states(torch.cat([tokens, tokens[:, :1]], 1))[:, -1:]
        assert torch.allclose(states[row], whole, atol=1e-10)
    work = Work(layers=3, layer_bytes=1.0, token_bytes=0.0, tokens=0, layer_flops=0.0)
    assert len(loads) == 2 * bytes_in(work, Config(batches=3, order=order))


def test_bytes_of_a_step():
    config = Config(batch=2, batches=3, weights_share=0.5, cache_share=0.25)
    assert bytes_in(WORK, config) == 12 * 4e8 * 0.5 + 12 * 6 * 512 * 2e5 * 0.75
    assert bytes_out(WORK, config) == 12 * 6 * 2e5 * 0.75
    assert bytes_in(WORK, without_offload(config)) == bytes_out(WORK, without_offload(config)) == 0


def test_overlap_takes_the_slowest_part_and_no_overlap_their_sum():
    config = Config(batch=8, batches=8)
    parts = [bytes_in(WORK, config) / 1.2e10, bytes_out(WORK, config) / 1.2e10, 12 * 64 * 4e8 / 5e13]
    assert step_seconds(WORK, config, MACHINE) == max(parts)
    assert step_seconds(WORK, Config(batch=8, batches=8, overlap=False), MACHINE) == sum(parts)


def test_larger_blocks_pay_for_the_weights_until_the_cache_is_all_that_moves():
    speeds = [throughput(WORK, Config(batch=4, batches=count, cache_share=1.0), MACHINE) for count in (1, 2, 4, 8)]
    assert speeds == sorted(speeds)
    assert speeds[1] == pytest.approx(2 * speeds[0])
    moved = [throughput(WORK, Config(batch=4, batches=count), MACHINE) for count in (64, 128)]
    assert moved[1] < 1.1 * moved[0]


def test_the_best_policy_fits_and_beats_its_neighbours():
    found = best_policy(WORK, MACHINE, sizes=(1, 4, 16), steps=4)
    assert memory_needed(WORK, found) <= MACHINE.memory
    for other in (Config(1, 1), Config(4, 4, 0.5), Config(16, 4)):
        if memory_needed(WORK, other) <= MACHINE.memory:
            assert throughput(WORK, found, MACHINE) >= throughput(WORK, other, MACHINE)
    everything = best_policy(WORK, Machine(1.2e10, 1.2e10, 5e13, 1e15), sizes=(1, 4), steps=2)
    assert (everything.weights_share, everything.cache_share) == (1.0, 1.0)
    with pytest.raises(ValueError, match="nothing fits"):
        best_policy(WORK, Machine(1e10, 1e10, 1e12, 1e6), sizes=(1,), steps=2)

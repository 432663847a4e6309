"""Splitting the phases: by hand for one request, what it is for, and the cache that is sent across."""

import pytest
import torch

from reference_impls.kv_cache.blocks import Config as BlockConfig
from reference_impls.kv_cache.paged import PagedPool
from reference_impls.kv_cache.shape import shape_of
from reference_impls.models import tiny
from reference_impls.models.generate import generate
from reference_impls.serving import Limits, Request
from reference_impls.serving.cost import CostModel
from reference_impls.serving.disaggregation import Config, apart, dealt, together
from reference_impls.serving.handover import hand_over
from reference_impls.serving.metrics import SUMMARIES, gap_percentile, latencies

COST = CostModel(a=0.01, b=0.0002, c=0.001, d=0.0)


def test_one_request_by_hand():
    config = Config(bytes_per_token=1000.0, link_bytes_per_s=1e6)
    found = latencies(apart([Request(0, 1.0, 100, 3)], COST, config))
    assert found.ttft[0] == pytest.approx(0.01 + 0.02)
    assert found.jct[0] == pytest.approx(0.03 + 0.1 + 2 * 0.011)


def test_decodes_no_longer_wait_for_prompts():
    trace = [Request(n, 0.25 * n, 900, 40) for n in range(60)]
    split, shared = apart(trace, COST, Config()), together(trace, COST, Limits(16), 2)
    assert {job.id for job in split.jobs} == {job.id for job in shared.jobs}
    assert gap_percentile(split, 99) < 0.05 < gap_percentile(shared, 99)


def test_where_no_decode_could_be_held_up_both_ways_give_the_same_first_token():
    trace = [Request(n, 0.05 * n, 100 + 37 * n % 200, 1) for n in range(40)]
    first = [
        {job.id: job.first_token_s for job in record.jobs}
        for record in (apart(trace, COST, Config(prefill_batch=4)), together(trace, COST, Limits(4), 1))
    ]
    assert first[0] == first[1]
    assert max(first[0][one.id] - one.arrival_s for one in trace) > 0.1  # some have waited


def test_a_slow_link_eats_the_gain():
    """Negative control."""
    trace = [Request(n, 0.25 * n, 900, 40) for n in range(60)]
    slow = apart(trace, COST, Config(link_bytes_per_s=5e7))
    assert SUMMARIES["jct"](slow) > SUMMARIES["jct"](together(trace, COST, Limits(16), 2))


def test_answers_of_one_token_never_reach_the_second_pool():
    found = apart([Request(n, 0.0, 8, 1) for n in range(3)], COST, Config(link_bytes_per_s=1.0))
    assert len(found.jobs) == 3
    assert all(job.finished_s == job.first_token_s for job in found.jobs)


def test_dealing_loses_nobody():
    assert dealt(range(7), 3) == [[0, 3, 6], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="each pool"):
        Config(decode_devices=0)


@torch.no_grad()
def test_a_cache_that_was_handed_over_goes_on_as_before():
    model, prompt = tiny.load_target(), tiny.heldout_tokens(19)
    alone = generate(model, prompt[None], 8)[0].tolist()
    here, there = (PagedPool(shape_of(model), BlockConfig(4, blocks)) for blocks in (8, 30))
    there.manager.reserve([(there.new_sequence(), 0, 12)])  # so that block numbers differ
    sequence = here.new_sequence()
    token = model(prompt[None], here.batch([sequence]))[0, -1].argmax()
    sequence = hand_over(here, sequence, there)
    made = [int(token)]
    while len(made) < 8:
        made.append(int(model(torch.tensor([[made[-1]]]), there.batch([sequence]))[0, -1].argmax()))
    assert made == alone
    assert here.manager.free_blocks() == 8


def test_blocks_of_other_shapes_are_refused():
    model = tiny.load_target()
    here, there = (PagedPool(shape_of(model), BlockConfig(width, 8)) for width in (4, 8))
    with pytest.raises(ValueError, match="differ in shape"):
        hand_over(here, here.new_sequence(), there)

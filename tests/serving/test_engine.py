"""Whatever happens to a request on its way (batched, chunked, swapped, dropped, resumed), its tokens stay its own."""

from dataclasses import replace
from itertools import count
from math import ceil, log2

import pytest
import torch

from reference_impls.models import tiny
from reference_impls.models.generate import generate
from reference_impls.serving import Job, Limits, Request, fastserve, fcfs, mlfq, policies
from reference_impls.serving.cost import CostModel, profiled
from reference_impls.serving.engine import Config, Engine
from reference_impls.serving.kv_swap import Config as SpaceConfig

PROFILE = CostModel(a=1.0, b=0.0, c=0.0, d=0.0)
LENGTHS = [(5, 12), (19, 4), (9, 15), (30, 6), (3, 9), (12, 3), (7, 10)]
TRACE = [Request(n, 3.0 * n, prompt, output) for n, (prompt, output) in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def model():
    return tiny.load_target()


@pytest.fixture(scope="module")
def prompts():
    text = tiny.heldout_tokens(400)
    return {n: text[40 * n : 40 * n + prompt] for n, (prompt, _) in enumerate(LENGTHS)}


@pytest.fixture(scope="module")
def alone(model, prompts):
    return {n: generate(model, prompts[n][None], output)[0].tolist() for n, (_, output) in enumerate(LENGTHS)}


def ticks():
    """A clock on which every iteration lasts one second: begin reads it once, and the end of the pass once."""
    return map(float, count()).__next__


def engine(model, prompts, scheduler, *, blocks=64, swap="proactive", limits=None, **more):
    space = SpaceConfig(blocks, 64, 4, swap, reserve_blocks=2, bytes_per_block=0.2)
    return Engine(model, prompts, scheduler, Config(space, limits or Limits(4), **more), ticks(), PROFILE)


@pytest.mark.parametrize("name", policies())
def test_every_policy_gives_each_request_its_own_tokens(model, prompts, alone, name):
    policy = policies()[name]
    served = engine(model, prompts, policy.Scheduler(policy.Config()))
    served.serve(TRACE)
    assert served.answers == alone


@pytest.mark.parametrize("swap", ["proactive", "reactive", "recompute"])
def test_swapped_and_dropped_caches_change_no_token(model, prompts, alone, swap):
    served = engine(model, prompts, mlfq.Scheduler(mlfq.Config(quantum_s=1.0)), blocks=14, swap=swap)
    record = served.serve(TRACE)
    counts = served.server.space.counts
    assert served.answers == alone
    assert sum(job.preemptions for job in record.jobs) > 5
    assert counts.drops if swap == "recompute" else counts.blocks_out == counts.blocks_in > 10
    assert served.pool.manager.free_blocks() == 14
    assert served.pool.manager.free_blocks("host") == (0 if swap == "recompute" else 64)


@pytest.mark.parametrize("limits", [Limits(4, 16, 8), Limits(4, 7, 3), Limits(4, mixing="separate"), Limits(1)])
def test_pieces_of_prompts_and_separate_iterations_change_no_token(model, prompts, alone, limits):
    served = engine(model, prompts, fcfs.Scheduler(), limits=limits)
    served.serve(TRACE)
    assert served.answers == alone


def test_too_little_memory_becomes_waiting(model, prompts, alone):
    """Ten blocks hold the largest request and hardly anything beside it, and the host holds nothing."""
    space = SpaceConfig(10, 0, 4, "recompute")
    served = Engine(model, prompts, fcfs.Scheduler(), Config(space, Limits(4)), ticks(), PROFILE)
    record = served.serve(TRACE)
    assert served.answers == alone
    assert len(record.jobs) == len(TRACE)


def test_a_cancelled_request_frees_everything_and_the_others_do_not_notice(model, prompts, alone):
    served = engine(model, prompts, fastserve.Scheduler(fastserve.Config(quantum_s=1.0)), blocks=14)
    server = served.server
    for one in TRACE[:4]:
        server.submit(Job(one.id, 0.0, one.prompt, one.output))
    for number in range(1000):
        if not server.live:
            break
        if number == 5:
            server.cancel(2)
        server.step()
    assert {n: served.answers[n] for n in (0, 1, 3)} == {n: alone[n] for n in (0, 1, 3)}
    assert len(served.answers[2]) < len(alone[2])
    server.space.begin(float("inf"))
    assert server.space.free == served.pool.manager.free_blocks() == 14


def test_a_stop_token_ends_an_answer(model, prompts, alone):
    stop = alone[2][4]
    cut = {n: made[: made.index(stop) + 1] if stop in made else made for n, made in alone.items()}
    served = engine(model, prompts, fcfs.Scheduler(), stop_token=stop)
    served.serve(TRACE)
    assert served.answers == cut


def test_a_known_beginning_is_not_computed_again(model, prompts):
    shared = tiny.heldout_tokens(24)
    asked = {0: shared, 1: torch.cat([shared, prompts[1]]), 2: shared}
    trace = [Request(n, 100.0 * n, len(asked[n]), 6) for n in asked]
    known, plain = (engine(model, asked, fcfs.Scheduler(), reuse=reuse) for reuse in (True, False))
    known.serve(trace)
    plain.serve(trace)
    assert known.answers == plain.answers
    assert known.reused_tokens == 24 + 20  # whole blocks of four; of a prompt known as a whole the last one is computed
    assert sum(one.prefill_tokens for one in known.measured) == sum(map(len, asked.values())) - known.reused_tokens


def test_measured_iterations_add_up(model, prompts):
    served = engine(model, prompts, fcfs.Scheduler())
    served.serve(TRACE)
    assert sum(one.prefill_tokens for one in served.measured) == sum(prompt for prompt, _ in LENGTHS)
    assert sum(one.decoders for one in served.measured) == sum(output - 1 for _, output in LENGTHS)


def test_skip_join_takes_a_profile_measured_before(model, prompts):
    """Each prompt alone, timed by a clock that counts a second for eight tokens; then a prompt enters by its time."""
    first = engine(model, prompts, fcfs.Scheduler())
    first.serve([Request(n, 100.0 * n, prompt, 1) for n, (prompt, _) in enumerate(LENGTHS)])
    measured = [replace(one, seconds=one.prefill_tokens / 8) for one in first.measured]
    scheduler = fastserve.Scheduler(fastserve.Config(quantum_s=1.0))
    space = SpaceConfig(64, 64, 4)
    known = Engine(model, prompts, scheduler, Config(space), ticks(), profiled(measured))
    for n, (prompt, output) in enumerate(LENGTHS):
        known.server.submit(Job(n, 0.0, prompt, output))
    levels = {n: job.level for n, job in known.server.live.items()}
    assert levels == {n: ceil(log2(max(prompt / 8, 1.0))) for n, (prompt, _) in enumerate(LENGTHS)}
    assert set(levels.values()) == {0, 1, 2}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_side_stream_changes_no_token(prompts, alone):
    gpu = tiny.load_target().to("cuda")
    served = engine(gpu, prompts, mlfq.Scheduler(mlfq.Config(quantum_s=1.0)), blocks=14)
    served.serve(TRACE)
    assert served.stream is not None
    assert served.answers == alone

"""Short memory becomes waiting, never a crash or a lost token, whatever is swapped, dropped, shared or cancelled."""

from functools import cache
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.models import tiny
from reference_impls.models.generate import generate
from reference_impls.serving import Job, Limits, Request, fastserve, fcfs, policies
from reference_impls.serving.cost import CostModel
from reference_impls.serving.engine import Config, Engine
from reference_impls.serving.kv_swap import Config as SpaceConfig
from tests.serving.conftest import rounds

PROFILE = CostModel(a=1.0, b=0.25, c=0.0, d=0.0)
SWITCHES = ({"order": "enst"}, {"order": "artifact"}, {"demotion": "fit"}, {"charge": "own"}, {"ageing_s": 6.0})
MAKE = {name: (lambda policy=policy: policy.Scheduler(policy.Config())) for name, policy in policies().items()}
for switches in SWITCHES:
    MAKE["fastserve " + str(switches)] = lambda switches=switches: fastserve.Scheduler(
        fastserve.Config(**{"quantum_s": 1.0, "ageing_s": None} | switches)
    )
SWAPS = ["proactive", "reactive", "recompute"]
MOST = 8
"""Tokens of an answer."""


@cache
def model():
    return tiny.load_target()


@cache
def prompt_of(text, length):
    return tiny.heldout_tokens(200)[60 * text : 60 * text + length]


@cache
def alone(text, length):
    return generate(model(), prompt_of(text, length)[None], MOST)[0].tolist()


def engine_of(rows, make, blocks, host=64, swap="proactive", reuse=False, batch=3, copy_s=0.2):
    """rows: (text, prompt length, ...) of each request. On the clock every iteration lasts one second."""
    space = SpaceConfig(blocks, host, 4, swap, reserve_blocks=1, bytes_per_block=copy_s)
    prompts = {n: prompt_of(*row[:2]) for n, row in enumerate(rows)}
    config = Config(space, Limits(batch), reuse=reuse)
    return Engine(model(), prompts, make(), config, map(float, count()).__next__, PROFILE)


def jobs_of(rows):
    return [Job(n, float(at), length, output) for n, (_, length, output, at) in enumerate(rows)]


def known(engine):
    return len(engine.tree.blocks) if engine.tree else 0


def check_all_free(engine):
    space, manager = engine.server.space, engine.pool.manager
    space.begin(float("inf"))
    assert not engine.server.live
    assert not engine.sequences
    assert not [*engine.server.scheduler.schedule(engine.server.state)]
    assert space.free == space.config.device_blocks == manager.free_blocks() + known(engine)
    assert space.host_free == space.config.host_blocks
    assert manager.free_blocks("host") == len(engine.pool.host)


ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([1, 3, 4, 9, 16, 17, 20]), st.integers(1, MOST), st.integers(0, 12)),
    min_size=2,
    max_size=7,
)


@pytest.mark.parametrize("reuse", [False, True])
@given(
    rows=ROWS,
    name=st.sampled_from([*MAKE]),
    swap=st.sampled_from(SWAPS),
    spare=st.integers(0, 5),
    host=st.sampled_from([0, 6, 64]),
    batch=st.integers(1, 3),
    cancel=st.dictionaries(st.integers(0, 6), st.integers(1, 20), max_size=2),
)
@settings(max_examples=15)
def test_tokens_stay_ones_own_and_memory_comes_back(reuse, rows, name, swap, spare, host, batch, cancel):
    """cancel: request -> the round after which its client goes."""
    blocks = max(-(-(length + output) // 4) for _, length, output, _ in rows) + spare
    engine = engine_of(rows, MAKE[name], blocks, host, swap, reuse, batch)
    server, manager = engine.server, engine.pool.manager
    for number, _ in enumerate(rounds(server, jobs_of(rows))):
        for one in [one for one, when in cancel.items() if one in server.live and number >= when]:
            server.cancel(one)
        held = {block for one in engine.sequences.values() if one.place == "device" for block in one.blocks}
        assert len(held) + server.space.free <= blocks  # what it counts as free can be had
        assert manager.free_blocks("host") >= server.space.host_free or swap == "recompute"
    ends = {job.id: job for job in server.record.jobs}
    for n, (text, length, output, _) in enumerate(rows):
        made = alone(text, length)[: ends[n].generated]
        assert engine.answers[n] == made
        assert ends[n].cancelled or len(made) == output
    check_all_free(engine)


@pytest.mark.parametrize("swap", SWAPS)
def test_who_only_waits_holds_no_known_block(swap):
    """The second request needs all the memory, part of which the third would like to begin with."""
    rows = [(0, 16, 1, 0), (1, 20, 8, 10), (0, 17, 4, 10)]
    engine = engine_of(rows, fcfs.Scheduler, 8, 0, swap, reuse=True, batch=1)
    engine.serve([Request(n, float(at), length, output) for n, (_, length, output, at) in enumerate(rows)])
    assert engine.answers == {n: alone(text, length)[:output] for n, (text, length, output, _) in enumerate(rows)}
    assert engine.reused_tokens == 4  # one block of four was left when the third could begin
    check_all_free(engine)


def test_whose_cache_was_dropped_finds_what_nobody_needed():
    """Two answers grow until the younger gives way; of its blocks the elder takes what it needs, from the end."""
    rows = [(0, 8, 8, 0), (1, 16, 8, 0)]
    engine = engine_of(rows, fcfs.Scheduler, 7, 0, "recompute", reuse=True)
    record = engine.serve([Request(n, 0.0, length, output) for n, (_, length, output, _) in enumerate(rows)])
    assert engine.server.space.counts.drops
    assert len(record.jobs) == 2
    assert engine.reused_tokens > 0
    assert engine.answers == {n: alone(text, length) for n, (text, length, _, _) in enumerate(rows)}


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_fastserve_swaps_again_and_again_and_changes_no_token(switches):
    rows = [(n % 2, length, MOST, 2 * n) for n, length in enumerate([9, 20, 4, 16, 3, 17, 1, 9])]
    engine = engine_of(rows, MAKE["fastserve " + str(switches)], 10, batch=2)
    record = engine.serve([Request(n, float(at), length, output) for n, (_, length, output, at) in enumerate(rows)])
    counts = engine.server.space.counts
    assert engine.answers == {n: alone(text, length) for n, (text, length, _, _) in enumerate(rows)}
    assert sum(job.preemptions for job in record.jobs) >= len(rows)
    assert counts.blocks_out == counts.blocks_in > 10
    check_all_free(engine)


STAGES = {
    "waiting": lambda job: job.place == "nowhere" and not job.generated,
    "running": lambda job: job.place == "device" and job.generated,
    "leaving": lambda job: job.place == "leaving",
    "on the host": lambda job: job.place == "host",
    "coming": lambda job: job.place == "coming",
}


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_frees_everything_at_any_stage(stage, reuse):
    """Every request is cancelled when it reaches the stage, the first of them excepted."""
    rows = [(0, length, MOST, n) for n, length in enumerate([9, 20, 4, 16, 3, 17, 1, 9])]
    engine = engine_of(rows, MAKE["fastserve {'order': 'enst'}"], 10, reuse=reuse, batch=2, copy_s=1.0)
    server, cancelled = engine.server, 0
    for _ in rounds(server, jobs_of(rows)):
        for job in [job for job in server.live.values() if job.id and STAGES[stage](job)]:
            server.cancel(job.id)
            cancelled += 1
            assert job.id not in engine.sequences
    assert cancelled
    assert engine.answers[0] == alone(0, 9)
    check_all_free(engine)


def test_a_request_that_could_never_fit_is_refused_and_the_others_are_answered():
    rows = [(0, 4, 4, 0), (1, 20, 8, 0), (0, 9, 3, 1)]
    engine = engine_of(rows, fcfs.Scheduler, 4)
    record = engine.serve([Request(n, float(at), length, output) for n, (_, length, output, at) in enumerate(rows)])
    assert [job.id for job in record.refused] == [1]
    assert engine.answers == {0: alone(0, 4)[:4], 1: [], 2: alone(0, 9)[:3]}


WRONG = {
    "refers to no prompt": (Request(9, 0.0, 4, 2), "request 9 has no tokens of prompt, where its line says 4"),
    "tells another length": (Request(1, 0.0, 5, 2), "request 1 has 6 tokens of prompt, where its line says 5"),
    "outgrows the model": (Request(1, 0.0, 6, 1020), "request 1 needs 1025 positions, the model has 1024"),
    "has a number twice": (Request(0, 1.0, 4, 2), "request 0 has the number of another that is being served"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_request_that_is_wrong_is_refused_with_the_reason_and_the_others_are_answered(what):
    wrong, reason = WRONG[what]
    engine = engine_of([(0, 4, 4, 0), (0, 6, 3, 0)], fcfs.Scheduler, 300)
    record = engine.serve([Request(0, 0.0, 4, 4), wrong])
    assert [job.refused for job in record.refused] == [reason]
    assert engine.answers == {0: alone(0, 4)[:4], 1: []}
    check_all_free(engine)

"""Blocks are conserved in both tiers whatever happens, and moving caches early never costs more than late."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.serving import Job, Limits, Request, State, fastserve, fcfs, policies
from reference_impls.serving.cost import CostModel
from reference_impls.serving.kv_swap import Config, Space
from reference_impls.serving.metrics import SUMMARIES
from reference_impls.serving.serve import RefusedError, Server
from reference_impls.serving.simulate import Simulated, simulate
from tests.serving.conftest import EXACT, rounds, traces

MAKE = {name: (lambda policy=policy: policy.Scheduler(policy.Config())) for name, policy in policies().items()}
for switches in ({"order": "artifact"}, {"demotion": "fit"}, {"charge": "own"}, {"ageing_s": 0.25}):
    MAKE["fastserve " + str(switches)] = lambda switches=switches: fastserve.Scheduler(
        fastserve.Config(**{"quantum_s": 1 / 64} | switches)
    )


def check(space, jobs):
    config = space.config
    moving = sum(copy.blocks for copy in (*space.leaving, *space.coming))
    on_device = sum(job.blocks for job in jobs if job.place == "device")
    on_host = sum(job.blocks for job in jobs if job.place == "host")
    assert space.free + on_device + moving == config.device_blocks
    assert space.host_free + on_host + moving == config.host_blocks
    assert min(space.free, space.host_free) >= 0
    assert {job.id for job in jobs if job.place == "device"} == set(space.resident)
    assert {job.id for job in jobs if job.place == "host"} == set(space.on_host)


@pytest.mark.parametrize("swap", ["proactive", "reactive", "recompute"])
@given(
    trace=traces(most=14),
    name=st.sampled_from([*MAKE]),
    host=st.sampled_from([0, 8, 64]),
    cancel=st.sets(st.integers(0, 13)),
)
@settings(max_examples=25)
def test_blocks_are_conserved_and_nobody_runs_from_the_host(swap, trace, name, host, cancel):
    config = Config(24, host, tokens_per_block=4, swap=swap, reserve_blocks=2, bytes_per_block=2.0**-8)
    space = Space(config)
    server = Server(MAKE[name](), Limits(4), Simulated(EXACT), space)
    jobs = [Job(one.id, one.arrival_s, one.prompt, one.output) for one in trace]
    for batch in rounds(server, jobs):
        assert all(job.place in ("device", "nowhere") for job in batch.jobs)  # nowhere: just finished
        assert all(config.blocks_for(job.cached) <= job.blocks for job in batch.jobs if job.place == "device")
        check(space, jobs)
        for number in [one for one in cancel if one in server.live and server.record.iterations > 3 * one]:
            server.cancel(number)
            check(space, jobs)
    space.begin(float("inf"))
    assert (space.free, space.host_free) == (config.device_blocks, host)
    assert all(job.cancelled or job.generated == job.output for job in jobs)


@pytest.mark.parametrize("swap", ["proactive", "reactive", "recompute"])
@given(
    trace=traces(most=8, longest=12, step=1.0),
    name=st.sampled_from([*MAKE]),
    spare=st.integers(0, 3),
    host=st.sampled_from([0, 3, 64]),
    batch=st.integers(1, 4),
    chunk=st.sampled_from([None, 3]),
    mixing=st.sampled_from(["mixed", "separate"]),
)
@settings(max_examples=80)
def test_everybody_ends_where_memory_hardly_holds_one(swap, trace, name, spare, host, batch, chunk, mixing):
    """Neither stuck nor for ever dropping each other's half-passed prompts."""
    blocks = max(-(-(one.prompt + one.output) // 4) for one in trace) + spare
    space = Space(Config(blocks, host, 4, swap, reserve_blocks=2, bytes_per_block=0.25))
    limits = Limits(batch, chunk=chunk, mixing=mixing)
    server = Server(MAKE[name](), limits, Simulated(CostModel(1.0, 0.25, 0.0)), space)
    for number, _ in enumerate(rounds(server, [Job(one.id, one.arrival_s, one.prompt, one.output) for one in trace])):
        assert number < 5000
    assert all(job.generated == job.output for job in server.record.jobs)


def crowded():
    """Long jobs that fill the memory, and short ones that come while they run."""
    long = [Request(n, 0.01 * n, 64, 200) for n in range(12)]
    return [*long, *(Request(12 + n, 0.5 + 0.2 * n, 64, 8) for n in range(60))]


def mean_per_token(swap, device_blocks, link=1.0):
    cost = CostModel(0.01, 0.0005, 0.0002, 0.0)
    config = Config(device_blocks, 4096, 16, swap, 8, bytes_per_block=0.0005, link_bytes_per_s=link)
    space = Space(config)
    record = simulate(crowded(), fastserve.Scheduler(), cost, Limits(8), space)
    return SUMMARIES["per_token"](record), space.counts


def test_early_copies_beat_late_ones_and_both_beat_computing_again():
    (early, moved), (late, _), (again, dropped) = (
        mean_per_token(swap, 96) for swap in ("proactive", "reactive", "recompute")
    )
    assert moved.blocks_out
    assert dropped.drops
    assert early <= late <= again


def test_a_slow_link_turns_the_order_round():
    """Negative control: copying a block takes longer than computing it, so dropping it is the better way."""
    late, again = (mean_per_token(swap, 96, link=0.01)[0] for swap in ("reactive", "recompute"))
    assert again < late


def test_where_memory_suffices_all_ways_are_equal():
    found = {mean_per_token(swap, 4096)[0] for swap in ("proactive", "reactive", "recompute")}
    assert len(found) == 1


def test_the_latest_arrival_gives_way_as_in_vllm():
    """Two jobs grow until the blocks run out: the younger loses its own and begins again later."""
    trace = [Request(0, 0.0, 4, 28), Request(1, 0.0, 4, 28)]
    space = Space(Config(8, 0, 4, "recompute"))
    record = simulate(trace, fcfs.Scheduler(), EXACT, Limits(2), space)
    older, younger = sorted(record.jobs, key=lambda job: job.id)
    assert older.finished_s < younger.finished_s
    assert (older.preemptions, younger.preemptions) == (0, 1)
    assert space.counts.drops == 1


def test_what_could_never_fit_is_refused_and_the_others_go_on():
    trace = [Request(0, 0.0, 4, 4), Request(1, 0.0, 8, 4), Request(2, 1.0, 2, 2)]
    record = simulate(trace, fcfs.Scheduler(), EXACT, space=Space(Config(2, 0, 4)))
    assert {job.id: job.refused for job in record.refused} == {1: "request 1 needs 3 blocks, the device has 2"}
    assert {job.id: (job.generated, job.refused) for job in record.jobs} == {0: (4, ""), 2: (2, "")}


def test_who_submits_it_directly_is_told():
    server = Server(fcfs.Scheduler(), Limits(), Simulated(EXACT), Space(Config(2, 0, 4)))
    with pytest.raises(RefusedError, match="needs 3 blocks"):
        server.submit(Job(0, 0.0, 8, 4))
    assert not server.live


@pytest.mark.parametrize(
    "wrong", [{"device_blocks": 0}, {"swap": "never"}, {"link_bytes_per_s": 0.0}, {"host_floor": 1.5}]
)
def test_a_config_refuses_what_has_no_meaning(wrong):
    with pytest.raises(ValueError, match="must be"):
        Config(**{"device_blocks": 4} | wrong)


def resident(space, *sizes):
    """Jobs 0, 1, … with caches of so many blocks on the device, of which 0 is needed next and the last latest."""
    jobs = [Job(number, 0.0, 4, 1 << 20, generated=1, cached=4 * blocks - 1) for number, blocks in enumerate(sizes)]
    space.begin(0.0)
    for job in jobs:
        assert space.claim(job, 1, by_number)
    return jobs


def by_number(job):
    return (job.id,)


def places(jobs):
    return [job.place for job in jobs]


def test_who_is_needed_latest_gives_way_and_as_few_as_suffice():
    space = Space(Config(8, 64, 4, reserve_blocks=0, bytes_per_block=1.0))
    jobs = resident(space, 2, 2, 2, 2)
    space.begin(1.0)
    assert not space.claim(Job(-1, 0.0, 12, 4), 12, by_number)  # three blocks, whose copies must be done first
    assert places(jobs) == ["device", "device", "leaving", "leaving"]
    space.begin(100.0)
    assert places(jobs) == ["device", "device", "host", "host"]
    assert space.claim(Job(-1, 0.0, 12, 4), 12, by_number)


def test_nobody_gives_way_to_who_is_needed_later():
    space = Space(Config(4, 64, 4, reserve_blocks=0))
    jobs = resident(space, 2, 2)
    space.begin(1.0)
    assert not space.claim(Job(9, 0.0, 4, 4), 4, by_number)
    assert places(jobs) == ["device", "device"]


def test_ahead_of_need_the_reserve_is_freed_by_who_is_needed_latest_and_does_not_run():
    space = Space(Config(8, 64, 4, reserve_blocks=3, bytes_per_block=1.0))
    jobs = resident(space, 2, 2, 2, 2)
    space.begin(1.0)
    assert space.claim(jobs[3], 0, by_number)  # runs now, whoever's turn it would be
    space.look_ahead(by_number)
    assert places(jobs) == ["device", "leaving", "leaving", "device"]  # four blocks, where three are to be free
    assert space.counts.blocks_out == 4


def test_who_is_needed_next_returns_first_as_far_as_the_reserve_stays_free():
    space = Space(Config(9, 64, 4, reserve_blocks=2, bytes_per_block=1.0))
    jobs = resident(space, 3, 3, 3)
    space.begin(1.0)
    for job in jobs:
        space._evict(job)
    space.begin(100.0)
    space.look_ahead(by_number)
    assert places(jobs) == ["coming", "coming", "host"]  # a third would leave no block free
    space.begin(200.0)
    assert places(jobs) == ["device", "device", "host"]


def test_nothing_returns_in_a_round_in_which_somebody_had_to_leave():
    space = Space(Config(8, 64, 4, reserve_blocks=0, bytes_per_block=1.0))
    jobs = resident(space, 1, 1, 3)
    space.begin(1.0)
    space._evict(jobs[0])
    space.begin(100.0)
    space._evict(jobs[2])
    space.look_ahead(by_number)
    assert places(jobs) == ["host", "device", "leaving"]
    space.begin(200.0)
    space.look_ahead(by_number)
    assert places(jobs) == ["coming", "device", "coming"]


@pytest.mark.parametrize(("floor", "is_taken"), [(0.5, False), (0.4, True)])
def test_a_prompt_has_to_wait_while_the_host_is_nearly_full(floor, is_taken):
    """Six of ten blocks of the host are taken: four are free, which is less than half and not less than 0.4."""
    space = Space(Config(64, 10, 4, reserve_blocks=0, host_floor=floor))
    jobs = resident(space, 6, 1)
    space._evict(jobs[0])
    space.begin(1.0)
    assert space.claim(Job(9, 0.0, 4, 4), 4, by_number) == is_taken
    assert space.claim(jobs[1], 1, by_number)  # whoever has begun goes on


ORDERS = {"enst": "b", "artifact": "a"}


@pytest.mark.parametrize("order", ORDERS)
def test_the_two_orders_send_away_different_jobs(order):
    """a lies lower and is about to be lifted by age; b lies higher, with a long queue above it."""
    scheduler = fastserve.Scheduler(fastserve.Config(0.5, ageing_s=3.0, order=order))
    state = State(0.0, lambda tokens: tokens / 100, 2)
    jobs = {name: Job(number, 0.0, prompt, 64) for number, (name, prompt) in enumerate({"a": 200, "b": 100}.items())}
    others = [Job(10 + n, 0.0, 4, 64) for n in range(40)]
    for job in (*jobs.values(), *others):
        scheduler.enter(job, state)
    assert (jobs["a"].level, jobs["b"].level) == (2, 1)
    state.now = 2.9
    jobs["b"].waiting_since_s = 2.8  # it has just run
    first = max(jobs, key=lambda name: scheduler.needed(jobs[name], state))
    assert first == ORDERS[order]
    space = Space(Config(2, 64, 256, reserve_blocks=0))
    space.begin(0.0)
    assert all(space.claim(job, job.prompt, by_number) for job in jobs.values())
    space.begin(state.now)
    space.claim(others[0], 4, lambda job: scheduler.needed(job, state))
    assert [name for name, job in jobs.items() if job.place == "leaving"] == [first]

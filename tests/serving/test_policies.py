"""What holds after every iteration of every policy, and what ageing is for."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impls.serving import Batch, Job, Limits, Request, State, fastserve, fcfs, fixed_priority, mlfq, srpt
from reference_impls.serving.fastserve import level_for
from reference_impls.serving.queues import AgeingLine, LevelQueues, OrderedLine
from reference_impls.serving.serve import Server
from reference_impls.serving.simulate import Simulated, simulate
from tests.serving.conftest import EXACT, UNIT, rounds, traces

FEEDBACK = {
    "mlfq": (mlfq, mlfq.Config(quantum_s=1 / 64)),
    "mlfq-ages": (mlfq, mlfq.Config(quantum_s=1 / 64, ageing_s=0.25)),
    "skip-join": (fastserve, fastserve.Config(quantum_s=1 / 64, ageing_s=None)),
    "skip-join-ages": (fastserve, fastserve.Config(quantum_s=1 / 64, ageing_s=0.25, demotion="fit", charge="own")),
}


@pytest.mark.parametrize("name", FEEDBACK)
@given(trace=traces(), batch=st.integers(1, 5))
@settings(max_examples=12)
def test_the_queues_are_sound_after_every_iteration(name, trace, batch):
    module, config = FEEDBACK[name]
    scheduler = module.Scheduler(config)
    limits = Limits(batch, tokens=64)
    server = Server(scheduler, limits, Simulated(EXACT))
    before: dict[int, tuple[int, int]] = {}
    for chosen in rounds(server, [Job(one.id, one.arrival_s, one.prompt, one.output) for one in trace]):
        assert 1 <= len(chosen.jobs) <= batch
        assert sum(chosen.tokens) <= max(64, chosen.tokens[0])
        queued = Counter(job.id for job in scheduler.queues)
        assert queued == Counter(server.live.keys())  # each live job in one queue, once
        for level, jobs in enumerate(scheduler.queues.levels):
            assert all(job.level == level for job in jobs.values())
        for job in scheduler.queues:
            assert job.left_s >= 0
            level, promotions = before.get(job.id, (0, job.promotions))
            assert job.level >= level or job.promotions > promotions  # up by ageing alone
        before = {job.id: (job.level, job.promotions) for job in scheduler.queues}


@given(seconds=st.floats(1e-4, 100.0))
def test_the_entry_level_is_the_smallest_that_covers_the_prompt(seconds):
    config = fastserve.Config()
    level = level_for(config, seconds)
    assert config.quantum(level) >= seconds
    assert level == 0 or config.quantum(level - 1) < seconds


def test_a_level_without_end_takes_everything():
    config = fastserve.Config(quantum_s=1.0, levels=3)
    assert [config.quantum(level) for level in range(4)] == [1.0, 2.0, float("inf"), float("inf")]
    assert level_for(config, 1e9) == 2


def test_fit_falls_as_far_as_the_next_iteration_asks_for():
    state = State(0.0, lambda tokens: 6.0)  # the next iteration takes 6 s: level 3 of 1, 2, 4, 8
    job = Job(0, 0.0, 4, 4)
    for demotion, fall in (("one", 1), ("fit", 3)):
        scheduler = fastserve.Scheduler(fastserve.Config(quantum_s=1.0, demotion=demotion))
        assert scheduler.levels_down(job, state) == fall


def test_own_charges_leave_out_the_prompts_of_others():
    state = State(0.0, lambda tokens: 1.0 + (tokens if tokens > 1 else 0))
    old, new = Job(0, 0.0, 4, 4, cached=4, generated=1), Job(1, 0.0, 10, 4)
    batch = Batch([old, new], [1, 10], prefill_tokens=10, decoders=1)
    wall, own = (fastserve.Scheduler(fastserve.Config(charge=rule)) for rule in ("wall", "own"))
    assert [wall.charge(job, n, batch, 11.0, state) for job, n in ((old, 1), (new, 10))] == [11.0, 11.0]
    assert [own.charge(job, n, batch, 11.0, state) for job, n in ((old, 1), (new, 10))] == [1.0, 11.0]


@given(levels=st.lists(st.integers(0, 5), min_size=1, max_size=12), batch=st.integers(1, 8))
def test_enst_is_the_double_sum(levels, batch):
    """T_execute(i) = (1/B) sum over j above i of the quanta from below j's level to i's, as the paper writes it."""
    config = fastserve.Config(quantum_s=1.0, ageing_s=None)
    scheduler = fastserve.Scheduler(config)
    jobs = [Job(n, 0.0, 4, 4) for n in range(len(levels))]
    for job, level in zip(jobs, levels, strict=True):
        scheduler.queues.use(level)
        scheduler.queues.push(job, level)
    state = State(0.0, EXACT.prefill_s, batch)
    for one in jobs:
        above = [other for other in jobs if other.level < one.level]
        total = sum(config.quantum(k) for other in above for k in range(other.level + 1, one.level + 1))
        assert scheduler.enst(one, state) == pytest.approx(total / batch)


def test_enst_is_cut_by_ageing():
    scheduler = fastserve.Scheduler(fastserve.Config(quantum_s=1.0, ageing_s=3.0))
    high, low = Job(0, 0.0, 4, 4), Job(1, 0.0, 4, 4, waiting_since_s=8.0)
    scheduler.queues.use(4)
    scheduler.queues.push(high, 0)
    scheduler.queues.push(low, 4)
    assert scheduler.enst(low, State(10.0, EXACT.prefill_s, 1)) == 1.0  # waits 2 s of 3, would wait 2 + 4 + 8 + 16


def _flood(seconds):
    """One long job, and short ones that alone fill the single slot from its first second on."""
    return [Request(0, 0.0, 1, 10), *(Request(n, float(n), 1, 1) for n in range(1, seconds))]


@pytest.mark.parametrize("module", [mlfq, fastserve])
def test_a_long_job_starves_without_ageing_and_not_with_it(module):
    end = {}
    for ageing in (None, 5.0):
        config = module.Config(quantum_s=1.0, ageing_s=ageing)
        record = simulate(_flood(400), module.Scheduler(config), UNIT, Limits(batch=1))
        end[ageing] = next(job.finished_s for job in record.jobs if job.id == 0)
    assert end[None] > 400  # after the last of the others
    assert end[5.0] < 200


AGEING = {
    "mlfq": lambda: mlfq.Scheduler(mlfq.Config(quantum_s=1 / 64, ageing_s=0.25)),
    "fastserve": lambda: fastserve.Scheduler(fastserve.Config(quantum_s=1 / 64, ageing_s=0.25)),
    "fit": lambda: fastserve.Scheduler(fastserve.Config(quantum_s=1 / 64, ageing_s=0.25, demotion="fit")),
    "own": lambda: fastserve.Scheduler(fastserve.Config(quantum_s=1 / 64, ageing_s=0.25, charge="own")),
}


def longest_wait(trace, scheduler, batch):
    """-> the longest wait, the most jobs that were there at once, and the longest iteration."""
    since, longest, here = {}, 0.0, 0
    waits = []
    server = Server(scheduler, Limits(batch), Simulated(EXACT))
    jobs = [Job(one.id, one.arrival_s, one.prompt, one.output) for one in trace]

    def watch(start, chosen, count, seconds):
        nonlocal longest, here
        longest, here = max(longest, seconds / count), max(here, len(server.live))
        for job in chosen.jobs:
            waits.append(start - since.get(job.id, job.arrival_s))
            since[job.id] = start + seconds

    server.observer = watch
    for _ in rounds(server, jobs):
        pass
    return max(waits), here, longest


@pytest.mark.parametrize("name", AGEING)
@given(trace=traces(), batch=st.integers(1, 4))
@settings(max_examples=15)
def test_with_ageing_no_wait_exceeds_its_bound(name, trace, batch):
    """A + (queue length / B) * longest iteration, and the iteration in which the threshold A passes.

    From then on a job stands in the top queue, where whoever stands before it runs once: the quantum is less than any
    iteration. `batch` of them run at a time.
    """
    wait, here, longest = longest_wait(trace, AGEING[name](), batch)
    assert wait <= 0.25 + (here / batch + 1) * longest + 1e-9


@pytest.mark.parametrize("module", [mlfq, fastserve])
def test_without_ageing_the_bound_does_not_hold(module):
    """Negative control: the second token of a long prompt waits for all the short ones that come."""
    trace = [Request(0, 0.0, 400, 2), *(Request(n, n / 64, 1, 1) for n in range(1, 200))]
    config = module.Config(quantum_s=1 / 32, ageing_s=None)
    wait, here, longest = longest_wait(trace, module.Scheduler(config), 1)
    assert wait > 0.25 + (here + 1) * longest


@given(rows=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20))
def test_ordered_policies_sort(rows):
    jobs = [Job(n, 0.0, prompt, output) for n, (prompt, output) in enumerate(rows)]
    state = State(0.0, EXACT.prefill_s)
    for module, key in ((fixed_priority, lambda job: job.prompt), (srpt, srpt.remaining), (fcfs, lambda job: 0)):
        scheduler = module.Scheduler(module.Config())
        for job in jobs:
            scheduler.enter(job, state)
        assert list(scheduler.schedule(state)) == sorted(jobs, key=key)
        assert sorted(jobs, key=lambda job: scheduler.needed(job, state)) == sorted(jobs, key=key)


@given(steps=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), max_size=60))
def test_queues_against_lists(steps):
    queues, line = LevelQueues(), OrderedLine()
    queues.use(3)
    plain: list[list[Job]] = [[], [], [], []]
    jobs = [Job(n, 0.0, 1, 1) for n in range(10)]
    for number, level, moves in steps:
        job = jobs[number]
        is_in = any(job in one for one in plain)
        if is_in and moves:
            plain[job.level].remove(job)
            plain[level].append(job)
            queues.move(job, level)
            line.remove(job)
            line.push(job, (level,))
        elif is_in:
            queues.remove(job)
            line.remove(job)
            plain[job.level].remove(job)
        else:
            queues.push(job, level)
            line.push(job, (level,))
            plain[level].append(job)
        assert list(queues) == [job for one in plain for job in one]
        assert list(line) == [job for one in plain for job in sorted(one, key=lambda job: job.id)]
        assert len(queues) == len(line) == sum(map(len, plain))


def test_the_ageing_line_forgets_what_has_moved():
    line, jobs = AgeingLine(), [Job(n, 0.0, 1, 1) for n in range(3)]
    for job in jobs:
        line.extend([job])
    jobs[0].waiting_since_s += 1.0
    assert line.oldest() is jobs[1]
    for _ in range(1000):
        jobs[0].waiting_since_s += 1.0
        line.extend([jobs[0]])
    assert len(line.line) <= 64
    assert line.oldest() is jobs[1]
    assert line.take(1.0, 1.0) == []
    assert line.take(1.5, 1.0) == jobs[1:]
    assert line.oldest() is jobs[0]


@pytest.mark.parametrize(
    "wrong", [{"quantum_s": 0}, {"factor": 1.0}, {"ageing_s": 0.0}, {"levels": 0}, {"order": "lifo"}, {"charge": "no"}]
)
def test_a_config_refuses_what_has_no_meaning(wrong):
    with pytest.raises(ValueError, match="must be"):
        fastserve.Config(**wrong)

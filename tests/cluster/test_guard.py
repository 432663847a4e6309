"""Real processes: whatever happens to the best-effort one, the service beside it goes on serving."""

import multiprocessing as mp
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reference_impls.cluster.guard import (
    BusyError,
    Config,
    Context,
    End,
    after,
    best_effort,
    classify,
)

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
SPAWN = mp.get_context("spawn")
CONFIG = Config(wait_s=20.0)  # how long a busy machine may take; nothing here waits so long


def _work(path, how, told):
    """The best-effort process: steps of a millisecond; on the third it does what it is told to."""
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == 3:
            told.set()
            if how == "exception":
                raise RuntimeError("a bug of the job")
            if how == "abort":
                os.abort()
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "memory":
                bytearray(1 << 30)
            if how == "done":
                return False
        time.sleep(0.001)
        return True

    memory = 64 << 20 if how == "memory" else None
    os._exit(best_effort(step, Context(path), Config(memory_bytes=memory, wait_s=CONFIG.wait_s)))


def _serve(context, count):
    """The service: each request needs the context for a moment. -> requests served"""
    for _ in range(count):
        context.enter(CONFIG.wait_s, is_service=True)
        context.leave()
    return count


def start(context, how):
    told = SPAWN.Event()
    process = SPAWN.Process(target=_work, args=(context.path, how, told))
    process.start()
    assert told.wait(20)
    return process


@pytest.mark.parametrize(
    ("how", "number", "end"),
    [
        ("run", signal.SIGTERM, End.RELEASED),
        ("run", signal.SIGINT, End.RELEASED),
        ("done", None, End.DONE),
        ("exception", None, End.FAILED),
        ("memory", None, End.FAILED),
        ("abort", None, End.FAULT),
        ("kill", None, End.FAULT),
    ],
)
def test_the_service_outlives_every_end_of_its_neighbour(tmp_path, how, number, end):
    context = Context(tmp_path / "context")
    process = start(context, how)
    if number is not None:
        assert _serve(context, 20) == 20  # they take turns
        os.kill(process.pid, number)
    process.join(20)
    found = classify(process.exitcode)
    assert found is end
    action = after(found, 0, CONFIG)
    if action.reset:
        with pytest.raises(BusyError):  # negative control: without the reset the service would hang
            context.enter(0.05)
        assert context.reset(process.pid)
    assert _serve(context, 20) == 20


def test_a_reset_throws_out_only_the_dead(tmp_path):
    context = Context(tmp_path / "context")
    context.enter(1.0)
    assert not context.reset(os.getpid() + 1)
    assert context.owner() == os.getpid()
    assert context.reset(os.getpid())
    assert context.owner() is None


def test_a_neighbour_that_is_back_at_once_still_comes_after_the_service(tmp_path):
    context, order = Context(tmp_path / "context"), []

    def service():
        context.enter(20.0, is_service=True)
        order.append("service")
        context.leave()

    context.enter(1.0)  # the neighbour's step
    with ThreadPoolExecutor() as pool:
        served = pool.submit(service)
        while not context.bell.exists():
            assert not served.done()
        context.leave()
        context.enter(20.0)
        order.append("neighbour")
    assert order == ["service", "neighbour"]
    assert not context.bell.exists()


def test_a_service_that_died_before_the_door_is_reset_too(tmp_path):
    context = Context(tmp_path / "context")
    context.bell.write_text(str(os.getpid() + 1))
    with pytest.raises(BusyError):
        context.enter(0.01)  # nobody is inside, and yet
    assert context.reset(os.getpid() + 1)
    context.enter(0.01)


def test_a_service_that_gives_up_leaves_no_bell(tmp_path):
    context = Context(tmp_path / "context")
    context.enter(1.0)
    with pytest.raises(BusyError):
        context.enter(0.01, is_service=True)
    assert not context.bell.exists()


def test_this_process_can_still_allocate_what_the_capped_one_could_not():
    assert len(bytearray(128 << 20)) == 128 << 20


def test_what_a_supervisor_does():
    config = Config(most_restarts=2)
    assert [after(end, 0, config).restart for end in End] == [False, False, True, True]
    assert [after(end, 2, config).restart for end in End] == [False] * 4
    assert [after(end, 0, config).reset for end in End] == [False, False, False, True]
    assert classify(-signal.SIGSEGV) is End.FAULT
    assert classify(1) is End.FAULT  # an end that nobody announced

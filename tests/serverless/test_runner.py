"""Instances: phases add up, limits hold, failures are told apart, and nothing stays."""

import os
import time

import pytest

from reference_impls.serverless import Config, EventError, cpu_share
from reference_impls.serverless.data_security import canary_test
from reference_impls.serverless.fork_server import ForkServer
from reference_impls.serverless.runner import Function, Instance, StartFailedError, one_life

HANDLERS = "tests.serverless.handlers:"


def function(name, **config):
    return Function(HANDLERS + name, config=Config(**{"timeout_s": 60.0} | config))


@pytest.fixture(scope="module")
def server():
    with ForkServer(HANDLERS + "CountsImports") as running:
        yield running


def test_phases_add_up_to_the_total():
    life = one_life(function("Words"), {"text": "one two three"})
    assert life.answer.result == ["ONE", "TWO", "THREE"]
    assert life.phases.total_s == pytest.approx(life.total_s, rel=0.02)
    assert life.phases.cold_start_s < life.phases.total_s
    assert min(vars(life.phases).values()) >= 0


def test_a_fork_imports_once_and_answers_alike(server):
    parents, children = set(), set()
    for _ in range(2):
        with Instance(function("CountsImports"), server.launch) as instance:
            imported_in, own = instance.invoke({"text": ""}).result
            children.add(own)
            parents.add(imported_in)
    assert len(children) == 2
    assert one_life(function("Words"), {"text": "a b"}, server.launch).answer.result == ["A", "B"]
    assert all(_is_gone(one) for one in children)


def _is_gone(pid):
    """The pipe closes a moment before the process is buried."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_the_callers_mistake_and_the_functions_are_told_apart(server):
    with Instance(function("Words"), server.launch) as instance:
        refused = instance.invoke({"text": 3})
        assert (refused.error, refused.message) == (EventError.__name__, "text must be a text")
        assert instance.invoke({"text": "still here"}).result == ["STILL", "HERE"]
    with Instance(function("Misbehaving"), server.launch) as instance:
        failed = instance.invoke({"do": "fail"})
        assert failed.error == "RuntimeError"
        assert "secret" not in failed.message


def test_a_slow_answer_ends_the_instance(server):
    with Instance(function("Misbehaving"), server.launch) as instance:
        object.__setattr__(instance.function.config, "timeout_s", 0.2)
        assert instance.invoke({"do": "sleep", "seconds": 60}).error == "Timeout"
        assert _is_gone(instance.pid)


def test_memory_is_limited_and_death_is_noticed(server):
    with Instance(function("Misbehaving", memory_mb=600), server.launch) as instance:
        assert instance.invoke({"do": "allocate", "mb": 100}).error is None
        assert instance.invoke({"do": "allocate", "mb": 900}).error == "MemoryError"
        assert instance.invoke({"do": "die"}).error == "InstanceDied"


def test_an_instance_that_cannot_load_says_why(server):
    with pytest.raises(StartFailedError, match="OSError: no such file"):
        Instance(function("FailsToLoad"), server.launch)
    with pytest.raises(StartFailedError, match="AttributeError"):
        Instance(function("Missing"), server.launch)


def test_a_quota_bounds_the_time_on_the_processor(server):
    shares = {}
    for memory in (177, 1769):
        config = function("Misbehaving", memory_mb=memory)
        with Instance(config, server.launch) as instance:
            [used, _] = instance.invoke({"do": "spin", "seconds": 0.6}).result
            shares[memory] = used / 0.6
    assert shares[177] <= 0.1 * 1.5  # timers of a busy machine wake late; a late stop is followed by a late start
    assert shares[1769] > shares[177]


@pytest.mark.parametrize(("name", "answers", "memory"), [("Words", 0, 0), ("Leaky", 3, 0), ("Silent", 0, 3)])
def test_the_canary_finds_a_warm_instance_that_remembers(server, name, answers, memory):
    with Instance(function(name), server.launch) as instance:
        leak = canary_test(lambda text: str(instance.invoke({"text": text}).result), instance.remembers)
    assert (leak.answers, leak.memory) == (answers, memory)


def test_the_share_of_a_core_follows_memory():
    assert [cpu_share(memory) for memory in (1769, 3008, 884.5)] == [1.0, 1.0, 0.5]
    with pytest.raises(ValueError, match="memory_mb"):
        Config(memory_mb=0)
    with pytest.raises(ValueError, match="format"):
        Config(format="npz")

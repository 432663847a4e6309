"""A local platform: each instance of a function is a process under limits, and every phase of its life is timed.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names performance; the runner is ours).
Idea: a cold start is process, imports, weights, first token; then come later tokens and the end. Each is timed by who
    can see it: the start and the end by the platform, the rest by the instance.
Symbols: nothing beyond the phases' names.
Simplified: a process instead of a container or a virtual machine, so its start is the lower end of what platforms need;
    memory is RLIMIT_AS, which counts mapped files and libraries; the quota is a duty cycle (`cpu_quota`).
Differs: the paper describes no mechanism.
Cost: that of the function; a few messages an invocation.
Checked against: the clock outside, which the phases must add up to; handlers that break each limit.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import reference_impls
from reference_impls.serverless import Config, Event
from reference_impls.serverless.channel import Channel, ClosedError
from reference_impls.serverless.cpu_quota import DutyCycle

ROOT = Path(reference_impls.__file__).parents[1]


@dataclass(frozen=True)
class Function:
    """What is deployed. handler: "package.module:Class"; model: the file of its weights; options: for its `load`.

    limits_memory: off for handlers of a GPU, whose driver reserves address space for all of its memory.
    """

    handler: str
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Config = field(default_factory=Config)
    limits_memory: bool = True


@dataclass(frozen=True)
class Phases:
    """Seconds of one life, in their order."""

    process_s: float
    imports_s: float
    load_s: float
    first_s: float
    later_s: float
    teardown_s: float

    @property
    def cold_start_s(self) -> float:
        """Up to the first token, which is what a caller waits for."""
        return self.process_s + self.imports_s + self.load_s + self.first_s

    @property
    def total_s(self) -> float:
        """The sum of all."""
        return float(sum(asdict(self).values()))


@dataclass(frozen=True)
class Answer:
    """Of one invocation. error: the name of what went wrong, "Timeout" and "InstanceDied" among them."""

    result: list[Any] | None
    first_s: float = 0.0
    later_s: float = 0.0
    peak_memory_mb: float = 0.0
    error: str | None = None
    message: str = ""

    @property
    def latency_s(self) -> float:
        """Seconds in the handler."""
        return self.first_s + self.later_s


class StartFailedError(Exception):
    """The instance never became ready; the message says in which way."""


class Instance:
    """One warm process. Use it in a `with`; leaving ends it."""

    def __init__(self, function: Function, launch: "Launch | None" = None) -> None:
        self.function = function
        ours, theirs = socket.socketpair()
        start = time.perf_counter()
        self.wait, self.kill = (launch or spawn)(theirs)
        theirs.close()
        self.channel = Channel(ours)
        self.quota: DutyCycle | None = None
        self.closed = False
        try:
            self._become_ready(start)
        except BaseException:
            self.kill()
            self.close()
            raise

    def _become_ready(self, start: float) -> None:
        config = self.function.config
        try:
            self.pid = int(self.channel.receive(config.timeout_s).get("pid", 0)) or self.kill.pid
            self.process_s = time.perf_counter() - start
            if config.cpu_share < 1:
                self.quota = DutyCycle(self.pid, config.cpu_share)
                self.quota.__enter__()
            ordered = time.perf_counter()
            self.channel.send(self._order())
            ready = self.channel.receive(max(0.01, config.timeout_s - self.process_s))
        except TimeoutError as error:
            raise StartFailedError(f"Timeout: not ready within {config.timeout_s} s") from error
        except ClosedError as error:
            raise StartFailedError("InstanceDied: the process ended while it started") from error
        if ready["phase"] == "failed":
            raise StartFailedError(f"{ready['error']}: {ready['message']}")
        self.imports_s = float(ready["imports_s"])
        self.load_s = time.perf_counter() - ordered - self.imports_s  # with the messages, which a caller waits for too

    def _order(self) -> dict[str, Any]:
        one = self.function
        return {
            "handler": one.handler,
            "model": one.model,
            "options": dict(one.options),
            "memory_mb": one.config.memory_mb if one.limits_memory else None,
        }

    def invoke(self, event: Event) -> Answer:
        """Ask and wait, at most for the configured time; an instance that takes longer is ended."""
        try:
            self.channel.send({"event": dict(event)})
            return Answer(**({"result": None} | self.channel.receive(self.function.config.timeout_s)))
        except TimeoutError:
            self.kill()
            self.close()
            return Answer(None, error="Timeout", message=f"no answer within {self.function.config.timeout_s} s")
        except ClosedError:
            self.close()
            return Answer(None, error="InstanceDied")

    def remembers(self, needle: str) -> bool:
        """Whether the handler or its module still holds this text: for `data_security.canary_test`."""
        self.channel.send({"probe": needle})
        return bool(self.channel.receive(self.function.config.timeout_s)["holds"])

    def close(self) -> float:
        """End the process. -> seconds until it was gone"""
        start = time.perf_counter()
        if self.quota is not None:
            self.quota.__exit__(None, None, None)
            self.quota = None
        if not self.closed:
            self.closed = True
            self.channel.close()
            self.wait()
        return time.perf_counter() - start

    def __enter__(self) -> "Instance":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Kill:
    """Ends the process at once. pid: 0 where the instance itself must tell it."""

    def __init__(self, end: Callable[[], object], pid: int) -> None:
        self.end, self.pid = end, pid

    def __call__(self) -> None:
        """At once."""
        self.end()


Launch = Callable[[socket.socket], tuple[Callable[[], object], Kill]]
"""The instance's end of the channel -> how to wait for its end, and how to force it."""
GRACE_S = 5.0


def spawn(theirs: socket.socket) -> tuple[Callable[[], object], Kill]:
    """A new interpreter: the plain way to start."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "reference_impls.serverless.worker", str(theirs.fileno())]
    process = subprocess.Popen(
        command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def wait() -> None:
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    return wait, Kill(process.kill, process.pid)


@dataclass(frozen=True)
class Life:
    """One instance from nothing to nothing with one invocation: its phases, and the total by the clock outside."""

    phases: Phases
    total_s: float
    answer: Answer


def one_life(function: Function, event: Event, launch: Launch | None = None) -> Life:
    """A cold start, one answer, the end. Raises StartFailedError, also where the answer is an error."""
    start = time.perf_counter()
    with Instance(function, launch) as instance:
        asked = time.perf_counter()
        answer = instance.invoke(event)
        first = time.perf_counter() - asked - answer.later_s
        if answer.error:
            raise StartFailedError(f"{answer.error}: {answer.message}")
        teardown = instance.close()
        total = time.perf_counter() - start
    phases = Phases(instance.process_s, instance.imports_s, instance.load_s, first, answer.later_s, teardown)
    return Life(phases, total, answer)

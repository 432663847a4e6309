"""Faults and memory of a best-effort process, kept from the service beside it: real processes and real signals.

Paper: arXiv 2303.13803, mixed error handling; which error gets which treatment is recalled, the mechanism here is ours.
Idea: frequent, benign ends (TERM, INT, an exception) give back what they hold by themselves; rare ones (abort, a fault,
    KILL) cannot, so a supervisor takes back the shared context and starts the job again.
Symbols: the context is a file that names who is inside, as a client of a shared GPU context would be.
Simplified: processes on a host, where the paper has clients of a shared CUDA context; a cap on address space.
Differs: the paper caps GPU memory by intercepting allocations; here the kernel refuses them (RLIMIT_AS).
Cost: a file made and removed each step.
Checked against: TERM, INT, an exception, an abort and KILL, each sent to a process while another one serves.
"""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FrameType


@dataclass(frozen=True)
class Config:
    """memory_bytes: what the best-effort process may allocate beyond what it has at its start, None for no cap."""

    memory_bytes: int | None = None
    wait_s: float = 5.0  # for the context, before giving up
    most_restarts: int = 3


class End(Enum):
    """How a best-effort process ended."""

    DONE = "done"
    RELEASED = "released"  # asked to stop, and gave back what it held
    FAILED = "failed"  # an exception: gave back what it held
    FAULT = "fault"  # died inside


RELEASED_CODE, FAILED_CODE = 75, 76


class BusyError(TimeoutError):
    """Nobody left the context in time."""


@dataclass(frozen=True)
class Context:
    """What both processes need for each step, and can only use in turn, the service first."""

    path: Path

    @property
    def bell(self) -> Path:
        """What the service rings while it waits: without it, a neighbour that leaves and is back at once starves it."""
        return self.path.with_name(f"{self.path.name}.bell")

    def enter(self, wait_s: float, is_service: bool = False) -> None:
        """Wait until nobody is inside, nor the service before the door. Raises BusyError when it takes too long."""
        limit = time.monotonic() + wait_s
        if is_service:
            _take(self.bell)
        try:
            while (not is_service and self.bell.exists()) or not _take(self.path):
                if time.monotonic() > limit:
                    raise BusyError(f"{self.path}: held by process {self.owner()}")
                time.sleep(0.001)
        finally:
            if is_service:
                self.bell.unlink(missing_ok=True)

    def leave(self) -> None:
        """Let the next one in."""
        self.path.unlink(missing_ok=True)

    def owner(self) -> int | None:
        """The process inside."""
        return _holder(self.path)

    def reset(self, dead: int) -> bool:
        """Throw out a process that died inside, or before the door. -> whether it was there"""
        held = [path for path in (self.path, self.bell) if _holder(path) == dead]
        for path in held:
            path.unlink(missing_ok=True)
        return bool(held)


def _take(path: Path) -> bool:
    """Write this process's number into a file that nobody else has made. -> whether that was so"""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    os.write(handle, str(os.getpid()).encode())
    os.close(handle)
    return True


def _holder(path: Path) -> int | None:
    try:
        return int(path.read_text() or 0) or None
    except (FileNotFoundError, ValueError):
        return None


def cap_memory(extra_bytes: int) -> None:
    """From now on this process fails to allocate more than so much beyond what it has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def best_effort(step: Callable[[], bool], context: Context, config: Config) -> int:
    """The body of a best-effort process: steps until one returns False. -> its exit code

    TERM and INT end it after the step in progress; an exception ends it too; both leave the context free.
    """
    asked: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, remember)
    if config.memory_bytes is not None:
        cap_memory(config.memory_bytes)
    try:
        while not asked:
            context.enter(config.wait_s)
            try:
                more = step()
            finally:
                context.leave()
            if not more:
                return 0
    except Exception:  # noqa: BLE001 whatever a stranger's job raises must not reach the service
        return FAILED_CODE
    return RELEASED_CODE


def classify(exit_code: int) -> End:
    """What an exit code says. Negative codes are signals, as subprocess and multiprocessing have them."""
    known = {0: End.DONE, RELEASED_CODE: End.RELEASED, FAILED_CODE: End.FAILED}
    return known.get(exit_code, End.FAULT)


@dataclass(frozen=True)
class Action:
    """What the supervisor does after an end."""

    reset: bool
    restart: bool


def after(end: End, restarts: int, config: Config) -> Action:
    """Benign ends need nothing; a failed job is not tried again for ever; a fault resets the context first."""
    again = end in (End.FAILED, End.FAULT) and restarts < config.most_restarts
    return Action(reset=end is End.FAULT, restart=again)

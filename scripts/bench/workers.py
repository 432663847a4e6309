"""Values that depend on nothing but a model and a text, computed by several processes of this machine at once.

Cases that differ in their metric alone go to the same process, one after another: they share what they prepare, such as
a quantized model. The parent alone writes; what a worker died of is left to the parent.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

import torch

from reference_impls.measurement.case import Case, Ceilings
from scripts.bench.runner import Budget, CaseResult, run_case


@dataclass(frozen=True)
class Job:
    """What every worker is told: where the cases come from, and how they are run."""

    find_cases: Callable[[], list[Case]]
    device: str
    threads: int
    ceilings: Ceilings
    budget: Budget


def groups_of(cases: Sequence[Case]) -> list[list[str]]:
    """The ids of cases, those together that differ in the metric alone, in the order in which they come."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(case.id.rpartition("/")[0], []).append(case.id)
    return [*groups.values()]


def compute(cases: Sequence[Case], job: Job, workers: int) -> Iterator[tuple[str, CaseResult]]:
    """-> (case id, its result), as they finish; the group that a worker died of does not come.

    Stopping the iteration, by an exception too, ends the workers.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share torch's threads
    waiting = groups_of(cases)[::-1]
    processes: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(min(workers, len(waiting))):
            ours, theirs = context.Pipe()
            processes[ours] = context.Process(target=_work, args=(theirs, job), daemon=True)
            processes[ours].start()
            theirs.close()  # the worker's copy is then the only one: its end is seen here
        while processes:
            for ready in wait([*processes]):
                connection = cast(Connection, ready)
                try:
                    told = connection.recv()
                    if told is None:
                        connection.send(waiting.pop() if waiting else None)
                    else:
                        yield told
                except (EOFError, OSError):
                    processes.pop(connection).join()
    finally:
        for process in processes.values():
            process.terminate()


def _work(connection: Connection, job: Job) -> None:
    """Ask for a group, run it, tell each result as it is there; until there is no group left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(job.threads)
    known = {case.id: case for case in job.find_cases()}
    connection.send(None)
    while group := connection.recv():
        for case in group:
            connection.send((case, run_case(known[case], job.device, job.ceilings, job.budget)))
        connection.send(None)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)

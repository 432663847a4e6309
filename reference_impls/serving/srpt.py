"""Shortest remaining processing time: the bound that no policy without an oracle can reach.

Paper: "A Proof of the Optimality of the Shortest Remaining Processing Time Discipline" (Schrage, 1968).
Idea: always serve whatever is nearest to its end.
Symbols: nothing.
Simplified: remaining work is counted in iterations: tokens still to come, and one for a prompt not yet read.
Differs: it reads the output length, which no server knows. The proof is for one server that may stop a job at any
    moment; with several slots, or prompts that cannot be stopped, it is only a strong policy.
Cost: a sort of the batch for each iteration; a search and one block copy for each job that joins or leaves it.
Checked against: the smallest mean over all policies on single-slot traces; sorting the jobs that wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import merge
from itertools import chain

from reference_impls.serving import Batch, Job, State
from reference_impls.serving.queues import OrderedLine, Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def remaining(job: Job) -> int:
    """Iterations until the job is done, if its prompt is passed whole."""
    return job.output - job.generated


def entry(job: Job) -> tuple[tuple[int, float], int, Job]:
    """As the line keeps it: what is left and the arrival, the number that breaks ties, and the job."""
    return (job.output - job.generated, job.arrival_s), job.id, job


class Scheduler(Unchanging):
    """Those that run, in their order, and a line of those that wait, whose place does not change meanwhile."""

    preempts = True

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.running: list[Job] = []
        self.line = OrderedLine()

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Stand behind all that have less left."""
        self.line.push(job, entry(job)[0])

    def leave(self, job: Job) -> None:
        """Go."""
        if job.id in self.line.keys:
            self.line.remove(job)
        else:
            self.running.remove(job)

    def schedule(self, state: State) -> Iterable[Job]:  # noqa: ARG002
        """Whatever ends soonest first."""
        running, waiting = self.running, self.line
        if not running or not waiting.line or entry(running[-1]) < waiting.line[0]:
            return chain(running, waiting)
        return (job for _, _, job in merge(map(entry, running), waiting.line))

    def ran(self, batch: Batch, seconds: float, state: State) -> None:  # noqa: ARG002
        """Less is left of what ran; it stays out of the line until it has to wait."""
        if batch.jobs == self.running and not batch.prefill_tokens:
            return  # as much less of each
        waiting = self.line.keys
        for job in batch.jobs:
            if job.id in waiting:
                self.line.remove(job)
        members = {job.id for job in batch.jobs}
        for job in self.running:
            if job.id not in members:
                self.line.push(job, entry(job)[0])
        self.running = [job for _, _, job in sorted(map(entry, batch.jobs))]

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """What has most left gives way first."""
        return remaining(job), job.arrival_s, job.id

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

from reference_impls.serving import Batch, Job, State
from reference_impls.serving.queues import OrderedLine, Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def remaining(job: Job) -> int:
    """Iterations until the job is done, if its prompt is passed whole."""
    return job.output - job.generated


Entry = tuple[tuple[int, float], int, Job]
"""What is left and the arrival, the number that breaks ties, and the job."""


def entry(job: Job) -> Entry:
    """As the line keeps it."""
    return (job.output - job.generated, job.arrival_s), job.id, job


class Scheduler(Unchanging):
    """Those that run, whose place changes, and a line of those that wait, whose place does not."""

    preempts = True

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.running: list[Entry] = []
        self.line = OrderedLine()

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Stand behind all that have less left."""
        self.line.push(job, entry(job)[0])

    def leave(self, job: Job) -> None:
        """Go."""
        if job.id in self.line.keys:
            self.line.remove(job)
        self.running = [one for one in self.running if one[2] is not job]

    def schedule(self, state: State) -> Iterable[Job]:  # noqa: ARG002
        """Whatever ends soonest first."""
        return (job for _, _, job in merge(self.running, self.line.line))

    def ran(self, batch: Batch, seconds: float, state: State) -> None:  # noqa: ARG002
        """Less is left of what ran; it stays out of the line until it has to wait."""
        waiting = self.line.keys
        for job in batch.jobs:
            if job.id in waiting:
                self.line.remove(job)
        now_running = sorted([entry(job) for job in batch.jobs])
        members = {job.id for job in batch.jobs}
        for _, number, job in self.running:
            if number not in members:
                self.line.push(job, entry(job)[0])
        self.running = now_running

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """What has most left gives way first."""
        return remaining(job), job.arrival_s, job.id

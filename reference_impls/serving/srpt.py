"""Shortest remaining processing time: the bound that no policy without an oracle can reach.

Paper: "A Proof of the Optimality of the Shortest Remaining Processing Time Discipline" (Schrage, 1968).
Idea: always serve whatever is nearest to its end.
Symbols: nothing.
Simplified: remaining work is counted in iterations: tokens still to come, and one for a prompt not yet read.
Differs: it reads the output length, which no server knows. The proof is for one server that may stop a job at any
    moment; with several slots, or prompts that cannot be stopped, it is only a strong policy.
Cost: a search and one block copy for each member of each iteration.
Checked against: the smallest mean over all policies on single-slot traces; sorting the jobs that wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reference_impls.serving import Batch, Job, State
from reference_impls.serving.queues import OrderedLine, Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


def remaining(job: Job) -> int:
    """Iterations until the job is done, if its prompt is passed whole."""
    return job.output - job.generated


class Scheduler(Unchanging):
    """A line ordered by what is left."""

    preempts = True

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.line = OrderedLine()

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Stand behind all that have less left."""
        self.line.push(job, (remaining(job), job.arrival_s))

    def leave(self, job: Job) -> None:
        """Go."""
        self.line.remove(job)

    def schedule(self, state: State) -> Iterable[Job]:  # noqa: ARG002
        """Whatever ends soonest first."""
        return self.line

    def ran(self, batch: Batch, seconds: float, state: State) -> None:  # noqa: ARG002
        """Less is left of what ran."""
        for job in batch.jobs:
            self.line.remove(job)
            self.line.push(job, (remaining(job), job.arrival_s))

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """What has most left gives way first."""
        return remaining(job), job.arrival_s, job.id

"""Fixed priorities by input length: the shortest prompt first, whatever its answer will cost.

Paper: arXiv 2305.05920 (FastServe), evaluation: a baseline.
Idea: the prompt's length is the only length known on arrival.
Symbols: nothing.
Simplified: nothing.
Differs: the paper does not say how ties are broken; here by arrival.
Cost: a search and one block copy for each arrival and end.
Checked against: sorting the jobs that wait.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reference_impls.serving import Job, State
from reference_impls.serving.queues import OrderedLine, Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


class Scheduler(Unchanging):
    """A line ordered by prompt length."""

    preempts = True

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.line = OrderedLine()

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Stand behind all shorter prompts."""
        self.line.push(job, (job.prompt, job.arrival_s))

    def leave(self, job: Job) -> None:
        """Go."""
        self.line.remove(job)

    def schedule(self, state: State) -> Iterable[Job]:  # noqa: ARG002
        """Short prompts first."""
        return self.line

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """Long prompts give way first."""
        return job.prompt, job.arrival_s, job.id

"""First come, first served, with continuous batching: a slot that falls free is filled at the next iteration.

Paper: "Orca: A Distributed Serving System for Transformer-Based Generative Models", sections 3.1 and 4.1.
Idea: decide anew after every iteration; who has finished leaves at once, and who waits longest takes the slot.
Symbols: nothing.
Simplified: one model replica; no pipelining of several batches.
Differs: Orca reserves cache for the longest possible output on admission; here blocks are taken as the output grows,
    and the latest arrival gives its own up when they run out, as vLLM does (arXiv 2309.06180, section 4.5).
Cost: constant time for each member of the batch.
Checked against: a hand-worked trace; each request's tokens equal those it gets alone.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from reference_impls.serving import Job, State
from reference_impls.serving.queues import Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose."""


class Scheduler(Unchanging):
    """One queue in the order of arrival."""

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.queue: OrderedDict[int, Job] = OrderedDict()

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Stand at the end."""
        self.queue[job.id] = job

    def leave(self, job: Job) -> None:
        """Go."""
        del self.queue[job.id]

    def schedule(self, state: State) -> Iterable[Job]:  # noqa: ARG002
        """The oldest first: those that run are older than those that wait."""
        return self.queue.values()

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """The latest arrival gives way first."""
        return job.arrival_s, job.id

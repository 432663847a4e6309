"""First come, first served, a whole batch at a time: the next batch forms when the last member of this one is done.

Paper: "Orca: A Distributed Serving System for Transformer-Based Generative Models", section 2 (what it improves on).
Idea: hand the engine a batch and wait until it returns.
Symbols: nothing.
Simplified: each answer leaves when its own last token is there and is not held until the batch is done; short members
    are not padded, so an empty slot costs nothing but its emptiness.
Differs: nothing else.
Cost: constant time for each member; slots stay empty from a member's end to that of the longest.
Checked against: a hand-worked trace.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from reference_impls.serving import Job, State
from reference_impls.serving.queues import Unchanging


@dataclass(frozen=True)
class Config:
    """Nothing to choose: the batch size is the server's."""


class Scheduler(Unchanging):
    """One queue, and the batch that is being served."""

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.queue: OrderedDict[int, Job] = OrderedDict()
        self.members: dict[int, Job] = {}

    def enter(self, job: Job, state: State) -> None:  # noqa: ARG002 the face has it
        """Wait for a batch."""
        self.queue[job.id] = job

    def leave(self, job: Job) -> None:
        """Go; the slot stays empty."""
        if self.members.pop(job.id, None) is None:
            del self.queue[job.id]

    def schedule(self, state: State) -> Iterable[Job]:
        """What is left of the batch; a new one if nothing is."""
        if not self.members:
            self.members = dict(islice(self.queue.items(), state.batch))
            for member in self.members:
                del self.queue[member]
        return self.members.values()

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """The latest arrival gives way first."""
        return job.arrival_s, job.id

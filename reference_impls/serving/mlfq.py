"""The multi-level feedback queue: all enter at the top and sink while they run, so that what is short ends first.

Paper: "An Experimental Time-Sharing System" (Corbató, Merwin-Daggett and Daley, 1962); arXiv 2305.05920, section 4.1.
Idea: time used so far foretells time still needed when lengths are long-tailed; no length has to be known.
Symbols: q_k = quantum_s * factor**k, the time a job may use in level k; level 0 is the highest.
Simplified: levels appear without end unless `levels` says how many.
Differs: the released FastServe looks for jobs to promote every 1,000 iterations; here after each.
Cost: constant time for each member of the batch, and for each job that rises: where all that wait have come at once,
    they rise at once, and that one decision moves them all.
Checked against: a hand-worked trace; a job starves without ageing and none does with it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from reference_impls.serving import Batch, Job, State
from reference_impls.serving.queues import AgeingLine, LevelQueues


@dataclass(frozen=True)
class Config:
    """quantum_s: of the highest level; ageing_s: a wait after which a job returns to the top, None for never."""

    quantum_s: float = 0.01
    factor: float = 2.0
    ageing_s: float | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        if self.quantum_s <= 0 or self.factor <= 1:
            raise ValueError(f"quantum_s must be above 0 and factor above 1, got {self.quantum_s} and {self.factor}")
        if self.ageing_s is not None and self.ageing_s <= 0:
            raise ValueError(f"ageing_s must be above 0 or None, got {self.ageing_s}")
        if self.levels is not None and self.levels < 1:
            raise ValueError(f"levels must be at least 1 or None, got {self.levels}")

    def quantum(self, level: int) -> float:
        """q_k; the lowest level of a limited number has no end."""
        last = self.levels is not None and level >= self.levels - 1
        return float("inf") if last else self.quantum_s * self.factor**level


class Scheduler:
    """Levels of queues, and a line of those that wait below the top, by how long."""

    preempts = True

    def __init__(self, config: Config = Config()) -> None:
        self.config = config
        self.queues = LevelQueues()
        self.ageing = AgeingLine()
        self._quanta: list[float] = []  # of each level that was ever used
        self._ran_last: list[Job] = []

    def entry_level(self, job: Job, state: State) -> int:  # noqa: ARG002 what inherits looks at them
        """Where a new job begins: at the top."""
        return 0

    def levels_down(self, job: Job, state: State) -> int:  # noqa: ARG002
        """How far a job falls that has used up its quantum."""
        return 1

    def charge(self, job: Job, tokens: int, batch: Batch, seconds: float, state: State) -> float:  # noqa: ARG002
        """The time that counts as used by one member of an iteration with prompts: all of it."""
        return seconds

    def enter(self, job: Job, state: State) -> None:
        """Begin to wait."""
        level = self.entry_level(job, state)
        self._use(level)
        self.queues.push(job, level)
        job.left_s = self._quanta[level]
        job.waiting_since_s = job.arrival_s
        if level and self.config.ageing_s is not None:
            self.ageing.extend([job])

    def leave(self, job: Job) -> None:
        """Go."""
        self.queues.remove(job)
        job.waiting_since_s = float("inf")
        if job in self._ran_last:
            self._ran_last.remove(job)

    def schedule(self, state: State) -> Iterable[Job]:
        """Level by level, each in its order, after those have risen that waited too long."""
        if self.config.ageing_s is not None:
            self._promote(state.now, self.config.ageing_s)
        return self.queues

    def ran(self, batch: Batch, seconds: float, state: State) -> None:
        """Charge every member, and move down those that have used up their quantum."""
        now, over = state.now, []
        if batch.prefill_tokens:
            for job, tokens in zip(batch.jobs, batch.tokens, strict=True):
                job.left_s -= self.charge(job, tokens, batch, seconds, state)
                job.waiting_since_s = now
                if job.left_s < 0:
                    over.append(job)
        else:  # the same without a call for each member
            for job in batch.jobs:
                job.left_s = left = job.left_s - seconds
                job.waiting_since_s = now
                if left < 0:
                    over.append(job)
        for job in over:
            self._sink(job, state)
        if self.config.ageing_s is not None:
            self._note_waits(batch, now)

    def _sink(self, job: Job, state: State) -> None:
        level = job.level + self.levels_down(job, state)
        if level >= len(self._quanta):
            self._use(level)
        self.queues.move(job, level)
        job.left_s = self._quanta[level]
        job.demotions += 1

    def patience(self, batch: Batch, state: State) -> float:
        """Until the first member has used up its quantum, or the oldest waiting job is to rise."""
        left = min([job.left_s for job in batch.jobs])
        if self.config.ageing_s is None:
            return left
        oldest = self.ageing.oldest()
        return left if oldest is None else min(left, oldest.waiting_since_s + self.config.ageing_s - state.now)

    def needed(self, job: Job, state: State) -> tuple[float, ...]:  # noqa: ARG002
        """Whatever lies lowest, and last there, gives way first."""
        return job.level, job.turn

    def _note_waits(self, batch: Batch, now: float) -> None:
        """Whoever ran before and did not run now has waited since: they join the line of those that age."""
        self.ageing.extend([job for job in self._ran_last if job.waiting_since_s != now and job.level])
        self._ran_last = [*batch.jobs]

    def _use(self, level: int) -> None:
        """Make sure of a level, and of all above it."""
        while len(self._quanta) <= level:
            self._quanta.append(self.config.quantum(len(self._quanta)))
        self.queues.use(level)

    def _promote(self, now: float, after_s: float) -> None:
        """To the top, where there is nowhere to rise to, so that they are not in the line that ages."""
        risen = self.ageing.take(now, after_s)
        self.queues.move_all(risen, 0)
        for job in risen:
            job.left_s = self._quanta[0]
            job.waiting_since_s = now
            job.promotions += 1

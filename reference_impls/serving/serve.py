"""The loop of continuous batching: admit, order, compose, run, charge; the same for a simulation and a real model.

Paper: "Orca: A Distributed Serving System for Transformer-Based Generative Models", section 3.1.
Idea: the scheduler is asked anew for every iteration, so requests come and go between any two tokens.
Symbols: nothing.
Simplified: time is that of the executor's iterations; while nothing runs it moves on to the next arrival at once.
Differs: decisions that cannot change for some iterations are not taken again, where the executor can say how long
    those iterations are.
Cost: constant time for each member of the batch, beside the policy's own.
Checked against: hand-worked traces; the same run with every decision taken.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from reference_impls.serving import Batch, Job, Limits, Request, Scheduler, State
from reference_impls.serving.chunked_prefill import compose, counted
from reference_impls.serving.kv_swap import Space

Observer = Callable[[float, Batch, int, float], None]
"""(start, batch, iterations, seconds)."""


class Executor(Protocol):
    """Who does the work of an iteration. begin: a decision is about to be taken (a real clock starts here)."""

    def begin(self) -> None:
        """A round begins."""

    def refuses(self, job: Job) -> str:
        """Why it can never run here; empty for what can."""

    def recall(self, job: Job) -> None:
        """What is known of its prompt may count as cached: asked on arrival and when it may begin. Takes no memory."""

    def run(self, batch: Batch, most: int, until_s: float) -> tuple[int, float, float]:
        """Run once, or up to `most` times until `until_s` seconds have passed, the iteration that passes them included.

        -> iterations, seconds of the first, seconds of all
        """

    def prefill_s(self, tokens: int) -> float:
        """Predicted seconds of an iteration with so many tokens of one job."""

    def finish(self, job: Job) -> None:
        """The job has ended or was cancelled."""


@dataclass
class Record:
    """What a run leaves: jobs in the order of their ends, and gaps between tokens as (seconds, how many).

    refused: jobs that could never fit; their `refused` says why, and they are not among `jobs`.
    """

    jobs: list[Job] = field(default_factory=list)
    refused: list[Job] = field(default_factory=list)
    gaps: list[tuple[float, int]] = field(default_factory=list)
    iterations: int = 0
    token_steps: int = 0
    decisions: int = 0
    stalled_s: float = 0.0
    end_s: float = 0.0


class RefusedError(ValueError):
    """A request that could never fit."""


class Server:
    """One replica. `step` runs one decision; `serve` a whole trace."""

    def __init__(
        self,
        scheduler: Scheduler,
        limits: Limits,
        executor: Executor,
        space: Space | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.scheduler, self.limits, self.executor, self.space = scheduler, limits, executor, space
        self.observer = observer
        self.state = State(0.0, executor.prefill_s, limits.batch)
        self.record = Record()
        self.live: dict[int, Job] = {}
        self._last = Batch()
        self._ended_s = 0.0  # when the last iteration did
        self._same = False  # whether nobody has come or gone since

    def submit(self, job: Job) -> None:
        """A request arrives. RefusedError, and nothing has changed, for what could never fit."""
        why = self._refuses(job) or self.executor.refuses(job)
        if why:
            raise RefusedError(f"request {job.id} {why}")
        self.live[job.id] = job
        self._same = False
        self.executor.recall(job)
        self.scheduler.enter(job, self.state)

    def _refuses(self, job: Job) -> str:
        if job.id in self.live:
            return "has the number of another that is being served"
        if self.space is not None:
            needed, there = self.space.config.blocks_for(job.prompt + job.output), self.space.config.device_blocks
            if needed > there:
                return f"needs {needed} blocks, the device has {there}"
        return ""

    def cancel(self, job_id: int) -> None:
        """The client has gone: everything that the job holds is free again."""
        job = self.live[job_id]
        job.cancelled = True
        self._end(job)

    def serve(self, requests: Iterable[Request]) -> Record:
        """Run a trace to its end. A request that could never fit is refused, and the others go on."""
        return self.serve_jobs(Job(one.id, one.arrival_s, one.prompt, one.output) for one in requests)

    def serve_jobs(self, found: Iterable[Job]) -> Record:
        """The same for jobs, which may have caches already."""
        jobs = sorted(found, key=lambda one: (one.arrival_s, one.id), reverse=True)
        while jobs or self.live:
            while jobs and jobs[-1].arrival_s <= self.state.now:
                self._submit_or_refuse(jobs.pop())
            arrival = jobs[-1].arrival_s if jobs else float("inf")
            if not self.live:
                self.state.now = arrival
            else:
                self.step(arrival)
        self.record.end_s = self.state.now
        return self.record

    def _submit_or_refuse(self, job: Job) -> None:
        try:
            self.submit(job)
        except RefusedError as why:
            job.refused = str(why)
            self.record.refused.append(job)

    def step(self, next_arrival_s: float = float("inf")) -> Batch:
        """Take one decision and run it."""
        self.executor.begin()
        batch = self._choose()
        if not batch.jobs:
            self._wait(next_arrival_s)
            return batch
        state, start = self.state, self.state.now
        debt = self._pay(self.space) if self.space is not None else 0.0
        ends = self._valid_until(batch, next_arrival_s) - debt
        most = 1 if batch.prefill_tokens else min([job.output - job.generated for job in batch.jobs])
        if self.space is not None and most > 1:
            most = self.space.iterations(batch.jobs, most)
        count, first_s, seconds = self.executor.run(batch, most, ends)
        state.now = start + debt + seconds
        self._advance(batch, count, start + debt + first_s)
        self.scheduler.ran(batch, debt + seconds, state)
        if self.observer:
            self.observer(start + debt, batch, count, seconds)
        for job in [job for job in batch.jobs if job.generated >= job.output]:
            self._end(job)
        return batch

    def _choose(self) -> Batch:
        self.record.decisions += 1
        space, scheduler, state = self.space, self.scheduler, self.state
        if space is None and self._same and not self._last.prefill_tokens and len(self._last.jobs) == len(self.live):
            return counted(self._last)  # all that are here decode together: their order is of no matter
        ordered = scheduler.schedule(state)
        if space is None:
            return compose(ordered, self.limits)

        def key(job: Job) -> tuple[float, ...]:
            return scheduler.needed(job, state)

        if space.forced:  # nothing can run in the policy's order: the oldest goes first
            ordered = sorted(ordered, key=lambda job: (job.arrival_s, job.id))
        space.begin(state.now)
        batch = compose(ordered, self.limits, lambda job, tokens: space.claim(job, tokens, key), self.executor.recall)
        space.look_ahead(key)
        return batch

    def _wait(self, next_arrival_s: float) -> None:
        """Nothing can run: until a copy is done or a request arrives."""
        copy_s = self.space.next_copy_s() if self.space is not None else float("inf")
        if self.space is not None and copy_s == float("inf") and not self.space.forced:
            self.space.forced = True
            return
        until = min(copy_s, next_arrival_s)
        if until == float("inf"):
            raise RuntimeError(f"{len(self.live)} jobs wait and none can run")
        self.record.stalled_s += until - self.state.now
        self.state.now = until

    def _pay(self, space: Space) -> float:
        """Seconds that copies have held the iteration up."""
        debt, space.debt_s = space.debt_s, 0.0
        self.record.stalled_s += debt
        return debt

    def _valid_until(self, batch: Batch, next_arrival_s: float) -> float:
        """Seconds from now for which the decision stands."""
        now = self.state.now
        ends = self.scheduler.patience(batch, self.state)
        if self.scheduler.preempts or len(batch.jobs) < self.limits.batch:
            ends = min(ends, next_arrival_s - now)
        if self.space is not None:
            ends = min(ends, self.space.next_copy_s() - now)
        return ends

    def _advance(self, batch: Batch, count: int, first_end_s: float) -> None:
        """Count what every member has made, and how long each token has taken."""
        record, now, before = self.record, self.state.now, self._ended_s
        made = self._read(batch, count)
        steady = len(made)
        for job in made:
            if job.last_token_s != before:
                steady -= 1
                if job.generated:
                    record.gaps.append((first_end_s - job.last_token_s, 1))
                else:
                    job.first_token_s = first_end_s
            job.generated += count
            job.last_token_s = now
        if steady:
            record.gaps.append((first_end_s - before, steady))
        if count > 1:
            record.gaps.append(((now - first_end_s) / (count - 1), len(made) * (count - 1)))
        record.iterations += count
        record.token_steps += len(batch.jobs) * count
        self._note_pauses(batch)
        self._last, self._ended_s, self._same = batch, now, True
        if self.space is not None:
            for job in batch.jobs:
                self.space.grow(job)

    @staticmethod
    def _read(batch: Batch, count: int) -> list[Job]:
        """Note what is cached now; -> those that have made a token: all but pieces of prompts."""
        if batch.prefill_tokens:
            for job, tokens in zip(batch.jobs, batch.tokens, strict=True):
                job.cached += tokens + count - 1
            return [job for job in batch.jobs if job.cached >= job.prompt + job.generated]
        for job in batch.jobs:
            job.cached += count
        return batch.jobs

    def _note_pauses(self, batch: Batch) -> None:
        """Whoever ran before and neither ran now nor let a prompt go first was preempted."""
        if batch is self._last:
            return
        for job in {*self._last.jobs, *self._last.held}.difference(batch.jobs, batch.held):
            job.preemptions += job.finished_s is None

    def _end(self, job: Job) -> None:
        job.finished_s = self.state.now
        del self.live[job.id]
        self._same = False
        self.scheduler.leave(job)
        if self.space is not None:
            self.space.release(job)
        self.executor.finish(job)
        self.record.jobs.append(job)

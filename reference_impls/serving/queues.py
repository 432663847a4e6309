"""Queues in which everything a scheduler does costs the same however many wait: levels, and a line kept in order."""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from reference_impls.serving import Batch, Job, State


class Unchanging:
    """What policies share whose order only arrivals change: nothing to charge, nothing to wait for."""

    preempts = False

    def ran(self, batch: Batch, seconds: float, state: State) -> None:
        """Nothing follows from having run."""

    def patience(self, batch: Batch, state: State) -> float:  # noqa: ARG002 the face has them
        """The order stays."""
        return float("inf")


class LevelQueues:
    """A queue a level, the highest priority first; levels appear as they are used.

    An OrderedDict is a linked list with an index: putting at either end and taking from anywhere take constant time,
    and going through it meets no traces of what has left.
    """

    def __init__(self) -> None:
        self.levels: list[OrderedDict[int, Job]] = []
        self.turns = 0

    def use(self, level: int) -> None:
        """Make sure of a level, and of all above it."""
        while len(self.levels) <= level:
            self.levels.append(OrderedDict())

    def push(self, job: Job, level: int) -> None:
        """Put at the end of a level; the job remembers which."""
        self.turns += 1
        job.level, job.turn = level, self.turns
        self.levels[level][job.id] = job

    def move(self, job: Job, level: int) -> None:
        """Take from where it stands, and put at the end of a level."""
        del self.levels[job.level][job.id]
        self.turns += 1
        job.level, job.turn = level, self.turns
        self.levels[level][job.id] = job

    def move_all(self, jobs: Iterable[Job], level: int) -> None:
        """Take each from where it stands, and put them at the end of one level."""
        levels, turn, target = self.levels, self.turns, self.levels[level]
        for job in jobs:
            del levels[job.level][job.id]
            turn += 1
            job.level, job.turn = level, turn
            target[job.id] = job
        self.turns = turn

    def remove(self, job: Job) -> None:
        """Take out, wherever it stands."""
        del self.levels[job.level][job.id]

    def __iter__(self) -> Iterator[Job]:
        return chain.from_iterable(map(OrderedDict.values, self.levels))

    def __len__(self) -> int:
        return sum(map(len, self.levels))


class OrderedLine:
    """Jobs by a key, the smallest first. Moving what lies behind is one block copy, quick up to many thousands."""

    def __init__(self) -> None:
        self.line: list[tuple[Any, int, Job]] = []
        self.keys: dict[int, Any] = {}

    def push(self, job: Job, key: Any) -> None:
        """Put in its place."""
        self.keys[job.id] = key
        insort(self.line, (key, job.id, job))

    def remove(self, job: Job) -> None:
        """Take out."""
        del self.line[bisect_left(self.line, (self.keys.pop(job.id), job.id))]

    def __iter__(self) -> Iterator[Job]:
        return (job for _, _, job in self.line)

    def __len__(self) -> int:
        return len(self.line)


class AgeingLine:
    """Who has waited longest. Entries whose job has run since are passed over when they come up."""

    def __init__(self) -> None:
        self.line: deque[tuple[float, Job]] = deque()
        self.most = 64

    def extend(self, jobs: Iterable[Job]) -> None:
        """Jobs begin to wait, not before those already in line; the time tells this wait from later ones."""
        self.line.extend([(job.waiting_since_s, job) for job in jobs])
        if len(self.line) > self.most:  # sweep out stale entries whenever the line has doubled
            self.line = deque(entry for entry in self.line if entry[0] == entry[1].waiting_since_s)
            self.most = 2 * len(self.line) + 64

    def oldest(self) -> Job | None:
        """The job that has waited longest."""
        while self.line and self.line[0][0] != self.line[0][1].waiting_since_s:
            self.line.popleft()
        return self.line[0][1] if self.line else None

    def take(self, now: float, after_s: float) -> list[Job]:
        """Take out all that have waited longer, the longest first."""
        line, found = self.line, []
        while line and now - line[0][0] > after_s:
            since, job = line.popleft()
            if since == job.waiting_since_s:
                found.append(job)
        return found

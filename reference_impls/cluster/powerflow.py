"""PowerFlow: GPUs and clocks go, step by step, where they save most time for the least added energy.

Paper: arXiv 2304.06381, algorithm 1 as a third-party port gives it (section 5.2, eq. 16-17); the text was not read.
Idea: both more GPUs and a higher clock buy time with energy at a falling rate, so the next step goes to the job where
    it buys most, until GPUs or the budget run out.
Symbols: priority = (dJCT / JCT) / (dE / E); JCT = iterations left / rate, E = watts times that.
Simplified: both are known from fitted models; the iterations left cancel, so a priority depends on the kind alone.
Differs: steps double GPUs so that buddy blocks stay aligned; with more jobs than GPUs those with the least time left
    start; jobs hold their GPUs for hold_s; the port has none of the three.
Cost: a heap over the jobs, a pop for each step taken.
Checked against: exhaustive search over two jobs and up to eight GPUs; infinite budget; the budget, at every instant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heapreplace
from math import inf

from reference_impls.cluster import Plan, PolicyConfig, Share, Table, View
from reference_impls.cluster.steps import Begun, keep_or_start, settle


@dataclass(frozen=True)
class Config(PolicyConfig):
    """clocks: whether steps may raise the clock, else all run at the highest allowed; elastic: whether they may add
    GPUs, else jobs get what their owners asked for.
    """

    hold_s: float = 900.0
    clocks: bool = True
    elastic: bool = True


Place = tuple[int, int]
"""(doubling of GPUs, level of the clock)"""


@dataclass(frozen=True)
class Step:
    """What one more doubling (grows) or one clock up does. time, energy: after / before."""

    grows: bool
    time: float
    energy: float

    @property
    def priority(self) -> float:
        """Eq. 17: relative time saved per relative energy added; infinite where energy falls."""
        saved = 1 - self.time
        return inf if self.energy <= 1 else saved / (self.energy - 1)


@dataclass(frozen=True)
class Ladder:
    """A kind of job: the steps from every (doubling, level) that save time, best first, and where each doubling starts.

    A step is (-priority, whether it grows, where it leads, watts that it adds).
    """

    steps: dict[Place, tuple[tuple[float, bool, Place, float], ...]]
    starts: tuple[Place, ...]


@lru_cache(maxsize=512)
def ladder(table: Table, config: Config) -> Ladder:
    """Every step from every place, up to the highest clock allowed."""
    top = config.level(table)
    steps = {}
    for at in range(len(table.rate)):
        for level in range(top + 1):
            found = sorted(_steps(table, (at, level), top, config), key=lambda item: -item[0].priority)
            steps[at, level] = tuple((-step.priority, step.grows, to, watts) for step, to, watts in found)
    starts = [(at, efficient_level(table, at, top) if config.clocks else top) for at in range(len(table.rate))]
    return Ladder(steps, tuple(starts))


def _steps(table: Table, place: Place, top: int, config: Config) -> Iterator[tuple[Step, Place, float]]:
    at, level = place
    ways = [(True, (at + 1, level))] if config.elastic and at + 1 < len(table.rate) else []
    ways += [(False, (at, level + 1))] if config.clocks and level < top else []
    for grows, to in ways:
        time = table.rate[at][level] / table.rate[to[0]][to[1]]
        if time < 1:
            step = Step(grows, time, table.joules(*to) / table.joules(at, level))
            yield step, to, table.watts[to[0]][to[1]] - table.watts[at][level]


def efficient_level(table: Table, doubling: int, top: int) -> int:
    """The clock with the least energy an iteration."""
    return min(range(top + 1), key=lambda level: table.joules(doubling, level))


@dataclass
class _Books:
    """What is given out so far."""

    view: View
    used: int = 0
    jobs_w: float = 0.0

    def take(self, gpus: int, watts: float) -> bool:
        """Give this much more if it stays within GPUs and budget, idle GPUs of powered nodes included."""
        used, view = self.used + gpus, self.view
        if used > view.gpus or self.jobs_w + watts + view.idle_gpus(used) * view.idle_w > view.watts:
            return False
        self.used, self.jobs_w = used, self.jobs_w + watts
        return True


def schedule(view: View, config: Config) -> Plan:
    """Algorithm 1: everybody starts small, then the step with the highest priority, again and again."""
    begun = keep_or_start(view, config.hold_s) if config.elastic else _as_asked(view)
    books, places = _Books(view), {}
    ladders = {one.job.id: ladder(one.table, config) for one in begun.order if one.job.id in begun.gpus}
    for one in begun.order:
        number = one.job.id
        if number in ladders:
            at, level = ladders[number].starts[begun.gpus[number].bit_length() - 1]
            if books.take(begun.gpus[number], one.table.watts[at][level]):
                places[number] = (at, level)
    climb(places, ladders, books, begun.held)
    shares = {number: Share(1 << at, level) for number, (at, level) in places.items()}
    return settle(view, shares, begun, config.hold_s, config.pause_s)


def climb(places: dict[int, Place], ladders: Mapping[int, Ladder], books: _Books, held: frozenset[int]) -> None:
    """Take the steps, best first, while they fit. held: jobs that may change their clock alone."""
    heap: list[_Candidate] = []
    for number, place in places.items():
        heap += _candidate(ladders[number].steps[place], 0, number, held)
    heapify(heap)
    while heap:
        _, grows, to, watts, number, rank = heap[0]
        place = places[number]
        if books.take((1 << place[0]) if grows else 0, watts):
            places[number], rank = to, -1
        following = _candidate(ladders[number].steps[places[number]], rank + 1, number, held)
        if following:
            heapreplace(heap, following[0])
        else:
            heappop(heap)


_Candidate = tuple[float, bool, Place, float, int, int]
"""A step of a ladder, whose it is, and the how manieth from its place."""


def _candidate(
    steps: tuple[tuple[float, bool, Place, float], ...], rank: int, number: int, held: frozenset[int]
) -> list[_Candidate]:
    """The first step from this rank on that the job may take, if there is one."""
    while rank < len(steps):
        if not (steps[rank][1] and number in held):
            return [(*steps[rank], number, rank)]
        rank += 1
    return []


def _as_asked(view: View) -> Begun:
    """Without elasticity: what owners asked for; running jobs stay, then the shortest first, while GPUs last."""
    order = sorted(view.active, key=lambda one: (one.share is None, one.left / one.table.rate[0][-1]))
    free, gpus = view.gpus, {}
    for one in order:
        if one.job.gpus <= free:
            gpus[one.job.id] = one.job.gpus
            free -= one.job.gpus
    return Begun(order, gpus, frozenset())

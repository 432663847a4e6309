"""PowerFlow: GPUs and clocks go, step by step, where they save most time for the least added energy.

Paper: arXiv 2304.06381, algorithm 1 as a third-party port gives it (section 5.2, eq. 16-17); the text was not read.
Idea: both more GPUs and a higher clock buy time with energy at a falling rate, so the next step goes to the job where
    it buys most, until GPUs or the budget run out.
Symbols: priority = (dJCT / JCT) / (dE / E); JCT = iterations left / rate, E = watts times that.
Simplified: both are known from fitted models; the iterations left cancel, so a step's priority depends on the kind alone.
Differs: steps double GPUs so that buddy blocks stay aligned; with more jobs than GPUs those with the least time left
    start; jobs hold their GPUs for hold_s; the port has none of the three.
Cost: a heap over the jobs, a pop for each step taken.
Checked against: exhaustive search over two jobs and up to eight GPUs; infinite budget; the budget, at every instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from math import inf

from reference_impls.cluster import Plan, PolicyConfig, Share, Table, View
from reference_impls.cluster.steps import Begun, keep_or_start, settle


@dataclass(frozen=True)
class Config(PolicyConfig):
    """clocks: whether steps may raise the clock, else all run at the highest allowed; elastic: whether they may add
    GPUs, else jobs get what their owners asked for.
    """

    hold_s: float = 300.0
    clocks: bool = True
    elastic: bool = True


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


Ladder = dict[tuple[int, int], tuple[Step, ...]]
"""(doubling, level) -> the steps from there that save time, best first."""


def ladder(table: Table, top: int, config: Config) -> Ladder:
    """Every step from every place. top: the highest clock allowed."""
    return {
        (at, level): tuple(sorted(_steps(table, at, level, top, config), key=lambda step: -step.priority))
        for at in range(len(table.rate))
        for level in range(top + 1)
    }


def _steps(table: Table, at: int, level: int, top: int, config: Config) -> Iterator[Step]:
    before, joules = table.rate[at][level], table.joules(at, level)
    if config.elastic and at + 1 < len(table.rate) and table.rate[at + 1][level] > before:
        yield Step(True, before / table.rate[at + 1][level], table.joules(at + 1, level) / joules)
    if config.clocks and level < top and table.rate[at][level + 1] > before:
        yield Step(False, before / table.rate[at][level + 1], table.joules(at, level + 1) / joules)


@lru_cache(maxsize=512)
def _kept_ladder(key: int, top: int, config: Config) -> Ladder:
    return ladder(_TABLES[key], top, config)


_TABLES: dict[int, Table] = {}
"""Tables by identity, so that ladders are made once a kind; they hold lists and cannot be keys themselves."""


def efficient_level(table: Table, doubling: int, top: int) -> int:
    """The clock with the least energy an iteration."""
    return min(range(top + 1), key=lambda level: table.joules(doubling, level))


@dataclass
class _Books:
    """What is given out so far."""

    view: View
    used: int = 0
    jobs_w: float = 0.0

    def fits(self, gpus: int, watts: float) -> bool:
        """Whether this much more stays within GPUs and budget, idle GPUs of powered nodes included."""
        used = self.used + gpus
        idle = self.view.idle_gpus(used) * self.view.idle_w
        return used <= self.view.gpus and self.jobs_w + watts + idle <= self.view.watts

    def add(self, gpus: int, watts: float) -> None:
        """Give it."""
        self.used += gpus
        self.jobs_w += watts


def schedule(view: View, config: Config) -> Plan:
    """Algorithm 1: everybody starts small, then the step with the highest priority, again and again."""
    begun = keep_or_start(view, config.hold_s if config.elastic else inf)
    if not config.elastic:
        begun = _as_asked(view, begun)
    books, places = _start(view, begun, config)
    ladders = {one.job.id: _ladder_of(one.table, config) for one in begun.order if one.job.id in places}
    tables = {one.job.id: one.table for one in begun.order}
    heap: list[tuple[float, int, int]] = []
    for number, place in places.items():
        _offer(heap, ladders, number, place, 0)
    heapify(heap)
    while heap:
        _, number, rank = heappop(heap)
        at, level = places[number]
        step = ladders[number][at, level][rank]
        target = (at + 1, level) if step.grows else (at, level + 1)
        more = tables[number].watts[target[0]][target[1]] - tables[number].watts[at][level]
        gpus = 1 << at if step.grows else 0
        if (step.grows and number in begun.held) or not books.fits(gpus, more):
            _offer(heap, ladders, number, (at, level), rank + 1)
            continue
        books.add(gpus, more)
        places[number] = target
        _offer(heap, ladders, number, target, 0)
    shares = {number: Share(1 << at, level) for number, (at, level) in places.items()}
    return settle(view, shares, begun, config.hold_s, config.pause_s)


def _offer(
    heap: list[tuple[float, int, int]], ladders: dict[int, Ladder], number: int, place: tuple[int, int], rank: int
) -> None:
    """Put a job's next step into the heap, if it has one of this rank."""
    steps = ladders[number][place]
    if rank < len(steps):
        heappush(heap, (-steps[rank].priority, number, rank))


def _ladder_of(table: Table, config: Config) -> Ladder:
    _TABLES[id(table)] = table
    return _kept_ladder(id(table), config.level(table), config)


def _as_asked(view: View, begun: Begun) -> Begun:
    """Without elasticity: what owners asked for, in the same order, while GPUs last; running jobs stay."""
    free, gpus = view.gpus, {}
    for one in sorted(begun.order, key=lambda one: one.share is None):
        if one.job.gpus <= free:
            gpus[one.job.id] = one.job.gpus
            free -= one.job.gpus
    return Begun(begun.order, gpus, frozenset())


def _start(view: View, begun: Begun, config: Config) -> tuple[_Books, dict[int, tuple[int, int]]]:
    """Everybody's first GPUs at the most efficient clock, in order, while the budget lasts."""
    books, places = _Books(view), {}
    for one in begun.order:
        if one.job.id not in begun.gpus:
            continue
        gpus, top = begun.gpus[one.job.id], config.level(one.table)
        at = gpus.bit_length() - 1
        level = efficient_level(one.table, at, top) if config.clocks else top
        watts = one.table.watts[at][level]
        if books.fits(gpus, watts):
            books.add(gpus, watts)
            places[one.job.id] = (at, level)
    return books, places

"""Which best-effort job goes beside which service: the heaviest matching, with pairs that are forbidden.

Paper: arXiv 2303.13803, which matches on predicted speed; the Hungarian method is Kuhn's of 1955, in the form with
    potentials.
Idea: weights are what each job would get done beside each service; the best whole is more than the best pairs in turn.
Symbols: weights: (services, jobs), -inf where forbidden.
Simplified: one job a service; a job may stay without one, and a service without a job.
Differs: the cost of moving is taken off the weight of every pair but the present one.
Cost: n^2 m for n services and m jobs.
Checked against: scipy.optimize.linear_sum_assignment; every matching, up to seven by seven.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """What a pair must keep. bound: the largest predicted slowdown of the service; memory: the sum of both, as a share
    of the GPU's; move_cost: weight that a move must gain.
    """

    bound: float = 1.2
    memory: float = 0.95
    move_cost: float = 0.05

    def __post_init__(self) -> None:
        if self.bound < 1 or not 0 < self.memory <= 1 or self.move_cost < 0:
            raise ValueError("bound must be at least 1, memory above 0 and at most 1, move_cost at least 0")


def allowed_weights(
    throughput: Array, slowdown: Array, memory: Array, config: Config, current: Sequence[int | None] | None = None
) -> Array:
    """Weights for `match`, each (services, jobs): -inf where a pair would break a limit, less the cost of a move.

    current: the job that each service has now.
    """
    weights = np.array(throughput, dtype=float)
    if current is not None:
        stays = np.zeros(weights.shape, dtype=bool)
        for service, job in enumerate(current):
            if job is not None:
                stays[service, job] = True
        weights = np.where(stays, weights, weights - config.move_cost)
    return np.where((slowdown <= config.bound) & (memory <= config.memory), weights, -np.inf)


def match(weights: Array) -> list[int | None]:
    """The job of each service in a matching of the most weight; pairs of no or negative weight are left out."""
    worth = np.where(np.isfinite(weights), np.maximum(weights, 0.0), 0.0)
    services, jobs = worth.shape
    if services == 0 or jobs == 0:
        return [None] * services
    rows = assign(-worth) if services <= jobs else _turned(assign(-worth.T), services)
    return [job if job is not None and weights[at, job] > 0 else None for at, job in enumerate(rows)]


def _turned(columns: Sequence[int], services: int) -> list[int | None]:
    rows: list[int | None] = [None] * services
    for job, service in enumerate(columns):
        rows[service] = job
    return rows


def assign(cost: Array) -> list[int]:
    """The column of each row with the least sum. cost: (rows, columns), rows <= columns

    One row after another joins by a shortest augmenting path; potentials keep every reduced cost at or above zero.
    """
    rows, columns = cost.shape
    row_potential, column_potential = np.zeros(rows), np.zeros(columns + 1)
    owner = np.full(columns + 1, -1)  # the last is where every path begins
    for row in range(rows):
        owner[columns], column = row, columns
        nearest, came = np.full(columns, np.inf), np.full(columns, columns)
        done = np.zeros(columns + 1, dtype=bool)
        while owner[column] >= 0:
            done[column] = True
            at = owner[column]
            reach = cost[at] - row_potential[at] - column_potential[:columns]
            closer = ~done[:columns] & (reach < nearest)
            nearest[closer], came[closer] = reach[closer], column
            open_ = np.where(done[:columns], np.inf, nearest)
            following = int(open_.argmin())
            step = open_[following]
            row_potential[owner[done]] += step
            column_potential[done] -= step
            nearest[~done[:columns]] -= step
            column = following
        while column != columns:
            before = int(came[column])
            owner[column] = owner[before]
            column = before
    found = [0] * rows
    for column in range(columns):
        if owner[column] >= 0:
            found[owner[column]] = column
    return found


def greedy(weights: Array) -> list[int | None]:
    """The heaviest pair left, again and again: what the matching is compared with."""
    left = np.array(weights, dtype=float)
    found: list[int | None] = [None] * left.shape[0]
    while left.size and left.max() > 0:
        service, job = divmod(int(left.argmax()), left.shape[1])
        found[service] = job
        left[service], left[:, job] = -np.inf, -np.inf
    return found


def random(weights: Array, rng: np.random.Generator) -> list[int | None]:
    """Services in any order, each with any allowed job that is left."""
    found: list[int | None] = [None] * weights.shape[0]
    free = set(range(weights.shape[1]))
    for service in rng.permutation(weights.shape[0]):
        fits = [job for job in sorted(free) if weights[service, job] > 0]
        if fits:
            job = int(rng.choice(fits))
            found[service] = job
            free.discard(job)
    return found


def total(weights: Array, matching: Sequence[int | None]) -> float:
    """The weight of a matching."""
    return float(sum(weights[service, job] for service, job in enumerate(matching) if job is not None))

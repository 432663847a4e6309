"""What a GPU draws at a clock and how busy it is, and the tables that schedulers read.

Paper: arXiv 2304.06381 has such a model; its formulas were not read. The curve here is ours, and an assumption.
Idea: a part that is always there, a part that grows with the clock, and one with its cube, as voltage rises with it.
Symbols: P(n, f, u) = n (P_idle + c1 u f + c3 u f^3), f = clock over the highest, u = share of the time computing.
Simplified: no temperature, no memory clock, no host; every GPU of a kind is alike; a node that is off draws nothing.
Differs: the paper fits its curve to measurements; nobody's clock was changed for this one.
Cost: a table a kind of job, filled once.
Checked against: values by hand at full and no load.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from reference_impls.cluster import Table
from reference_impls.cluster.throughput import Model

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Config:
    """The curve: 400 W when busy at the highest clock, as boards of this size are limited to."""

    idle_w: float = 60.0
    linear_w: float = 100.0  # c1
    cubic_w: float = 240.0  # c3
    levels: Sequence[float] = LEVELS

    def __post_init__(self) -> None:
        if min(self.idle_w, self.linear_w, self.cubic_w) < 0:
            raise ValueError("watts must not be negative")
        if list(self.levels) != sorted(set(self.levels)) or not 0 < self.levels[0] <= self.levels[-1] <= 1:
            raise ValueError(f"levels must rise, above 0 and up to 1, got {self.levels}")


def watts(gpus: int, frequency: float, busy: float, config: Config) -> float:
    """What so many GPUs draw."""
    return gpus * (config.idle_w + busy * (config.linear_w * frequency + config.cubic_w * frequency**3))


def table(model: Model, batch: float, max_gpus: int, config: Config) -> Table:
    """Rate and power on 1, 2, 4 … max_gpus GPUs at every clock."""
    counts = [1 << doubling for doubling in range(max_gpus.bit_length())]
    rate = [[1 / model.iteration_s(n, batch, f) for f in config.levels] for n in counts]
    drawn = [[watts(n, f, model.busy(n, batch, f), config) for f in config.levels] for n in counts]
    return Table(rate, drawn, tuple(config.levels))


def tables(profiles: Mapping[str, tuple[Model, float]], max_gpus: int, config: Config) -> dict[str, Table]:
    """One a kind of job. profiles: name -> (model, batch)"""
    return {name: _table(model, batch, max_gpus, config) for name, (model, batch) in profiles.items()}


_table = lru_cache(maxsize=256)(table)

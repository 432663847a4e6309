"""The guard of a whole GPU: four states, and an eviction wherever a limit is passed or the device looks unwell.

Paper: arXiv 2303.13803, GPU-level protection; the states are recalled, the limits and the hold-off are ours.
Idea: what the job-level limits let through shows in temperature, clock, activity or memory; the best-effort
    job goes at once and does not return for a while.
Symbols: Init -> Healthy -> Overlimit (a limit passed) or Unhealthy (no reading, or a clock far too low).
Simplified: limits are fixed; readings come once a period and are believed.
Differs: unknown.
Cost: a comparison a reading.
Checked against: random walks over all inputs; every limit by itself.
"""

from dataclasses import dataclass, replace
from enum import Enum


class Health(Enum):
    """Whether a best-effort job may be here."""

    INIT = "init"
    HEALTHY = "healthy"
    OVERLIMIT = "overlimit"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class Reading:
    """What a GPU tells. clock: over the highest; activity and memory: of all there is."""

    temperature_c: float
    clock: float
    activity: float
    memory: float


@dataclass(frozen=True)
class Config:
    """Limits, how many good readings make Init healthy, and how long nobody is let in after an eviction."""

    hottest_c: float = 85.0
    lowest_clock: float = 0.6
    most_activity: float = 0.97
    most_memory: float = 0.95
    good_readings: int = 3
    hold_off_s: float = 300.0

    def __post_init__(self) -> None:
        if self.good_readings < 1 or self.hold_off_s < 0:
            raise ValueError("good_readings must be at least 1 and hold_off_s at least 0")


@dataclass(frozen=True)
class State:
    """health; good: readings without fault in a row; closed_until_s: no admission before."""

    health: Health = Health.INIT
    good: int = 0
    closed_until_s: float = 0.0

    def admits(self, now: float) -> bool:
        """Whether a best-effort job may start."""
        return self.health is Health.HEALTHY and now >= self.closed_until_s


def judge(reading: Reading | None, config: Config) -> Health:
    """What one reading says by itself. None: there was none."""
    if reading is None or not reading.clock >= config.lowest_clock:  # a clock that is no number is no reading either
        return Health.UNHEALTHY
    inside = (
        reading.temperature_c <= config.hottest_c
        and reading.activity <= config.most_activity
        and reading.memory <= config.most_memory
    )
    return Health.HEALTHY if inside else Health.OVERLIMIT


def update(state: State, reading: Reading | None, now: float, config: Config) -> tuple[State, bool]:
    """-> the state after a reading, and whether the best-effort job has to go."""
    seen = judge(reading, config)
    if seen is not Health.HEALTHY:
        return State(seen, 0, now + config.hold_off_s), True
    good = state.good + 1
    if state.health is Health.HEALTHY or good >= config.good_readings:
        return replace(state, health=Health.HEALTHY, good=good), False
    return replace(state, health=Health.INIT, good=good), False

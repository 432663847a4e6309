"""How much of a GPU the best-effort job may use: what the service leaves, in steps of ten percent.

Paper: arXiv 2303.13803, dynamic SM allocation; the rule is that of a public third-party port, the deadband is ours.
Idea: the service's load changes slowly, so its present activity says how much will be free a moment later.
Symbols: share = clip(round10(100 - activity), 10, 90), in percent of the multiprocessors.
Simplified: one activity reading a period, as a mean; nothing is foreseen.
Differs: a change of one step is only followed when it has lasted for two readings.
Cost: nothing to speak of.
Checked against: values by hand; monotone in load; a step of load settles and stays.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """period_s: how often the share is set; deadband: changes up to this percentage must last for patience readings."""

    period_s: float = 2.0
    lowest: int = 10
    highest: int = 90
    step: int = 10
    deadband: int = 10
    patience: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest <= 100 or self.step < 1 or self.patience < 1:
            raise ValueError("expected 0 < lowest <= highest <= 100, step and patience at least 1")


@dataclass(frozen=True)
class State:
    """The share in force, and for how many readings a small change has been asked for in the same direction."""

    share: int
    asked: int = 0


def target(activity: float, config: Config) -> int:
    """The port's rule. activity: of the service, 0 to 100"""
    free = config.step * int((100 - activity) / config.step + 0.5)
    return min(config.highest, max(config.lowest, free))


def update(state: State, activity: float, config: Config) -> State:
    """One reading later. Large changes are followed at once, small ones when they last."""
    wanted = target(activity, config)
    change = wanted - state.share
    if abs(change) > config.deadband:
        return State(wanted)
    if change == 0:
        return State(state.share)
    asked = (abs(state.asked) + 1 if state.asked * change >= 0 else 1) * (1 if change > 0 else -1)
    return State(wanted) if abs(asked) >= config.patience else State(state.share, asked)

"""How fast a training job runs on n GPUs at a clock, and the fit of that model to a few measured points.

Paper: arXiv 2008.12260 (Pollux, section 3.2), as used for 2304.06381, whose own formulas were not read.
Idea: an iteration computes gradients and synchronises them; an exponent says how well the two overlap.
Symbols: n = gpus, b = batch over all of them, f = clock over the highest, k = how much of the time follows the clock;
    T_grad = (a_g + b_g b / n) f^-k, T_sync = a_s + b_s (n - 2) for n > 1, T = (T_grad^g + T_sync^g)^(1/g).
Simplified: a fixed batch over all GPUs, no gradient accumulation; memory is taken to suffice on one GPU.
Differs: one pair (a_s, b_s) inside a node and one across nodes, and the factor f^-k; throughput may fall again with n.
Cost: microseconds a value; a fit takes a few hundred Gauss-Newton steps on at most eight unknowns.
Checked against: scipy.optimize.least_squares on the same bounds; points left out of the fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Config:
    """How a fit is made."""

    gpus_per_node: int = 8
    starts: int = 6
    steps: int = 150
    ridge: float = 1e-2  # pull of each unknown to its start, against what few points leave open
    seed: int = 0


@dataclass(frozen=True)
class Point:
    """One measurement."""

    gpus: int
    batch: int
    iterations_per_s: float
    frequency: float = 1.0


@dataclass(frozen=True)
class Model:
    """The unknowns, in seconds but for the exponents."""

    a_grad: float
    b_grad: float
    a_sync: float
    b_sync: float
    a_across: float
    b_across: float
    overlap: float  # g: 1 adds the two, large takes the longer
    k: float = 0.8
    gpus_per_node: int = 8

    def grad_s(self, gpus: int, batch: float, frequency: float = 1.0) -> float:
        """Seconds of computing in one iteration."""
        return (self.a_grad + self.b_grad * batch / gpus) * float(frequency**-self.k)

    def sync_s(self, gpus: int) -> float:
        """Seconds of synchronising."""
        if gpus == 1:
            return 0.0
        if gpus <= self.gpus_per_node:
            return self.a_sync + self.b_sync * (gpus - 2)
        return self.a_across + self.b_across * (gpus - 2)

    def iteration_s(self, gpus: int, batch: float, frequency: float = 1.0) -> float:
        """Seconds of one iteration."""
        grad, sync = self.grad_s(gpus, batch, frequency), self.sync_s(gpus)
        longer, shorter = max(grad, sync), min(grad, sync)
        share: float = (1 + (shorter / longer) ** self.overlap) ** (1 / self.overlap)
        return longer * share

    def busy(self, gpus: int, batch: float, frequency: float = 1.0) -> float:
        """The share of an iteration in which the GPU computes."""
        return min(1.0, self.grad_s(gpus, batch, frequency) / self.iteration_s(gpus, batch, frequency))


BOUNDS: dict[str, tuple[float, float]] = {
    "a_grad": (1e-5, 10.0),
    "b_grad": (1e-6, 1.0),
    "a_sync": (1e-5, 10.0),
    "b_sync": (1e-7, 1.0),
    "a_across": (1e-5, 10.0),
    "b_across": (1e-7, 1.0),
    "overlap": (1.0, 10.0),
    "k": (0.05, 1.0),
}


def fit(points: Sequence[Point], config: Config | None = None, k: float = 0.8) -> Model:
    """The model with the least squared error of log seconds. k is fitted only where the points differ in frequency."""
    config = config or Config()
    if len(points) < 3:
        raise ValueError(f"a fit needs at least 3 points, got {len(points)}")
    names = [name for name in BOUNDS if name != "k" or len({point.frequency for point in points}) > 1]
    low, high = (np.log([BOUNDS[name][end] for name in names]) for end in (0, 1))
    observed = -np.log([point.iterations_per_s for point in points])
    like = replace(_start(points, config), k=k)
    start = np.clip(np.log([getattr(like, name) for name in names]), low, high)

    measured = _Measured.of(points, config.gpus_per_node)

    def residuals(theta: Array) -> Array:
        """theta: (many, unknowns) -> (many, points + unknowns)"""
        values = dict(zip(names, np.exp(theta).T, strict=True))
        seconds = measured.seconds({"k": np.full(len(theta), k)} | values)
        return np.hstack([np.log(seconds) - observed, config.ridge * (theta - start)])

    rng = np.random.default_rng(config.seed)
    begins = [start, *(start + rng.normal(0, 1, (config.starts - 1, len(start))))]
    found = [_descend(residuals, np.clip(begin, low, high), low, high, config.steps) for begin in begins]
    best = min(found, key=lambda theta: float(np.sum(residuals(theta[None]) ** 2)))
    return replace(like, **dict(zip(names, np.exp(best).tolist(), strict=True)))


@dataclass(frozen=True)
class _Measured:
    """The points as arrays, for many models at once."""

    gpus: Array
    each: Array  # batch / gpus
    frequency: Array
    gpus_per_node: int

    @classmethod
    def of(cls, points: Sequence[Point], gpus_per_node: int) -> "_Measured":
        gpus = np.array([point.gpus for point in points], float)
        each = np.array([point.batch for point in points]) / gpus
        return cls(gpus, each, np.array([point.frequency for point in points]), gpus_per_node)

    def seconds(self, values: dict[str, Array]) -> Array:
        """The same formula as `Model.iteration_s`. values: (many,) each -> (many, points)"""
        of = {name: value[:, None] for name, value in values.items()}
        grad = (of["a_grad"] + of["b_grad"] * self.each) * self.frequency ** -of["k"]
        inside, across = (of[a] + of[b] * (self.gpus - 2) for a, b in (("a_sync", "b_sync"), ("a_across", "b_across")))
        sync = np.where(self.gpus == 1, 1e-300, np.where(self.gpus <= self.gpus_per_node, inside, across))
        longer, shorter = np.maximum(grad, sync), np.minimum(grad, sync)
        together: Array = longer * (1 + (shorter / longer) ** of["overlap"]) ** (1 / of["overlap"])
        return together


def _start(points: Sequence[Point], config: Config) -> Model:
    """A guess from the point with the fewest GPUs: mostly computing, a tenth of it for synchronising."""
    first = min(points, key=lambda point: point.gpus)
    seconds = first.gpus / first.iterations_per_s
    sync = 0.1 * seconds
    per_sample = 0.9 * seconds / first.batch
    return Model(0.1 * seconds, per_sample, sync, sync / 50, sync, sync / 50, 2.0, gpus_per_node=config.gpus_per_node)


def _descend(residuals: Callable[[Array], Array], theta: Array, low: Array, high: Array, steps: int) -> Array:
    """Levenberg-Marquardt with the step cut off at the bounds."""
    small = 1e-5 * np.eye(len(theta))
    damping, value = 1e-2, residuals(theta[None])[0]
    for _ in range(steps):
        jacobian = ((residuals(theta + small) - value) / 1e-5).T
        normal = jacobian.T @ jacobian
        damped = normal + damping * np.diag(np.diag(normal) + 1e-9)
        new = np.clip(theta - np.linalg.solve(damped, jacobian.T @ value), low, high)
        new_value = residuals(new[None])[0]
        gain = value @ value - new_value @ new_value
        if gain > 0:
            theta, value, damping = new, new_value, max(damping / 3, 1e-9)
        else:
            damping *= 4
        if damping > 1e8 or 0 < gain < 1e-13:
            break
    return theta


def left_out_errors(points: Sequence[Point], config: Config | None = None) -> dict[int, float]:
    """Each number of GPUs between the smallest and the largest: the relative error of its throughput, left out."""
    counts = sorted({point.gpus for point in points})
    errors = {}
    for gpus in counts[1:-1]:
        model = fit([point for point in points if point.gpus != gpus], config)
        worst = [
            abs(1 / model.iteration_s(point.gpus, point.batch, point.frequency) / point.iterations_per_s - 1)
            for point in points
            if point.gpus == gpus
        ]
        errors[gpus] = max(worst)
    return errors

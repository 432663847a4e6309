"""MeZO: estimate the slope along a random direction from two forward passes, and draw the direction again to step.

Paper: arXiv 2305.17333, section 2.1, definition 1 and algorithm 1.
Idea: a direction that follows from a seed need not be stored, so training takes the memory of inference.
Symbols: z = normal numbers of all parameters, from the seed; eps = distance; g = (L(w + eps z) - L(w - eps z)) / 2 eps.
Simplified: one direction a step, plain descent; no momentum or scaling by layer.
Differs: nothing; as in the paper the weights are moved in place and back, which leaves float rounding behind.
Cost: two forward passes and three passes over the weights a step; no gradient, moment or activation is held. The noise
    of g grows with the number of directions that matter, so many more steps are needed.
Checked against: the same seed's direction; the gradient of a quadratic, which the mean over seeds must be; a replay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.adaptation import Loss

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Config:
    """How far to look, and how far to go."""

    eps: float = 1e-3
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        if self.eps <= 0:
            raise ValueError(f"eps must be above 0, got {self.eps}")


@torch.no_grad()
def move(parameters: Sequence[nn.Parameter], seed: int, scale: float) -> None:
    """w += scale * z, one tensor of z at a time; the same seed always draws the same z."""
    generators: dict[torch.device, torch.Generator] = {}
    for parameter in parameters:
        generator = generators.get(parameter.device)
        if generator is None:
            generator = generators[parameter.device] = torch.Generator(parameter.device).manual_seed(seed)
        parameter.add_(direction(parameter, generator), alpha=scale)


def direction(like: Tensor, generator: torch.Generator) -> Tensor:
    """The next part of z. -> as `like`"""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


@torch.no_grad()
def slope(parameters: Sequence[nn.Parameter], loss: Loss, config: Config, seed: int) -> tuple[float, float]:
    """g, and the mean of the two losses. The parameters come back to where they were, but for rounding."""
    move(parameters, seed, config.eps)
    ahead = float(loss())
    move(parameters, seed, -2 * config.eps)
    behind = float(loss())
    move(parameters, seed, config.eps)
    return (ahead - behind) / (2 * config.eps), (ahead + behind) / 2


def step(parameters: Sequence[nn.Parameter], loss: Loss, config: Config, seed: int = 0) -> float:
    """One step of algorithm 1, in place. seed: of z; take another one for each step -> the mean of both losses"""
    found, middle = slope(parameters, loss, config, seed)
    move(parameters, seed, -config.learning_rate * found)
    return middle


def replay(parameters: Sequence[nn.Parameter], log: Iterable[tuple[int, float]], config: Config) -> None:
    """Repeat a training from its seeds and slopes alone: two numbers a step instead of a checkpoint."""
    for seed, found in log:
        move(parameters, seed, -config.learning_rate * found)

"""LOMO: update each weight as soon as its gradient is there, and drop the gradient.

Paper: arXiv 2306.09782, section 3.1, algorithm 1, and 3.2 (clipping).
Idea: plain descent needs a gradient once; backpropagation makes them one after another, so few need be held at a time.
Symbols: nothing beyond the axes' names.
Simplified: no loss scaling, one device.
Differs: nothing; the norm of all gradients for clipping costs a second backward pass, as in the paper.
Cost: a forward and a backward pass; the largest single gradient in the place of all of them; no moments. Clipping by
    norm doubles the passes. Gradients of several batches cannot be added up.
Checked against: torch.optim.SGD, bit for bit; with clip_grad_norm_ where clipping; the gradients alive at any time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.adaptation import Loss

LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Config:
    """Plain descent, and how gradients are clipped."""

    learning_rate: float = 1e-2
    clip_value: float | None = None  # of each element
    clip_norm: float | None = None  # of all together: needs a second backward pass

    def __post_init__(self) -> None:
        for name, value in (("clip_value", self.clip_value), ("clip_norm", self.clip_norm)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, got {value}")


def backward_with(parameters: Sequence[nn.Parameter], loss: Loss, use: Callable[[nn.Parameter], None]) -> float:
    """One backward pass that hands each parameter to `use` once its gradient is whole, then drops the gradient.

    All that read the old weight are done by then, also where layers share it, so `use` may change it.
    """

    def take(parameter: Tensor) -> None:
        assert isinstance(parameter, nn.Parameter)
        use(parameter)
        parameter.grad = None

    handles = [parameter.register_post_accumulate_grad_hook(take) for parameter in parameters]  # type: ignore[no-untyped-call]
    try:
        with torch.enable_grad():
            found = loss()
            torch.autograd.backward(found)
    finally:
        for handle in handles:
            handle.remove()
    return float(found.detach())


def gradient_norm(parameters: Sequence[nn.Parameter], loss: Loss) -> float:
    """Norm of all gradients together, none of which is kept."""
    squares: list[Tensor] = []

    def add(parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        squares.append(parameter.grad.float().square().sum())

    backward_with(parameters, loss, add)
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def step(parameters: Sequence[nn.Parameter], loss: Loss, config: Config, seed: int = 0) -> float:  # noqa: ARG001
    """One step of algorithm 1, in place. loss: called twice where the norm is clipped -> the loss before the step"""
    factor = 1.0
    if config.clip_norm is not None:
        factor = min(1.0, config.clip_norm / (gradient_norm(parameters, loss) + 1e-6))

    @torch.no_grad()
    def update(parameter: nn.Parameter) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad
        if config.clip_value is not None:
            gradient = gradient.clamp(-config.clip_value, config.clip_value)
        if factor < 1:
            gradient = gradient * factor
        parameter.data.add_(gradient, alpha=-config.learning_rate)  # .data: the backward pass still runs

    return backward_with(parameters, loss, update)

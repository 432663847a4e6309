"""LoRA+: give the factor that starts at zero a larger learning rate than the other.

Paper: arXiv 2402.12354, section 4 and the method's rule eta_B = ratio * eta_A.
Idea: in wide layers the two factors need steps of different size for both to learn; one rate starves B or shakes A.
Symbols: B = up (out, rank), which starts at zero; A = down (rank, in); ratio = eta_B / eta_A.
Simplified: nothing; everything but the rates is LoRA's.
Differs: nothing.
Cost: that of LoRA.
Checked against: LoRA at ratio 1; the change of one step of plain gradient descent.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from reference_impls.adaptation import lora

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Config(lora.Config):
    """LoRA's, and how much faster B learns."""

    ratio: float = 16.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio <= 0:
            raise ValueError(f"ratio must be above 0, got {self.ratio}")


def adapt(model: nn.Module, config: Config, generator: torch.Generator | None = None) -> nn.Module:
    """LoRA's own."""
    return lora.adapt(model, config, generator)


def merge(model: nn.Module) -> nn.Module:
    """LoRA's own."""
    return lora.merge(model)


def parameter_groups(model: nn.Module, config: Config, learning_rate: float) -> list[dict[str, Any]]:
    """What an optimizer is given: A at the rate, B at `ratio` times it."""
    adapters = [module for module in model.modules() if isinstance(module, lora.LoRALinear)]
    return [
        {"params": [adapter.down for adapter in adapters], "lr": learning_rate},
        {"params": [adapter.up for adapter in adapters], "lr": learning_rate * config.ratio},
    ]

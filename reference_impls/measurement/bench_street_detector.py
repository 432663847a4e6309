"""A small detector for `street`: one guess a cell, trained in minutes, and made smaller in the usual ways.

What it finds it finds in drawings. It serves to show what compression does to groups where the truth is known.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.measurement.detection import Detections, Labels
from reference_impls.measurement.street import CELL, ROWS, Street, draw
from reference_impls.measurement.street import Config as Scene

WEIGHTS = Path(__file__).parent / "weights" / "street-detector.safetensors"
STEPS, BATCH = 1500, 32
LIGHT = ((0.3, 0.12), (0.5, 0.18), (0.5, 0.25), (0.6, 0.3))
"""Brightness and contrast of the scenes it is trained on."""


class Detector(nn.Module):
    """Five convolutions that halve five times: a cell of 32 pixels becomes one place with five numbers."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 3 * width, 4 * width, 4 * width]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images: (batch, 64, 96) -> (batch, 5, 2, 3): how sure, then the box as shares of the cell"""
        hidden = images[:, None] - 0.5
        for layer in self.layers:
            hidden = functional.relu(layer(hidden))
        found: Tensor = self.head(hidden)
        return found


def targets(street: Street) -> tuple[Tensor, Tensor]:
    """-> present (images, 2, 3), boxes (images, 4, 2, 3) as shares of their cell"""
    rows, columns = np.meshgrid(np.arange(ROWS), np.arange(street.present.shape[2]), indexing="ij")
    corner = np.stack([columns, rows, columns, rows], -1) * CELL
    boxes = (street.boxes - corner) / CELL
    return torch.from_numpy(street.present).float(), torch.from_numpy(boxes).float().permute(0, 3, 1, 2)


def train(steps: int = STEPS, seed: int = 0) -> Detector:
    """From nothing, on scenes drawn on the way."""
    torch.manual_seed(seed)
    model = Detector()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for step in range(steps):
        brightness, contrast = LIGHT[step % len(LIGHT)]
        street = draw(BATCH, 10_000 + step, Scene(brightness=brightness, contrast=contrast))
        present, boxes = targets(street)
        found = model(torch.from_numpy(street.images).float())
        loss = functional.binary_cross_entropy_with_logits(found[:, 0], present)
        distance = functional.smooth_l1_loss(found[:, 1:], boxes, reduction="none", beta=0.05).mean(1)
        loss = loss + 10 * (distance * present).sum() / present.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def load(path: Path = WEIGHTS) -> Detector:
    """The trained one that comes with this package."""
    from safetensors.torch import load_file

    model = Detector()
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.no_grad()
def detect(model: nn.Module, street: Street) -> list[Detections]:
    """One guess a cell, image by image."""
    found = torch.cat([model(torch.from_numpy(part).float()) for part in np.array_split(street.images, 8)])
    sure = found[:, 0].sigmoid().flatten(1).double().numpy()
    rows, columns = np.meshgrid(np.arange(ROWS), np.arange(found.shape[3]), indexing="ij")
    corner = np.stack([columns, rows, columns, rows], -1) * CELL
    boxes = found[:, 1:].permute(0, 2, 3, 1).double().numpy() * CELL + corner
    return [Detections(one, box.reshape(-1, 4)) for one, box in zip(sure, boxes, strict=True)]


def labels_of(street: Street, attribute: int) -> list[Labels]:
    """The figures of each image, grouped by one attribute."""
    return [
        Labels(street.attributes[image][present][:, attribute], street.boxes[image][present])
        for image, present in enumerate(street.present)
    ]


@torch.no_grad()
def rounded(model: Detector, bits: int) -> Detector:
    """Weights to nearest, one scale an output channel. The given model is not changed."""
    return _changed(model, lambda weight: _round(weight, bits))


@torch.no_grad()
def pruned(model: Detector, sparsity: float) -> Detector:
    """The smallest weights of each layer to zero, but for the first layer and the head."""
    return _changed(
        model, lambda weight: weight if weight.shape[1] == 1 or weight.shape[-1] == 1 else _cut(weight, sparsity)
    )


def _changed(model: Detector, change: Callable[[Tensor], Tensor]) -> Detector:
    result = Detector()
    state = {name: change(value) if value.ndim == 4 else value for name, value in model.named_parameters()}
    result.load_state_dict({name: value.detach().clone() for name, value in state.items()})
    return result.eval()


def _round(weight: Tensor, bits: int) -> Tensor:
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / most
    found: Tensor = (weight / scale).round().clamp(-most, most) * scale
    return found


def _cut(weight: Tensor, sparsity: float) -> Tensor:
    rank = weight.abs().flatten().argsort().argsort().view_as(weight)
    return weight * (rank >= int(sparsity * weight.numel()))

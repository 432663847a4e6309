"""A street that is drawn: figures of two sizes, with tone and sleeves, in light and contrast of our choice.

Paper: none; after the questions of arXiv 2308.02935 (size, tone, light), on images whose causes are known.
Idea: where an attribute has no part in what a detector can use, the true gap is zero; where it sets the height, a
    gap is real. Real photographs never say which of the two holds.
Symbols: size 0 tall, 1 small; tone 0 or 1, how far the figure stands out from the ground; sleeve 0 plain, 1 striped.
Simplified: grey, upright, three figures at most, no one in front of another. Figures are not people.
Differs: nothing to differ from.
Cost: a few thousand operations an image.
Checked against: what is drawn: boxes hold their figures, and the attributes are independent of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CELL, ROWS, COLUMNS = 32, 2, 3
"""An image has a place for a figure in each of 2 * 3 cells of 32 * 32 pixels."""
ATTRIBUTES = ("size", "tone", "sleeve")


@dataclass(frozen=True)
class Config:
    """How the scenes are lit, and how the attributes act."""

    brightness: float = 0.5
    contrast: float = 0.25
    """How far a figure stands out from the ground."""
    noise: float = 0.08
    tone_effect: float = 0.0
    """Contrast that figures of tone 1 lack, as a share; 0: tone has no part in what can be seen."""
    occupied: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.brightness <= 1 and 0 <= self.tone_effect <= 1 and 0 < self.occupied <= 1):
            raise ValueError(f"brightness, tone_effect and occupied must be shares, got {self}")
        if self.contrast < 0 or self.noise < 0:
            raise ValueError(f"contrast and noise must not be negative, got {self.contrast} and {self.noise}")


@dataclass(frozen=True)
class Street:
    """Images, and what stands in each cell."""

    images: Array  # (images, 64, 96)
    present: NDArray[np.bool_]  # (images, 2, 3)
    attributes: NDArray[np.int64]  # (images, 2, 3, 3): size, tone, sleeve, where a figure is
    boxes: Array  # (images, 2, 3, 4): x_min, y_min, x_max, y_max


def draw(images: int, seed: int, config: Config | None = None) -> Street:
    """So many scenes of a seed."""
    config = config or Config()
    rng = np.random.default_rng(seed)
    shape = (images, ROWS, COLUMNS)
    present = rng.random(shape) < config.occupied
    attributes = rng.integers(0, 2, (*shape, len(ATTRIBUTES)))
    boxes = np.zeros((*shape, 4))
    canvas = np.zeros((images, ROWS * CELL, COLUMNS * CELL))
    canvas += rng.normal(0, 0.04, (images, 1, COLUMNS * CELL))  # house fronts
    for image, row, column in zip(*np.nonzero(present), strict=True):
        place = (row * CELL, column * CELL)
        boxes[image, row, column] = _figure(canvas[image], place, attributes[image, row, column], config, rng)
    for image, row, column in zip(*np.nonzero(~present), strict=True):
        if rng.random() < 0.7:
            _post(canvas[image], (row * CELL, column * CELL), config, rng)
    seen = config.brightness + canvas + rng.normal(0, config.noise, canvas.shape)
    return Street(seen.clip(0, 1), present, attributes, boxes)


def _figure(
    canvas: Array, place: tuple[int, int], attributes: Array, config: Config, rng: np.random.Generator
) -> Array:
    """Head, body and two legs; sleeves are stripes of as much light as darkness. -> its box (4,)"""
    size, tone, sleeve = attributes
    height = int(rng.integers(11, 15) if size else rng.integers(21, 27))
    width = max(4, height // 3)
    top = place[0] + int(rng.integers(1, CELL - height - 1))
    left = place[1] + int(rng.integers(2, CELL - width - 2))
    level = config.contrast * (1 - config.tone_effect * tone) * (1 if rng.random() < 0.5 else -1)
    head, legs = height // 5 + 1, top + height * 3 // 5
    canvas[top : top + head, left + width // 4 : left + width - width // 4] += level
    canvas[top + head : legs, left : left + width] += level
    if sleeve:
        rows = canvas[top + head : legs, left : left + width]
        rows[0 : len(rows) // 2 * 2 : 2] += level / 4
        rows[1 : len(rows) // 2 * 2 : 2] -= level / 4
    leg = max(1, width // 3)
    canvas[legs : top + height, left : left + leg] += level
    canvas[legs : top + height, left + width - leg : left + width] += level
    return np.array([left, top, left + width, top + height], dtype=float)


def _post(canvas: Array, place: tuple[int, int], config: Config, rng: np.random.Generator) -> None:
    """Something that is no figure: a beam, upright or lying."""
    level = config.contrast * (1 if rng.random() < 0.5 else -1)
    if rng.random() < 0.5:
        left = place[1] + int(rng.integers(2, CELL - 4))
        canvas[place[0] + 2 : place[0] + CELL - 2, left : left + 2] += level
    else:
        top = place[0] + int(rng.integers(2, CELL - 8))
        canvas[top : top + 5, place[1] + 3 : place[1] + CELL - 3] += level

"""Detectors on real frames: whom the dark hides, by size of the box, against what was found in the frame as recorded.

Paper: after arXiv 2308.02935 (recall by box size and light); "Metamorphic Testing: A New Approach for Generating Next
    Test Cases" (Chen, Cheung and Yiu, 1998).
Idea: nobody labelled these frames. What a detector finds in a frame as recorded is the label, the same frame darkened
    by us is the test: who was found and is found no more was lost to the dark, or to a smaller model.
Symbols: brightness = factor on every pixel, 1 as recorded; group 0 tall boxes, group 1 boxes below the middle height.
Simplified: darkness is a factor and rounding to 8 bits; a night also brings noise, blur and headlights.
Differs: the paper has labels of people's attributes. Here the groups are sizes, the scenes are light, and nothing
    follows for attributes of people. Someone never found in full light is missing from the labels too.
Cost: one pass of the detector for each frame and brightness.
Checked against: made-up detectors whose recall by size and light is known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement import detection
from reference_impls.measurement.detection import Detections, Labels
from reference_impls.measurement.fairness import Outcomes

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Config:
    """Which frames are looked at, in which light, and which of them count as one."""

    frames: int = 32
    brightness: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1)
    together: int = 4
    """Neighbouring frames show the same people: so many in a row are one cluster."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.together < 1:
            raise ValueError(f"frames and together must be at least 1, got {self.frames} and {self.together}")
        if not self.brightness or self.brightness[0] != 1 or not all(0 < one <= 1 for one in self.brightness):
            raise ValueError(f"brightness must begin with 1 and stay above 0, got {self.brightness}")


def places(length: int, frames: int) -> list[int]:
    """Which frames of a video are taken: the middles of as many equal parts."""
    if frames > length:
        raise ValueError(f"expected at most {length} frames, which the video has, got {frames}")
    return [(2 * part + 1) * length // (2 * frames) for part in range(frames)]


def darkened(frame: Frame, brightness: float) -> Frame:
    """What 8 bits keep of a darker scene. frame: (height, width, channels) -> the same"""
    return (frame.astype(np.float64) * brightness).round().astype(np.uint8)


def labels_of(found: Sequence[Detections], matching: detection.Config | None = None) -> list[Labels]:
    """What a detector was sure of, as people to be found again, tall or not by the middle of all their heights.

    found: in the frames as recorded, image by image
    """
    level = (matching or detection.Config()).confidence
    sure = [one.boxes[one.confidence >= level] for one in found]
    every = np.concatenate(sure)
    middle = np.median(every[:, 3] - every[:, 1]) if len(every) else 0.0
    return [Labels((boxes[:, 3] - boxes[:, 1] < middle).astype(np.int64), boxes) for boxes in sure]


def outcomes(
    reference: Sequence[Detections],
    found: Sequence[Detections],
    config: Config | None = None,
    matching: detection.Config | None = None,
) -> Outcomes:
    """Who of `reference` (in the frames as recorded) is in `found` (of the same frames, darker or by another model)."""
    every = detection.outcomes(labels_of(reference, matching), list(found), matching)
    return replace(every, cluster=every.cluster // (config or Config()).together)

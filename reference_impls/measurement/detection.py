"""From labels and detections to hits: which labelled person a detector found.

Paper: arXiv 2308.02935, the matching of its released evaluators, first and revised.
Idea: a person is found where the detection of largest overlap overlaps enough and is confident enough. The whole study
    rests on these two conditions; reading the confidence from another line changes who seems to be missed.
Symbols: box = (x_min, y_min, x_max, y_max); overlap = intersection over union.
Simplified: nothing of the revised rule.
Differs: `one_to_one` is ours: a detection then counts for one person only, dearest pairs first. `first_artifact` keeps
    the first version's mistake, to show what it does: the confidence is that of the last line of the file.
Cost: O(labels * detections) an image.
Checked against: overlap counted on a raster, cases by hand, brute force over assignments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement.fairness import Outcomes

Array = NDArray[np.float64]
Rule = Literal["revised", "first_artifact", "one_to_one"]


@dataclass(frozen=True)
class Config:
    """When a person counts as found."""

    overlap: float = 0.5
    confidence: float = 0.5
    rule: Rule = "revised"

    def __post_init__(self) -> None:
        if not (0 <= self.overlap < 1 and 0 <= self.confidence <= 1):
            raise ValueError(f"overlap and confidence must be shares, got {self.overlap} and {self.confidence}")
        if self.rule not in ("revised", "first_artifact", "one_to_one"):
            raise ValueError(f"rule: expected revised, first_artifact or one_to_one, got {self.rule!r}")


@dataclass(frozen=True)
class Labels:
    """The people of one image."""

    group: NDArray[np.int64]  # (people,)
    boxes: Array  # (people, 4)


@dataclass(frozen=True)
class Detections:
    """What a detector says of one image, in its order."""

    confidence: Array  # (detections,)
    boxes: Array  # (detections, 4)


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union; a box without area overlaps nothing. a: (m, 4), b: (n, 4) -> (m, n)"""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(-1)
    area_a, area_b = ((one[:, 2:] - one[:, :2]).clip(0).prod(-1) for one in (a, b))
    union = area_a[:, None] + area_b[None] - common
    found: Array = np.where((common > 0) & (union > 0), common / np.where(union > 0, union, 1), 0.0)
    return found


def hits(labels: Labels, detections: Detections, config: Config | None = None) -> Array:
    """Found or not. -> (people,) of 0 and 1"""
    config = config or Config()
    people, found = len(labels.boxes), len(detections.boxes)
    if not people or not found:
        return np.zeros(people)
    shared = overlaps(labels.boxes, detections.boxes)
    if config.rule == "one_to_one":
        return _assigned(shared, detections.confidence, config)
    best = shared.argmax(1)
    confidence = detections.confidence[-1] if config.rule == "first_artifact" else detections.confidence[best]
    result: Array = ((shared.max(1) > config.overlap) & (confidence >= config.confidence)).astype(float)
    return result


def _assigned(shared: Array, confidence: Array, config: Config) -> Array:
    """Each detection to one person: pairs by falling overlap, as long as both are free."""
    allowed = np.where(confidence >= config.confidence, shared, 0)
    result = np.zeros(len(shared))
    free = np.ones(shared.shape[1], dtype=bool)
    for flat in allowed.argsort(axis=None, kind="stable")[::-1]:
        person, detection = divmod(int(flat), shared.shape[1])
        if allowed[person, detection] <= config.overlap:
            break
        if not result[person] and free[detection]:
            result[person], free[detection] = 1, False
    return result


def outcomes(
    labels: Sequence[Labels], detections: Sequence[Detections | None], config: Config | None = None
) -> Outcomes:
    """Every person of every image, image by image; an image is a cluster. No detections (no file): all are missed."""
    none = Detections(np.zeros(0), np.zeros((0, 4)))
    every = [hits(one, found or none, config) for one, found in zip(labels, detections, strict=True)]
    return Outcomes(
        np.concatenate(every),
        np.concatenate([one.group for one in labels]),
        np.repeat(np.arange(len(labels)), [len(one.group) for one in labels]),
    )


def read_labels(path: Path) -> Labels:
    """A file of lines `group x_min y_min x_max y_max`; group 0 male, adult or light, 1 female, child or dark."""
    rows = _rows(path)
    if not set(rows[:, 0].tolist()) <= {0.0, 1.0}:
        raise ValueError(f"{path}: groups must be 0 and 1, got {sorted(set(rows[:, 0].tolist()))}")
    return Labels(rows[:, 0].astype(np.int64), rows[:, 1:])


def read_detections(path: Path) -> Detections | None:
    """A file of lines `confidence x_min y_min x_max y_max`; None where there is no file."""
    if not path.exists():
        return None
    rows = _rows(path)
    return Detections(rows[:, 0], rows[:, 1:])


def _rows(path: Path) -> Array:
    found: list[list[float]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 5 or not np.isfinite(row).all():
            raise ValueError(f"{path}:{number}: expected five numbers, got {line!r}")
        found.append(row)
    return np.array(found, dtype=float).reshape(-1, 5)

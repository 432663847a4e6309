"""The released tables of a fairness study, computed once more: from its printed counts, or from its labels.

Paper: arXiv 2308.02935, the released raw results (printed counts by detector, attribute and scene) and label files.
Idea: a table that prints counts can be checked without its images: miss rates, gap and p follow from four numbers.
    Who has the label files as well can count again under each matching rule.
Symbols: zero, one = the two groups; hits of labels; EOD = miss rate of zero - miss rate of one.
Simplified: the test is the study's; adjusting for many tests and pairs are in `fairness`.
Differs: runs of a detector that agree to the last count are one run; the study averages ten of them. `pooled` takes
    mean counts over detectors, as the study's pooled rates do: eight detectors on one set are not eight sets.
Cost: O(lines).
Checked against: the study's printed rates, gaps and p-values for skin tone, all eight detectors; made-up label files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reference_impls.measurement import detection
from reference_impls.measurement.detection import read_detections, read_labels
from reference_impls.measurement.fairness import Counts, Outcomes, average_runs, two_proportion_test

NUMBER = r"(-?[\d.]+|nan)"
HEADING = re.compile(r"Evaluating (?:attribute: )?(\w+)(?: for (.+))?$")
DATASET = re.compile(r"Processing dataset: (.+)$")
DETECTOR = re.compile(r"=+ DT Type: (.+?) =+$")
RUN = re.compile(rf"[\w-]+ - Total: {NUMBER}, Success: {NUMBER}, MR: {NUMBER}$")
MEAN = re.compile(rf"[\w-]+ - Avg Total: {NUMBER}, Avg Success: {NUMBER}, Avg MR: {NUMBER}$")
GAP = re.compile(rf"Avg EOD: {NUMBER}$")
P_VALUE = re.compile(rf"Avg Two Proportions Z-test \(P-value\): {NUMBER}$")


@dataclass(frozen=True)
class Row:
    """One detector on one attribute in one scene or data set, as printed."""

    attribute: str
    scene: str
    detector: str
    zero: Counts
    one: Counts
    miss_rates: tuple[float, float]
    gap: float
    p: float
    distinct_runs: int
    """How many of the printed runs differ in their counts; 1: they say the same again."""


def read_results(path: Path) -> list[Row]:
    """The rows of a file of raw results, in its order."""
    attribute = scene = ""
    rows = []
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    for number, line in lines:
        if found := HEADING.match(line.strip()):
            attribute, scene = found[1], found[2] or ""
        elif found := DATASET.match(line.strip()):
            scene = found[1]
        elif found := DETECTOR.match(line.strip()):
            rows.append(_row(attribute, scene, found[1], lines, f"{path}:{number}"))
    if not rows:
        raise ValueError(f"{path}: expected a file of raw results, found no line `=== DT Type: … ===`")
    return rows


def _row(attribute: str, scene: str, detector: str, lines: Iterator[tuple[int, str]], place: str) -> Row:
    runs: list[tuple[str, ...]] = []
    means: list[list[float]] = []
    gap = None
    for _, line in lines:
        text = line.strip()
        if found := RUN.match(text):
            runs.append(found.groups())
        elif found := MEAN.match(text):
            means.append([float(one) for one in found.groups()])
        elif found := GAP.match(text):
            gap = float(found[1])
        elif (found := P_VALUE.match(text)) and gap is not None and len(means) == 2:
            (labels0, hits0, rate0), (labels1, hits1, rate1) = means
            zero, one = Counts(hits0, round(labels0)), Counts(hits1, round(labels1))
            distinct = len(set(zip(runs[0::2], runs[1::2], strict=True)))
            return Row(attribute, scene, detector, zero, one, (rate0, rate1), gap, float(found[1]), distinct)
        elif DETECTOR.match(text):
            break
    raise ValueError(f"{place}: {detector}: expected mean counts of two groups, their gap and a p-value")


def recomputed(row: Row) -> Row:
    """The same row with its rates, gap and p from the counts alone."""
    rates = (row.zero.miss_rate, row.one.miss_rate)
    return replace(row, miss_rates=rates, gap=rates[0] - rates[1], p=two_proportion_test(row.one, row.zero).p)


def largest_difference(row: Row) -> float:
    """Between what is printed and what the counts give, over rates, gap and p; rounding to 4 digits explains 5e-5."""
    again = recomputed(row)
    pairs = zip((*row.miss_rates, row.gap, row.p), (*again.miss_rates, again.gap, again.p), strict=True)
    return max(abs(a - b) for a, b in pairs)


def pooled(rows: Sequence[Row]) -> tuple[Counts, Counts]:
    """Mean counts of detectors on one set of labels: group 0, group 1."""
    sets = {(row.zero.labels, row.one.labels) for row in rows}
    if len(sets) != 1:
        raise ValueError(f"expected rows of one set of labels, got {sorted(sets)}")
    ((labels0, labels1),) = sets
    hits0, hits1 = np.mean([(row.zero.hits, row.one.hits) for row in rows], axis=0)
    return Counts(float(hits0), labels0), Counts(float(hits1), labels1)


def recount(labels: Path, detections: Path, matching: detection.Config | None = None) -> Outcomes:
    """Every labelled person of a folder of label files, found or not by a detector's files of the same names.

    detections: a folder of files, or of folders `results_0`, `results_1`, …: runs, which are averaged by person.
    """
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise ValueError(f"{labels}: expected label files, a .txt for each image")
    people = [read_labels(file) for file in files]
    runs = sorted(detections.glob("results_*")) or [detections]
    every = [detection.outcomes(people, [read_detections(run / file.name) for file in files], matching) for run in runs]
    return replace(every[0], hit=average_runs(np.stack([one.hit for one in every])))

"""Matching against rasters, hands and brute force; the first artifact's mistake must show."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.measurement import detection
from reference_impls.measurement.detection import Config, Detections, Labels, hits, outcomes, overlaps

corner = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


def boxes(*rows):
    return np.array(rows, dtype=float).reshape(-1, 4)


def one_person(*found):
    labels = Labels(np.array([1]), boxes((0, 0, 10, 20)))
    return labels, Detections(np.array([c for c, _ in found]), boxes(*(b for _, b in found)))


@given(a=corner, b=corner)
def test_overlap_is_that_counted_on_a_raster(a, b):
    def cells(box):
        return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}

    common, union = len(cells(a) & cells(b)), len(cells(a) | cells(b))
    assert overlaps(boxes(a), boxes(b))[0, 0] == pytest.approx(common / union if union and common else 0)


def test_the_first_artifact_reads_the_confidence_of_the_last_line():
    labels, found = one_person((0.9, (0, 0, 10, 20)), (0.1, (50, 50, 60, 60)))
    assert hits(labels, found).tolist() == [1]
    assert hits(labels, found, Config(rule="first_artifact")).tolist() == [0]
    labels, found = one_person((0.1, (0, 0, 10, 20)), (0.9, (50, 50, 60, 60)))
    assert hits(labels, found).tolist() == [0]
    assert hits(labels, found, Config(rule="first_artifact")).tolist() == [1]


def test_the_box_of_largest_overlap_decides_even_if_a_surer_one_is_near():
    labels, found = one_person((0.4, (0, 0, 10, 20)), (0.95, (0, 0, 10, 16)))
    assert hits(labels, found).tolist() == [0]


def test_the_two_thresholds_are_as_the_evaluator_has_them():
    labels, half = one_person((0.5, (0, 0, 10, 10)))
    assert hits(labels, half).tolist() == [0]  # overlap must be above one half
    labels, more = one_person((0.5, (0, 0, 10, 11)))
    assert hits(labels, more).tolist() == [1]  # confidence may be one half


def test_one_detection_may_count_for_two_people_but_not_one_to_one():
    labels = Labels(np.array([0, 1]), boxes((0, 0, 10, 20), (1, 0, 11, 20)))
    found = Detections(np.array([0.9]), boxes((0, 0, 10, 20)))
    assert hits(labels, found).tolist() == [1, 1]
    assert hits(labels, found, Config(rule="one_to_one")).tolist() == [1, 0]


@given(seed=st.integers(0, 10_000))
def test_one_to_one_never_finds_more_than_the_best_assignment(seed):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 6, (3, 2))
    labels = Labels(np.array([0, 1, 0]), np.hstack([low, low + 8]).astype(float))
    found = Detections(rng.random(3), np.hstack([low, low + 8])[rng.permutation(3)] + rng.normal(0, 1, (3, 4)))
    ours = hits(labels, found, Config(rule="one_to_one"))
    good = (overlaps(labels.boxes, found.boxes) > 0.5) & (found.confidence >= 0.5)
    best = max(sum(good[i, p[i]] for i in range(3)) for p in permutations(range(3)))
    assert best / 2 <= ours.sum() <= min(best, hits(labels, found, Config(confidence=0)).sum() + 3)
    assert ours.sum() <= (found.confidence >= 0.5).sum()


def test_boxes_without_area_and_images_without_a_file():
    labels, found = one_person((0.9, (3, 3, 3, 9)), (0.8, (5, 9, 1, 2)))
    assert hits(labels, found).tolist() == [0]
    both = outcomes([labels, Labels(np.array([0]), boxes((0, 0, 5, 5)))], [None, found])
    assert both.hit.tolist() == [0, 0] and both.cluster.tolist() == [0, 1]


def test_released_files_are_read_and_bad_lines_named(tmp_path):
    (tmp_path / "l").write_text("0 1 2 3 4\n\n1 5 6 7 8\n")
    (tmp_path / "d").write_text("0.75 1 2 3 4\n")
    (tmp_path / "bad").write_text("0 1 2 3 4\n0 1 2 three 4\n")
    (tmp_path / "group").write_text("2 1 2 3 4\n")
    assert detection.read_labels(tmp_path / "l").group.tolist() == [0, 1]
    found = detection.read_detections(tmp_path / "d")
    assert found is not None and found.confidence.tolist() == [0.75]
    assert detection.read_detections(tmp_path / "none") is None
    with pytest.raises(ValueError, match="bad:2: expected five numbers"):
        detection.read_labels(tmp_path / "bad")
    with pytest.raises(ValueError, match="groups must be 0 and 1"):
        detection.read_labels(tmp_path / "group")
    (tmp_path / "empty").write_text("")
    empty = detection.read_detections(tmp_path / "empty")
    assert empty is not None and len(empty.boxes) == 0

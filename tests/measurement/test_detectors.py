"""Recall by size and light of made-up detectors is what they were made for; the real ones where they are installed."""

import json
import os
import sys

import numpy as np
import pytest

from reference_impls.measurement import bench_detectors, detectors, peer_detectors
from reference_impls.measurement.case import NotInstalledError
from reference_impls.measurement.detection import Detections
from reference_impls.measurement.detectors import Config, darkened, labels_of, outcomes, places
from reference_impls.measurement.fairness import change_of_gap, gap

TALL, SMALL = (10, 10, 30, 90), (50, 10, 60, 50)


def scene(*people):
    """Each person is a rectangle of one level of grey, on black."""
    frame = np.zeros((100, 100, 3), dtype=np.uint8)
    for (left, top, right, bottom), level in people:
        frame[top:bottom, left:right] = level
    return frame


def seen(frame, least=60):
    """A detector of known answer: whoever is not darker than a level that rises as the box gets smaller."""
    kept = []
    for left, top, right, bottom in (TALL, SMALL):
        level, needed = frame[top:bottom, left:right].mean(), least * 80 / (bottom - top)
        if level >= needed:
            kept.append([0.9, left, top, right, bottom])
    rows = np.array(kept, dtype=float).reshape(-1, 5)
    return Detections(rows[:, 0], rows[:, 1:])


FRAMES = [scene((TALL, 250), (SMALL, level)) for level in (250, 250, 130, 230)] * 2


def kept(brightness, least=60):
    reference = [seen(frame) for frame in FRAMES]
    return outcomes(reference, [seen(darkened(frame, brightness), least) for frame in FRAMES], Config(together=2))


def test_the_frames_as_recorded_lose_nobody():
    every = kept(1.0)
    assert every.hit.tolist() == [1] * 16
    assert every.group.tolist() == [0, 1] * 8
    assert every.cluster.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize(("brightness", "tall", "small"), [(0.5, 1, 0.5), (0.25, 1, 0), (0.2, 0, 0)])
def test_recall_by_size_and_light_is_that_of_the_rule(brightness, tall, small):
    # Tall ones need a level of 60, small ones 120: half the light leaves 125, 65 and 115; a quarter 62; a fifth 50.
    every = kept(brightness)
    assert (every.counts(0).recall, every.counts(1).recall) == (tall, small)
    moved = change_of_gap(kept(1.0), every)
    assert moved.value == pytest.approx(small - tall) == gap(every)


def test_a_weaker_detector_is_compared_on_the_people_of_the_first():
    weaker = kept(1.0, least=120)  # small ones need 240
    assert weaker.counts(0).labels == weaker.counts(1).labels == 8
    assert (weaker.counts(0).recall, weaker.counts(1).recall) == (1, 0.5)
    assert weaker.hit.tolist() == [1, 1, 1, 1, 1, 0, 1, 0] * 2  # 250, 250, 130 and 230, twice


def test_someone_who_moved_away_is_not_found_again():
    one = Detections(np.array([0.9]), np.array([TALL], dtype=float))
    moved = Detections(one.confidence, one.boxes + 15)
    both = Detections(np.array([0.9, 0.9]), np.array([TALL, SMALL], dtype=float))
    assert outcomes([both], [moved]).hit.tolist() == [0, 0]
    assert outcomes([both], [one]).hit.tolist() == [1, 0]


def test_what_a_detector_was_not_sure_of_is_no_label():
    unsure = Detections(np.array([0.4, 0.6]), np.array([TALL, SMALL], dtype=float))
    (labels,) = labels_of([unsure])
    assert labels.boxes.tolist() == [list(map(float, SMALL))]
    assert [len(one.boxes) for one in labels_of([Detections(np.zeros(0), np.zeros((0, 4)))])] == [0]


def test_sizes_part_at_the_middle_of_all_heights():
    rng = np.random.default_rng(0)
    heights = rng.permutation(np.arange(20, 80))
    boxes = np.stack([np.zeros(60), np.zeros(60), np.full(60, 9), heights], 1)
    found = [Detections(np.ones(20), part) for part in np.split(boxes, 3)]
    groups = np.concatenate([one.group for one in labels_of(found)])
    assert groups.sum() == 30
    assert heights[groups == 1].max() < heights[groups == 0].min()


def test_darkness_is_rounded_to_eight_bits():
    frame = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(darkened(frame, 1.0), frame)
    assert len(np.unique(darkened(frame, 0.1))) == 27  # 0 to 26
    assert darkened(frame, 0.5)[0, 3, 0] == 2  # 1.5, to the even one


def test_frames_lie_evenly_and_once():
    assert places(10, 5) == [1, 3, 5, 7, 9]
    assert places(7, 7) == [*range(7)]
    found = np.array(places(795, 32))
    assert set(np.diff(found)) <= {24, 25} and found[0] > 0 and found[-1] < 795
    with pytest.raises(ValueError, match="at most 3"):
        places(3, 4)


@pytest.mark.parametrize("bad", [{"frames": 0}, {"brightness": (0.5,)}, {"brightness": (1.0, 0.0)}, {"together": 0}])
def test_settings_that_make_no_study_are_refused(bad):
    with pytest.raises(ValueError, match=r"brightness|frames"):
        Config(**bad)


def test_without_the_files_the_message_says_what_to_get(monkeypatch):
    bench_detectors.found.cache_clear()
    monkeypatch.delenv(bench_detectors.VIDEO, raising=False)
    case = bench_detectors.cases()[2]
    for one in case.implementations:
        with pytest.raises(NotInstalledError, match=r"STREET_VIDEO names no file; .*opencv-doc"):
            one.prepare(case.workload, "cpu")


def test_a_python_without_the_packages_is_named(monkeypatch, tmp_path):
    bench_detectors.found.cache_clear()
    blocked = tmp_path / "cv2.py"
    blocked.write_text("raise ImportError('no OpenCV here')")
    runner = tmp_path / "python"
    runner.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    runner.chmod(0o755)
    video = tmp_path / "some.avi"
    video.write_bytes(b"")
    monkeypatch.setenv(bench_detectors.VIDEO, str(video))
    monkeypatch.setenv(bench_detectors.PYTHON, str(runner))
    with pytest.raises(NotInstalledError, match="no OpenCV here"):
        bench_detectors.found("hog")


def test_cases_hold_together():
    cases = {case.id.removeprefix("measurement/video/"): case for case in bench_detectors.cases()}
    assert len(cases) == 8 + 3 + 4
    for case in cases.values():
        assert case.implementations[0].role == "baseline" and "attributes of people" in case.workload["labels"]
    assert len(cases["light-100/size-by-int8/group_gap_change"].implementations) == 2
    assert len(cases["light-10/small/recall"].implementations) == 4


def real(name):
    """Of a few frames, in two lights."""
    video, model = (os.environ.get(one, "") for one in (bench_detectors.VIDEO, bench_detectors.MODEL))
    if not video or not model:
        pytest.skip("STREET_VIDEO and SSDLITE_ONNX name no files")
    job = {"detector": name, "video": video, "model": model, "frames": 3, "brightness": [1, 0.1], "calibration": 4}
    return bench_detectors.ask(name, json.dumps(job))


@pytest.mark.slow
@pytest.mark.parametrize("name", bench_detectors.DETECTORS)
def test_real_detectors_find_people_twice_alike_and_fewer_in_the_dark(name):
    one, two = real(name), real(name)
    assert one == two
    bright, dark = ([len([row for row in rows if row[0] >= 0.5]) for rows in frames] for frames in one["found"])
    assert 3 <= sum(bright) < 60
    assert sum(dark) < sum(bright)
    for rows in one["found"][0]:
        boxes = np.array(rows).reshape(-1, 5)
        assert ((boxes[:, 3] > boxes[:, 1]) & (boxes[:, 4] > boxes[:, 2])).all()
        assert (boxes[:, 1:] > -20).all() and (boxes[:, 3] < 790).all() and (boxes[:, 4] < 600).all()


@pytest.mark.slow
def test_rounding_to_eight_bits_keeps_most_people():
    dense, small = (real(name)["found"][0] for name in (bench_detectors.FLOAT, bench_detectors.INT8))
    as_detections = [
        [Detections(np.array(rows)[:, 0], np.array(rows)[:, 1:]) for rows in one] for one in (dense, small)
    ]
    hit = outcomes(*as_detections).hit
    assert 0.6 < hit.mean() <= 1
    assert dense != small


def test_the_children_of_this_package_start_without_torch():
    assert "torch" not in vars(peer_detectors) and "torch" not in vars(detectors)

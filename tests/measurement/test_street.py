"""Drawings hold what they say, and the study of the small detector finds the gaps that are there and no other."""

import numpy as np
import pytest

from reference_impls.measurement.street import CELL, Config, draw

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
from reference_impls.measurement import bench_street  # noqa: E402
from reference_impls.measurement import bench_street_detector as detector  # noqa: E402
from reference_impls.measurement.detection import Config as Matching  # noqa: E402
from reference_impls.measurement.detection import outcomes  # noqa: E402
from reference_impls.measurement.fairness import gap, newcombe  # noqa: E402

torch.set_num_threads(1)


def test_a_scene_is_the_same_each_time_and_within_its_range():
    one, two = draw(3, 5), draw(3, 5)
    assert np.array_equal(one.images, two.images) and not np.array_equal(one.images, draw(3, 6).images)
    assert one.images.min() >= 0 and one.images.max() <= 1


def test_a_box_holds_its_figure_and_lies_in_its_cell():
    street = draw(40, 0, Config(noise=0, contrast=0.4))
    for image, row, column in zip(*np.nonzero(street.present), strict=True):
        left, top, right, bottom = street.boxes[image, row, column].astype(int)
        assert row * CELL <= top < bottom <= (row + 1) * CELL
        assert column * CELL <= left < right <= (column + 1) * CELL
        inside = street.images[image, top:bottom, left:right]
        assert np.abs(inside - 0.5).max() > 0.25
        assert (bottom - top < 16) == bool(street.attributes[image, row, column, 0])


def test_attributes_are_independent():
    street = draw(1500, 3)
    size, tone, sleeve = street.attributes[street.present].T
    for a, b in ((size, tone), (size, sleeve), (tone, sleeve)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_tone_acts_only_where_it_is_told_to():
    def stands_out(effect):
        street = draw(300, 7, Config(noise=0, tone_effect=effect))
        found = {0: [], 1: []}
        for image, row, column in zip(*np.nonzero(street.present), strict=True):
            left, top, right, bottom = street.boxes[image, row, column].astype(int)
            found[int(street.attributes[image, row, column, 1])].append(
                np.abs(street.images[image, top:bottom, left:right] - 0.5).mean()
            )
        return np.mean(found[1]) / np.mean(found[0])

    assert stands_out(0) == pytest.approx(1, abs=0.06)
    assert stands_out(0.6) < 0.7


def test_weights_are_those_of_the_card():
    model = detector.load()
    assert sum(one.numel() for one in model.parameters()) == 83_637
    assert 50_000 < 83_637 < 200_000 and detector.WEIGHTS.stat().st_size < 1_000_000


def test_one_step_of_training_is_reproducible():
    torch.manual_seed(0)
    one, two = detector.train(steps=3), detector.train(steps=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_smaller_detectors_leave_the_given_one_alone():
    model = detector.load()
    before = [one.clone() for one in model.parameters()]
    small = detector.rounded(model, 4)
    assert len(small.layers[1].weight[0].unique()) <= 15
    cut = detector.pruned(model, 0.5)
    assert (cut.layers[1].weight == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(detector.pruned(model, 0).layers[2].weight, model.layers[2].weight)


def test_the_known_truth_is_found():
    for attribute in ("tone", "sleeve"):
        found = bench_street.found(bench_street.DENSE, attribute)
        lo, hi = newcombe(found.counts(1), found.counts(0), 0.999)
        assert lo < 0 < hi
    assert gap(bench_street.found(bench_street.DENSE, "size")) < -0.1
    assert gap(bench_street.found("int8", "size")) == pytest.approx(
        gap(bench_street.found("float32", "size")), abs=0.03
    )


def test_a_tone_that_acts_is_noticed():
    street = draw(400, 9, Config(brightness=0.5, contrast=0.25, tone_effect=0.6))
    found = outcomes(detector.labels_of(street, 1), [*detector.detect(detector.load(), street)])
    lo, hi = newcombe(found.counts(1), found.counts(0))
    assert hi < 0 and lo > -1


def test_the_matching_mistake_changes_recall_but_chance_keeps_the_groups_alike():
    right = bench_street.found(bench_street.DENSE, "tone")
    wrong = bench_street.found(bench_street.DENSE, "tone", Matching(rule="first_artifact"))
    assert wrong.hit.mean() < right.hit.mean() - 0.1  # the last guess of a scene is often of an empty cell
    assert abs(gap(wrong)) < 4 * np.sqrt(0.5 / len(wrong.hit) * 2)


def test_cases_hold_together():
    cases = bench_street.cases()
    assert len(cases) == 9
    for case in cases:
        assert case.implementations[0].name == bench_street.DENSE
    zero = next(case for case in cases if case.id.endswith("size/change/group_gap_change"))
    assert zero.implementations[0].prepare(zero.workload, "cpu")() == 0

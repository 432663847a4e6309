"""The cases of this family: every way runs, seeds are trials, and what is evaluated is not trained on."""

import pytest
import torch

from reference_impls.distillation import bench, methods, text_methods

pytest.importorskip("tokenizers", reason="tokenizers is not installed")
[LANGUAGE] = [case for case in bench.cases() if "equal-tokens" in case.id]


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(bench, "BATCH", 2)
    monkeypatch.setattr(bench, "LENGTH", 24)


def test_every_method_of_the_family_takes_part():
    modules = {one.module for case in bench.cases() for one in case.implementations}
    assert {*methods(), *text_methods()} == modules - {None}


@pytest.mark.parametrize("name", [one.name for one in LANGUAGE.implementations])
def test_a_way_trains_a_student_and_another_seed_another(few_steps, name):
    [one] = [one for one in LANGUAGE.implementations if one.name == name]
    step, again = (one.prepare(LANGUAGE.workload, "cpu") for _ in range(2))
    first, second = step(), step()
    assert first == again() != second
    assert 1 < first < 2000  # a vocabulary of 1,024, nearly untrained


def test_windows_are_behind_what_is_evaluated_and_equally_often():
    windows = torch.cat(bench.windows_of(0))
    places = bench.text()[bench.EVALUATED :].unfold(0, bench.LENGTH + 1, bench.LENGTH)
    counts = [int((places == window).all(1).any()) for window in windows[:20]]
    assert counts == [1] * 20
    _, times = windows.unique(dim=0, return_counts=True)
    assert int(times.max() - times.min()) <= 1

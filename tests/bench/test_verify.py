"""Verifying: recorded ratios are compared with new ones, of the same workload only."""

import json

import pytest

pytest.importorskip("torch")

from reference_impls.measurement.case import Case, Ceilings, Implementation
from scripts.bench import verify as module
from scripts.bench.runner import Budget, run_case
from scripts.bench.verify import verify


def case_of(value, workload=None):
    ways = (
        Implementation("m", "method", "kernel", lambda *_: lambda: value, module="m"),
        Implementation("b", "baseline", "kernel", lambda *_: lambda: 10.0),
    )
    return Case("s/c/x", "", "perplexity", workload or {"model": "x"}, ways, False, no_limit="a test")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "measure_ceilings", lambda device: Ceilings())
    recorded = run_case(case_of(20.0), "cpu", Ceilings(), Budget()).measurements
    (tmp_path / "results" / "k").mkdir(parents=True)
    run = {"machine": {"name": "k"}, "measurements": recorded}
    (tmp_path / "results" / "k" / "s.json").write_text(json.dumps(run))
    return tmp_path


@pytest.mark.parametrize(
    "value, code, word", [(20.0, 0, "agrees"), (20.02, 0, "agrees"), (20.2, 1, "DIFFERS"), (19.0, 1, "DIFFERS")]
)
def test_a_value_is_compared_with_the_record(root, value, code, word):
    said = []
    assert verify(root, [case_of(value)], "cpu", Budget(), said.append) == code
    assert said[-1].endswith(word)
    assert "recorded on k 2x" in said[-1]


def test_another_workload_is_not_compared(root):
    said = []
    assert verify(root, [case_of(20.0, {"model": "y"})], "cpu", Budget(), said.append) == 2
    assert any("with another workload; not compared" in line for line in said)


def test_nothing_recorded_is_told(tmp_path, root):
    assert verify(tmp_path / "empty", [case_of(20.0)], "cpu", Budget(), lambda _: None) == 2

"""A sweep computes each point once, survives a stop, and calls nothing outside the library."""

import json

import pytest

pytest.importorskip("numpy")

from scripts.bench.sweep import SweepError, call, grid, known, main, sweep


@pytest.fixture
def function(monkeypatch):
    """A function of the library that fails at two."""
    from reference_impls.measurement import intervals

    def point(a: int, b: str = "x") -> dict[str, float]:
        if a == 2:
            raise ValueError("two is refused")
        return {"value": a * 10 + len(b)}

    monkeypatch.setattr(intervals, "point", point, raising=False)
    return "measurement.intervals:point"


def test_the_grid_is_every_combination_with_numbers_as_numbers():
    assert grid(["a=1,2.5", "b=x,true"]) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": True},
        {"a": 2.5, "b": "x"},
        {"a": 2.5, "b": True},
    ]
    for wrong in ("a", "a=", "=1", "a b=1"):
        with pytest.raises(SweepError, match="expected name=value"):
            grid([wrong])


def test_each_point_is_a_line_and_is_computed_once(function, tmp_path):
    file = tmp_path / "s" / "x.jsonl"
    said = [*sweep(function, grid(["a=1,2,3", "b=xy"]), file)]
    assert len(said) == 3
    assert "failed; two is refused" in said[1]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [
        {"parameters": {"a": 1, "b": "xy"}, "values": {"value": 12.0}},
        {"parameters": {"a": 3, "b": "xy"}, "values": {"value": 32.0}},
    ]
    assert len([*sweep(function, grid(["a=1,2,3,4", "b=xy"]), file)]) == 2  # the one that failed, and the new one


def test_half_a_line_of_a_killed_sweep_is_computed_again(function, tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"parameters": {"a": 1}, "values": {"value": 11.0}}\n{"parameters": {"a": 3}, "val')
    assert known(file) == [{"a": 1}]
    assert len([*sweep(function, grid(["a=1,3"]), file)]) == 1
    assert known(file) == [{"a": 1}, {"a": 3}]


@pytest.mark.parametrize(
    "name",
    ["os:system", "../x:y", "measurement.intervals", "measurement.intervals:_hidden", "measurement.nothing:x", "a:b:c"],
)
def test_only_functions_of_the_library_are_called(name, tmp_path, capsys):
    assert main([name, "a=1", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err


def test_values_are_numbers(function):
    assert call(function, {"a": 1}) == {"value": 11.0}


def test_the_simulators_can_be_swept():
    calm, full = (
        call("serving.sweeps:simulate", {"policy": "fcfs", "load": load, "requests": 60}) for load in (0.3, 1.2)
    )
    assert calm["jct"] < full["jct"]
    fast = call("serving.sweeps:simulate", {"policy": "fastserve", "load": 1.2, "requests": 60, "quantum_s": 0.025})
    assert fast["preemptions"] >= 0
    assert fast.keys() == full.keys()
    poor, rich = (call("cluster.sweeps:simulate", {"policy": "powerflow", "watts": w, "jobs": 20}) for w in (45, 190))
    assert rich["mean_jct_s"] < poor["mean_jct_s"]
    assert rich["energy_j"] > poor["energy_j"]


@pytest.mark.parametrize("family", ["serving", "cluster"])
def test_a_policy_that_is_not_there_is_told(family):
    with pytest.raises(ValueError, match="there is no policy 'nobody'; there are"):
        call(f"{family}.sweeps:simulate", {"policy": "nobody"})

"""Ceilings: the larger of two measurements is kept, limits follow it, and reading is measured beyond the caches."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit  # noqa: E402
from scripts.bench import ceilings as module  # noqa: E402
from scripts.bench.ceilings import larger, measure_ceilings  # noqa: E402
from scripts.bench.runner import Budget, run_case, with_limits  # noqa: E402

rate = st.none() | st.floats(1, 1e13)
measured = st.builds(
    Ceilings, rate, rate, st.none() | st.dictionaries(st.sampled_from(["float32", "bfloat16"]), st.floats(1, 1e13))
)


@given(measured, measured)
def test_larger_takes_each_figure_from_the_run_that_reached_more(one, other):
    both = larger(one, other)
    assert both == larger(other, one)
    for name in ("copy_bytes_per_s", "read_bytes_per_s", "disk_read_bytes_per_s"):
        known = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        assert getattr(both, name) == (max(known) if known else None)
    parts = [part.matmul_flops_per_s or {} for part in (one, other)]
    for name in {*parts[0], *parts[1]}:
        assert both.matmul_flops_per_s[name] == max(part[name] for part in parts if name in part)


@given(measured)
def test_a_figure_is_kept_where_only_one_run_has_it(one):
    same = larger(one, Ceilings())
    assert same.read_bytes_per_s == one.read_bytes_per_s
    assert (same.matmul_flops_per_s or {}) == (one.matmul_flops_per_s or {})


def test_limits_follow_the_ceilings_of_the_end():
    formula = lambda workload, ceilings: Limit(1000 / ceilings.read_bytes_per_s, "1000 B / read bandwidth")  # noqa: E731
    ways = (
        Implementation("bounded", "method", "kernel", lambda *_: lambda: 3.0, limit=formula, module="rtn"),
        Implementation("free", "baseline", "kernel", lambda *_: lambda: 2.0),
    )
    case = Case("s/c/x", "", "step_time", {}, ways, False)
    result = run_case(case, "cpu", Ceilings(read_bytes_per_s=100.0), Budget())
    later = with_limits(case, result, Ceilings(read_bytes_per_s=200.0))
    first, then = ({m["implementation"]: m for m in r.measurements} for r in (result, later))
    assert (first["bounded"]["limit"]["value"], then["bounded"]["limit"]["value"]) == (10, 5)
    assert then["free"]["limit"] is None
    assert [m["module"] for m in later.measurements] == ["rtn", None]
    assert [m["samples"] for m in later.measurements] == [m["samples"] for m in result.measurements]


def test_every_figure_of_a_cpu_is_measured_and_possible(monkeypatch):
    monkeypatch.setattr(module, "REPEATS", 1)
    monkeypatch.setattr(module, "COPY_BYTES", {"cpu": 64 << 20})
    monkeypatch.setattr(module, "MATMUL_SIDE", {"cpu": 64})
    monkeypatch.setattr(module, "DISK_BYTES", 2 << 20)
    found = measure_ceilings("cpu")
    assert set(found.matmul_flops_per_s) == {"float32", "bfloat16", "int8"}
    assert found.copy_bytes_per_s > 1e7
    assert found.read_bytes_per_s > 1e7
    assert found.host_to_device_bytes_per_s is None


def test_a_suite_takes_over_what_was_measured_just_before_it(monkeypatch):
    from scripts.bench import __main__ as bench

    counted = []
    monkeypatch.setattr(bench, "_LAST", {})
    monkeypatch.setattr(
        bench, "measure_ceilings", lambda device: counted.append(device) or Ceilings(float(len(counted)))
    )
    assert bench._ceilings("cpu", 60.0) == Ceilings(1.0)  # nothing known: measured
    assert bench._ceilings("cpu") == Ceilings(2.0)  # the end of a suite: measured again
    assert bench._ceilings("cpu", 60.0) == Ceilings(2.0)  # the next suite begins with that
    assert bench._ceilings("cuda", 60.0) == Ceilings(3.0)  # another device is another machine

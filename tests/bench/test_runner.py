"""The runner: rounds, stopping, and what becomes of implementations that cannot run."""

import itertools
import time

import pytest

torch = pytest.importorskip("torch")

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality  # noqa: E402
from reference_impls.measurement.superflow import Config as RuleConfig  # noqa: E402
from reference_impls.measurement.superflow import Stopper  # noqa: E402
from scripts.bench.__main__ import values_first  # noqa: E402
from scripts.bench.runner import Budget, Contestant, _dismiss, find, run_case  # noqa: E402

QUICK = Budget(value_error=0.5, ratio_error=0.5, max_rounds=60, max_seconds=3)


def sleeper(seconds):
    return lambda workload, device: lambda: time.sleep(seconds)


def value(number):
    return lambda workload, device: lambda: number


def one(name, role, prepare, **more):
    return Implementation(name, role, "kernel", prepare, **more)


def timed_case(*implementations, **more):
    return Case("suite/case", "a case", "decode_throughput", {}, implementations, True, 1.0, no_limit="a test", **more)


def measured(result):
    return {item["implementation"]: item for item in result.measurements}


def test_a_rate_is_the_amount_over_the_time_and_the_slower_one_has_the_lower_rate():
    case = timed_case(one("fast", "method", sleeper(0.001)), one("slow", "baseline", sleeper(0.004)))
    found = measured(run_case(case, "cpu", Ceilings(), QUICK))
    assert all(sample < 1000 for sample in found["fast"]["samples"])  # a sleep never ends early, but may end late
    assert max(found["slow"]["samples"]) <= 250


STRICT = Budget(value_error=0.001, ratio_error=0.001, max_rounds=12, max_seconds=3)


def test_every_implementation_runs_once_in_every_round():
    calls = []

    def prepare(name):
        return lambda workload, device: lambda: calls.append(name) or time.sleep(0.0005)

    case = timed_case(one("a", "method", prepare("a")), one("b", "baseline", prepare("b")))
    found = measured(run_case(case, "cpu", Ceilings(), STRICT))
    assert found["a"]["rounds"] == found["b"]["rounds"] == 12
    counted = calls[-24:]
    assert all(set(counted[at : at + 2]) == {"a", "b"} for at in range(0, 24, 2))


def contestant(name, role, samples, budget):
    rule = RuleConfig(interval=budget.interval, error_bound=budget.value_error, max_n=budget.max_rounds)
    made = Contestant(one(name, role, sleeper(0)), lambda: None, Stopper(rule), samples[0])
    for seconds in samples:
        made.samples.append(seconds)
        made.stopper.update(seconds)
    return made


def test_each_leaves_when_it_is_known_or_has_spent_its_share_and_the_baseline_is_last():
    budget = Budget(max_seconds=10)
    steady = [0.01 + 1e-6 * (at % 3) for at in range(40)]
    wild = [0.01 * (1 + at % 2) for at in range(40)]
    slow = [0.1 * (1 + at % 2) for at in range(40)]
    base, known, unknown, spent = (
        contestant("base", "baseline", steady, budget),
        contestant("known", "method", steady, budget),
        contestant("unknown", "method", wild, budget),
        contestant("spent", "peer", slow, budget),
    )
    _dismiss([base, known, unknown, spent], budget, late=False)
    assert (base.reason, known.reason, unknown.reason, spent.reason) == ("", "converged", "", "max_seconds")
    _dismiss([base, known, unknown, spent], budget, late=True)
    assert (base.reason, unknown.reason) == ("converged", "max_seconds")


def test_a_steady_value_does_not_converge_against_a_baseline_that_is_not():
    budget = Budget(max_seconds=100)
    steady, wild = [0.01 + 1e-6 * (at % 3) for at in range(40)], [0.01 * (1 + at % 2) for at in range(40)]
    base, method = contestant("b", "baseline", wild, budget), contestant("m", "method", steady, budget)
    _dismiss([base, method], budget, late=False)
    assert (base.reason, method.reason) == ("", "")


def test_a_slow_implementation_does_not_take_the_rounds_of_a_quick_one():
    quick = [one("b", "baseline", sleeper(0.0005)), one("q", "method", sleeper(0.0005))]
    strict = Budget(value_error=0.001, ratio_error=0.001, max_rounds=100, max_seconds=1.5)
    slow = one("slow", "peer", sleeper(0.03))
    found = measured(run_case(timed_case(*quick, slow), "cpu", Ceilings(), strict))
    assert found["slow"]["rounds"] < found["q"]["rounds"] <= found["b"]["rounds"]
    assert found["slow"]["stop_reason"] == "max_seconds"


def test_a_missing_package_and_a_failure_are_recorded_with_their_reason():
    def broken(workload, device):
        raise RuntimeError("no such\nkernel")

    case = timed_case(
        one("base", "baseline", sleeper(0.001)),
        one("peer", "peer", sleeper(0), needs=("no_such_package_at_all",)),
        one("broken", "method", broken),
    )
    result = run_case(case, "cpu", Ceilings(), QUICK)
    reasons = {item["implementation"]: item["reason"] for item in result.unavailable}
    assert reasons == {
        "peer": "not installed: no_such_package_at_all",
        "broken": "failed: RuntimeError: no such kernel",
    }
    assert set(measured(result)) == {"base"}


def test_nothing_is_measured_without_its_baseline():
    def broken(workload, device):
        raise MemoryError

    case = timed_case(one("m", "method", sleeper(0)), one("b", "baseline", broken))
    result = run_case(case, "cpu", Ceilings(), QUICK)
    assert result.measurements == []
    assert {"case": "suite/case", "implementation": "*", "reason": "the baseline could not run"} in result.unavailable


def test_a_cut_by_the_budget_is_never_called_converged():
    noisy = itertools.cycle([0.0, 0.02])
    wild = one("wild", "method", lambda workload, device: lambda: time.sleep(next(noisy)))
    found = measured(run_case(timed_case(wild, one("b", "baseline", sleeper(0.001))), "cpu", Ceilings(), STRICT))
    assert {item["converged"] for item in found.values()} == {False}
    assert {item["stop_reason"] for item in found.values()} <= {"max_rounds", "max_seconds"}


def test_a_value_is_evaluated_once_and_carries_limit_and_quality():
    method = one(
        "m",
        "method",
        value(12.5),
        quality=lambda workload, device: Quality("perplexity", 12.5),
        limit=lambda workload, ceilings: Limit(ceilings.copy_bytes_per_s, "copy"),
    )
    case = Case("s/v", "values", "weight_bytes", {"model": "x"}, (method, one("b", "baseline", value(25.0))), False)
    found = measured(run_case(case, "cpu", Ceilings(copy_bytes_per_s=7.0), QUICK))
    assert found["m"]["samples"] == [12.5]
    assert found["m"]["limit"] == {"value": 7.0, "formula": "copy"}
    assert found["m"]["quality"] == {"metric": "perplexity", "value": 12.5}
    assert found["m"]["workload"] == {"model": "x"}


def test_names_choose_cases_and_suites_and_unknown_ones_are_refused():
    base = one("b", "baseline", sleeper(0))
    cases = [Case(name, "", "latency", {}, (base,), True, no_limit="a test") for name in ("a/x", "a/y", "b/x")]
    assert [case.id for case in find(cases, ["a"], "cpu")] == ["a/x", "a/y"]
    assert [case.id for case in find(cases, ["b/x"], "cpu")] == ["b/x"]
    assert len(find(cases, [], "cpu")) == 3
    with pytest.raises(ValueError, match='no case or suite "c" for cpu; suites: a, b'):
        find(cases, ["c"], "cpu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementations": ()}, "exactly one baseline"),
        ({"no_limit": ""}, "give a limit"),
        ({"lossy": True}, "must show its quality"),
    ],
)
def test_a_case_that_could_mislead_is_refused(change, message):
    base, method = one("b", "baseline", sleeper(0)), one("m", "method", sleeper(0))
    fields = {"implementations": (base, method), "no_limit": "a test", "lossy": False} | change
    with pytest.raises(ValueError, match=message):
        Case("s/c", "", "latency", {}, timed=True, **fields)


def test_a_case_of_trials_has_one_sample_a_call_and_says_that_it_counted():
    def prepare(workload, device):
        numbers = itertools.count(1)
        return lambda: float(next(numbers))

    case = Case("s/v/t", "trials", "repetitions", {}, (one("b", "baseline", prepare),), False, no_limit="-", trials=4)
    [item] = run_case(case, "cpu", Ceilings(), QUICK).measurements
    assert item["samples"] == [1, 2, 3, 4]
    assert (item["stop_reason"], item["converged"], item["rounds"]) == ("trials", True, 4)


@pytest.mark.parametrize(("timed", "trials"), [(False, 0), (True, 2)])
def test_trials_are_counted_from_one_and_not_timed(timed, trials):
    with pytest.raises(ValueError, match="trials must be at least 1"):
        Case("s/v/t", "", "latency", {}, (one("b", "baseline", value(1)),), timed, no_limit="-", trials=trials)


def test_values_come_before_times_each_in_the_order_of_names():
    base = one("b", "baseline", value(1))
    cases = [Case(f"s/{n}", "", "latency", {}, (base,), n in "ac", no_limit="-") for n in "abcd"]
    assert [case.id for case in values_first(cases)] == ["s/b", "s/d", "s/a", "s/c"]

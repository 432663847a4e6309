"""Real engines, where they are installed: no false alarm between settings, and the deviations that are known."""

import pytest

from reference_impls.runtime_testing import generate, kernels
from reference_impls.runtime_testing.engines import by_name
from reference_impls.runtime_testing.oracle import Config, clusters, doubts, judge
from reference_impls.runtime_testing.random_modules import generate_module
from reference_impls.runtime_testing.sweep import agreement, confirmed, run

CASES = {case.id: case for case in generate()}


def engine(name):
    found = by_name(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def found_in(name, *ids):
    one = engine(name)
    runs = [*run(one, [CASES[i] for i in ids])]
    return [finding for each in runs for finding in judge(name, each.case, each.outcomes)]


@pytest.mark.parametrize("name", ["wasmtime", "v8-liftoff", "spidermonkey", "javascriptcore"])
def test_good_engines_agree_with_the_interpreter(name):
    ids = ["numeric/A2-i32", "numeric/A7-f64", "memory/bulk", "stack/recursion", "host/i64", "again/unreachable"]
    assert found_in(name, *ids) == []


def test_pywasm_loses_a_sign_and_cannot_be_called_after_a_trap():
    if engine("pywasm").version != "2.2.3":
        pytest.skip("known of 2.2.3; look whether a later one has it")
    found = clusters(found_in("pywasm", "numeric/A7-f64", "again/unreachable"))
    keys = {one.witness.key[1:3] for one in found}
    assert ("A7", "f64.nearest") in keys  # +0 for nearest(-0.5)
    assert ("C5", "a call after a trap") in keys
    nearest = next(one for one in found if one.witness.label == "f64.nearest")
    assert confirmed(engine("pywasm"), [nearest.witness], Config(repeats=1)) == [nearest.witness]


def test_the_known_bug_of_wasmtime_6_is_found_and_gone():
    labels = {one.label for one in found_in("wasmtime-6", "address/i32.load")}
    assert labels == {"i32.load of a shifted index"}  # CVE-2023-26489
    assert found_in("wasmtime", "address/i32.load") == []


def test_settings_of_one_engine_agree_on_random_modules():
    modules = [generate_module(seed) for seed in range(40)]
    first, second = ([*run(engine(name), modules)] for name in ("wasmtime", "wasmtime-unoptimised"))
    assert agreement(first, second) == []
    assert [one for each in first for one in judge("wasmtime", each.case, each.outcomes)] == []


@pytest.mark.slow
def test_no_false_alarm_on_a_thousand_modules():
    modules = [generate_module(seed) for seed in range(1000)]
    first, second = ([*run(engine(name), modules)] for name in ("wasmtime", "wasmtime-pulley"))
    assert agreement(first, second) == []


@pytest.mark.parametrize("name", ["wasmtime", "v8-turbofan", "javascriptcore"])
def test_kernels_have_the_same_bits(name):
    every = [kernels.case_of(one, kernels.Config(n=512)) for one in kernels.KERNELS]
    assert [one for each in run(engine(name), every) for one in judge(name, each.case, each.outcomes)] == []


@pytest.mark.slow
def test_no_majority_contradicts_the_rig():
    names = [name for name in ("wasmtime", "v8-turbofan", "spidermonkey", "wasm3") if by_name(name)]
    if len(names) < 3:
        pytest.skip("needs three engines")
    runs = {}
    for name in names:
        for each in run(engine(name), CASES.values()):
            runs.setdefault(each.case.id, {})[name] = each.outcomes
    assert {name: found for name, each in runs.items() if (found := doubts(CASES[name], each))} == {}

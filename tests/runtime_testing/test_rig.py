"""The rig must find what is there, nothing else, and survive whatever an engine does."""

import sys
from collections import Counter
from importlib import import_module
from pkgutil import iter_modules

import pytest

import reference_impls.runtime_testing as family
from reference_impls.runtime_testing import Call, Case, faults, generate, kernels, oracle, reference, taxonomy
from reference_impls.runtime_testing.child import Limits
from reference_impls.runtime_testing.engines import Engine
from reference_impls.runtime_testing.interpreter import Instance
from reference_impls.runtime_testing.oracle import judge, same
from reference_impls.runtime_testing.outcome import LOADED, Outcome, reject, trap, values
from reference_impls.runtime_testing.random_modules import Config, generate_module
from reference_impls.runtime_testing.reduce import ddmin, reduced
from reference_impls.runtime_testing.sweep import agreement, run
from reference_impls.runtime_testing.wat import parse

CASES = list(generate())
MODULES = sorted(found.name for found in iter_modules(family.__path__) if found.name != "drivers")


@pytest.mark.parametrize("name", [one for one in MODULES if one != "bench"])
def test_a_header_is_whole(name):
    module = import_module(f"{family.__name__}.{name}")
    if "\nPaper: " in module.__doc__:
        places = [module.__doc__.find(f"\n{field}: ") for field in family.HEADER_FIELDS]
        assert -1 not in places and places == sorted(places)
    if getattr(getattr(module, "Config", None), "__module__", "") == module.__name__:
        assert module.Config.__dataclass_params__.frozen and module.Config() == module.Config()
        assert "\nPaper: " in module.__doc__


def test_the_taxonomy_has_the_leaves_and_sums_of_the_artifact():
    assert len(taxonomy.LEAVES) == 31
    sums = Counter({area: sum(one.issues for one in taxonomy.leaves(taxonomy.Config(area)).values()) for area in "ABC"})
    assert sums == {"A": 146, "B": 70, "C": 146}
    with pytest.raises(ValueError, match="areas"):
        taxonomy.Config("X")


def test_every_leaf_has_a_case_or_says_why_not():
    covered = {case.leaf for case in CASES}
    assert covered == {code for code, leaf in taxonomy.LEAVES.items() if not leaf.no_cases}
    assert len({case.id for case in CASES}) == len(CASES)


def test_without_a_fault_nothing_is_found():
    assert [case.id for case in CASES if judge("reference", case, reference.interpret(case))] == []


def test_faults_are_found_by_the_pattern_that_should():
    every = faults.faults()
    found, missed = faults.score(CASES)
    assert len(every) >= 20
    assert found >= 0.9 * len(every), missed


def test_what_the_specification_leaves_open_is_no_finding():
    quiet, other, signalling = values(0x7FC00000), values(0xFFC00123), values(0x7FA00001)
    assert same(quiet, other, "f32") and not same(quiet, signalling, "f32") and not same(quiet, other)
    assert same(trap("integer overflow"), trap("invalid conversion to integer"))
    assert not same(trap("unreachable"), trap("out of bounds memory"))
    assert same(trap("unreachable"), trap("? words of some engine"))
    assert not same(trap("unreachable"), trap("? host error ValueError"))
    assert same(reject("load"), reject("link")) and not same(reject(), LOADED)


def test_a_majority_against_the_rig_is_a_doubt():
    case = Case("x", "A2", '(module (func (export "f") (result i32) i32.const 1))', (Call("f", (), ("i32",)),))
    runs = {name: [LOADED, values(2)] for name in "abc"}
    assert oracle.majority(case, runs) == [LOADED, values(2)]
    assert oracle.doubts(case, runs) == [1]
    assert oracle.doubts(case, runs | {"a": [LOADED, values(1)], "b": [LOADED, values(1)]}) == []


def test_ddmin_finds_the_two_that_matter():
    assert ddmin(range(100), lambda some: {13, 77} <= set(some)) == [13, 77]
    assert ddmin([1], lambda some: True) == [1]


def test_a_reduced_case_still_deviates():
    fault = next(one for one in faults.faults() if "copies" in one.name)
    case = next(one for one in CASES if one.id == "memory/bulk")

    def findings_of(some):
        return judge("fault", some, reference.interpret(some, fault.semantics))

    finding = findings_of(case)[0]
    small = reduced(finding, findings_of)
    assert finding.key in {one.key for one in findings_of(small)}
    assert len(small.calls) <= 3 < len(case.calls)


@pytest.mark.parametrize("seed", range(25))
def test_random_modules_end_and_give_numbers(seed):
    case = generate_module(seed, Config(depth=4))
    assert case == generate_module(seed, Config(depth=4))
    assert {one.kind for one in reference.interpret(case)} <= {"values", "trap"}


FAKE = """
import json, os, sys, time
for line in sys.stdin:
    request = json.loads(line)
    names = [call[0] for call in request["calls"]]
    if "crash" in names: os.abort()
    if "hang" in names: time.sleep(60)
    if "eat" in names: x = bytearray(10**9)
    print(json.dumps([["values", "", []]] + [["values", "", ["7"]] for _ in names]), flush=True)
"""


def test_an_engine_that_crashes_or_hangs_does_not_stop_the_sweep():
    engine = Engine("fake", "0", (sys.executable, "-c", FAKE))
    cases = [
        Case(str(number), "A2", b"", (Call(name, expected=(values(7),)),))
        for number, name in enumerate(["a", "crash", "b", "hang", "eat", "c"])
    ]
    runs = [*run(engine, cases, Limits(seconds=2, memory_mib=500))]
    assert [one.outcomes[1].kind for one in runs] == ["values", "crash", "values", "timeout", "crash", "values"]
    assert [len(judge("fake", one.case, one.outcomes)) for one in runs] == [0, 1, 0, 1, 1, 0]


def test_what_an_adapter_does_not_offer_is_not_run():
    engine = Engine("fake", "0", (sys.executable, "-c", FAKE), frozenset())
    assert [*run(engine, [Case("x", "B1", b"", needs=frozenset({"system"}))])] == []


def test_builds_that_differ_are_named():
    case = Case("x", "A2", b"", (Call("f", nan="f32"),))
    engine = Engine("fake", "0", ())
    mine, other, third = ([family_run(engine, case, value)] for value in (0x7FC00000, 0xFFC00000, 1))
    assert agreement(mine, other) == [] and agreement(mine, third) == ["x"]


def family_run(engine, case, value):
    from reference_impls.runtime_testing.sweep import Run

    return Run(engine, case, (LOADED, values(value)))


@pytest.mark.parametrize("kernel", [name for name in kernels.KERNELS if name.endswith("scalar")])
def test_scalar_kernels_have_the_bits_of_pytorch(kernel):
    torch = pytest.importorskip("torch")
    config = kernels.Config(n=64)
    weights, inputs = (torch.from_numpy(one) for one in kernels.inputs_of(config))
    codes = torch.from_numpy(kernels.packed_codes(config)[0])
    case = kernels.case_of(kernel, config)
    assert not judge("reference", case, reference.interpret(case))
    if kernel.startswith("dequantize"):
        theirs = weights.float() * torch.tensor(config.scale)
        assert kernels.mixed(theirs.numpy()) == case.calls[1].expected[0].values[0]
    else:
        used = codes.int() - 8 if kernel.startswith("int4") else weights.int()
        assert int((used * inputs.int()).sum()) % 2**32 == case.calls[0].expected[0].values[0]


def test_control_flow_by_hand():
    text = """(module (func $f (export "factorial") (param $n i64) (result i64)
      local.get $n i64.eqz if (result i64) i64.const 1 else
      local.get $n local.get $n i64.const 1 i64.sub call $f i64.mul end)
      (func (export "sum") (param $n i32) (result i32) (local $s i32)
        block $out loop $again local.get $n i32.eqz br_if $out
        local.get $s local.get $n i32.add local.set $s local.get $n i32.const 1 i32.sub local.set $n br $again end end
        local.get $s))"""
    instance = Instance(parse(text))
    assert instance.call("factorial", [20]) == (2432902008176640000,)
    assert instance.call("sum", [100]) == (5050,)


def test_outcomes_read_well():
    assert str(Outcome("values", values=(255,))) == "values 0xff"
    assert str(trap("unreachable")) == "trap unreachable"

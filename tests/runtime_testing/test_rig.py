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
from reference_impls.runtime_testing.reduce import Config as ReduceConfig
from reference_impls.runtime_testing.reduce import ddmin, reduced, shorter, size_of
from reference_impls.runtime_testing.sweep import agreement, binary_of, limits_of, run
from reference_impls.runtime_testing.wat import parse

CASES = list(generate())
OPERANDS = [(6, 4), (0xFFFFFFF9, 3), (7, 0xFFFFFFFD), (0x80000000, 5), (1, 1)]
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


def test_neighbours_are_left_out_together():
    # A bracket may go only with its partner, also where what must stay lies between them.
    def shows(some):
        depth = [some[:n].count("(") - some[:n].count(")") for n in range(len(some) + 1)]
        return "x" in some and min(depth) >= 0 and depth[-1] == 0

    assert "".join(shorter("((a)b(c(x)))(())", shows)) == "x"
    assert "".join(shorter("(())x()y(z)", shows)) == "x"
    assert shorter("x", shows) == ["x"] and shorter("", lambda some: True) == []
    assert len(shorter("(x)" * 9, shows, ReduceConfig(runs=1))) == 27  # all at once is no x, and no run is left


def with_wasmtime(case):
    """Whether wasmtime accepts the module: a validator that is none of ours."""
    wasmtime = pytest.importorskip("wasmtime")
    try:
        wasmtime.Module.validate(wasmtime.Store().engine, binary_of(case))
    except wasmtime.WasmtimeError:
        return False
    return True


LONG = """(module (func (export "f") (param i32 i32) (result i32) (local $t i32)
  local.get 0 local.get 1 i32.add local.set $t
  local.get 0 i32.const 7 i32.mul local.get $t i32.xor
  local.get 0 local.get 1 {op}
  i32.const 3 i32.shl i32.add
  block local.get 1 i32.eqz br_if 0 local.get $t i32.const 1 i32.add local.set $t end
  local.get $t i32.sub))"""


def test_instructions_that_do_not_matter_go_and_what_is_left_is_valid():
    fault = next(one for one in faults.faults() if one.name.startswith("i32.rem_s"))
    text = LONG.format(op="i32.rem_s")
    case = Case("long", "A2", text, tuple(Call("f", (("i32", a), ("i32", b)), ("i32",), "op") for a, b in OPERANDS))

    def findings_of(some):
        return judge("fault", some, reference.interpret(some, fault.semantics))

    finding = findings_of(case)[0]
    small = reduced(finding, findings_of, is_valid=with_wasmtime)
    names = [name for name, *_ in small.module.functions[0].body]
    assert names == ["local.get", "local.get", "i32.rem_s", "end"]
    assert len(small.calls) == 1 and finding.key in {one.key for one in findings_of(small)}
    assert with_wasmtime(small)
    assert size_of(small) == 5 < size_of(case)
    assert size_of(reduced(finding, findings_of)) > 20  # without a validator they stay


def test_a_stated_answer_is_asked_anew_before_instructions_go():
    """Else any change of the module would look like the deviation."""
    text = LONG.format(op="i32.rem_s")
    case = Case("stated", "A2", text, (Call("f", (("i32", 5), ("i32", 1)), ("i32",), "op", expected=(values(1),)),))

    def findings_of(some):
        return judge("engine", some, reference.interpret(some))  # the engine is right, the stated answer is not

    small = reduced(findings_of(case)[0], findings_of, is_valid=with_wasmtime)
    assert size_of(small) == size_of(case)


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


def test_an_engine_that_reserves_space_gets_its_limit_on_top():
    code = "import mmap\nroom = mmap.mmap(-1, 600 << 20, mmap.MAP_PRIVATE)\n" + FAKE
    cases = [Case(name, "A2", b"", (Call(name, expected=(values(7),)),)) for name in ("a", "eat")]
    narrow, wide = (Engine("fake", "0", (sys.executable, "-c", code), reserves_mib=mib) for mib in (0, 700))
    limits = Limits(seconds=5, memory_mib=500)
    assert limits_of(narrow, limits) == limits and limits_of(wide, limits).memory_mib == 1200
    assert [one.outcomes[1].kind for one in run(narrow, cases, limits)] == ["crash", "crash"]
    assert [one.outcomes[1].kind for one in run(wide, cases, limits)] == ["values", "crash"]


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

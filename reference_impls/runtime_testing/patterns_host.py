"""Values across the border between module and host, errors of the host, and state between calls (C3, C11, C12)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.outcome import trap, values
from reference_impls.runtime_testing.patterns_numeric import carrier, operands

HOST = frozenset({"host"})
ALL_BITS = {"i32": 2**32 - 1, "i64": 2**64 - 1}


def generate() -> Iterator[Case]:
    """Every case of this module."""
    for type_ in ("i32", "i64", "f32", "f64"):
        yield _through_host(type_)
        yield _as_argument(type_)
    yield _several_results()
    yield _host_error()
    yield _state()


def _through_host(type_: str) -> Case:
    """Module to host and back: the bits of integers, and of floats that are no NaN."""
    into = f"{type_}.reinterpret_{carrier(type_)}" if type_[0] == "f" else ""
    out = f"{carrier(type_)}.reinterpret_{type_}" if type_[0] == "f" else ""
    text = f"""(module (import "host" "same_{type_}" (func $same (param {type_}) (result {type_})))
      (func (export "f") (param {carrier(type_)}) (result {carrier(type_)}) local.get 0 {into} call $same {out}))"""
    nan = type_ if type_[0] == "f" else ""
    calls = tuple(
        Call("f", ((carrier(type_), bits),), (carrier(type_),), f"host {type_}", nan)
        for bits in operands(type_)
        if not _is_signalling(bits)
    )
    return Case(f"host/{type_}", "C3", text, calls, needs=HOST)


def _as_argument(type_: str) -> Case:
    """Host to module and back."""
    text = f'(module (func (export "f") (param i32 {type_} i32) (result {type_}) local.get 1))'
    nan = type_ if type_[0] == "f" else ""
    calls = tuple(
        Call("f", (("i32", 1), (type_, bits), ("i32", 2)), (type_,), f"argument {type_}", nan)
        for bits in operands(type_)
        if not _is_signalling(bits)
    )
    return Case(f"argument/{type_}", "C11", text, calls)


def _is_signalling(bits: int) -> bool:
    """A NaN that a host language's float may quieten on the way."""
    return bits in (0x7FA00001, 0x7FF4000000000001)


def _several_results() -> Case:
    text = """(module (import "host" "pair" (func $pair (result i64 i32)))
      (func (export "sum") (result i64) (local i32) call $pair local.set 0 local.get 0 i64.extend_i32_s i64.add)
      (func (export "both") (result i64 i32) call $pair)
      (func (export "own") (param i32) (result i32 i64) local.get 0 i64.const -2))"""
    calls = (
        Call("sum", (), ("i64",), "several results of the host"),
        Call("both", (), ("i64", "i32"), "several results"),
        Call("own", (("i32", 5),), ("i32", "i64"), "several results"),
    )
    return Case("host/several-results", "C3", text, calls, label="several results", needs=HOST)


def _host_error() -> Case:
    """The host's error ends the call, and the instance goes on."""
    text = """(module (import "host" "fail" (func $fail)) (global $n (mut i32) (i32.const 0))
      (func (export "f") global.get $n i32.const 1 i32.add global.set $n call $fail global.get $n i32.const 10 i32.add global.set $n)
      (func (export "n") (result i32) global.get $n))"""
    fails = Call("f", label="an error of the host", expected=(trap("host"),))
    count = [Call("n", (), ("i32",), "state after an error of the host", expected=(values(n),)) for n in (1, 2)]
    return Case("host/error", "C3", text, (fails, count[0], fails, count[1]), keeps_instance=True, needs=HOST)


def _state() -> Case:
    """Globals and memory live as long as the instance; locals begin at zero in every call."""
    text = """(module (memory 1) (global $g (mut i64) (i64.const 1))
      (func (export "next") (result i64) global.get $g i64.const 3 i64.mul global.set $g global.get $g)
      (func (export "add") (param i32) (result i32) i32.const 16 i32.const 16 i32.load local.get 0 i32.add i32.store i32.const 16 i32.load)
      (func (export "local") (result i32) (local $x i32) local.get $x i32.const 5 i32.add local.set $x local.get $x)
      (func (export "tee") (param i32) (result i32) local.get 0 i32.const 9 local.tee 0 local.get 0 i32.add i32.add))"""
    calls: list[Call] = []
    for turn in range(3):
        calls.append(Call("next", (), ("i64",), "state of a global"))
        calls.append(Call("add", (("i32", turn + 1),), ("i32",), "state of the memory"))
        calls.append(Call("local", (), ("i32",), "locals begin at zero"))
        calls.append(Call("tee", (("i32", turn),), ("i32",), "order of operands"))
    return Case("state/between-calls", "C12", text, tuple(calls), keeps_instance=True)

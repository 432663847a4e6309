"""What happens before the first call: segments, the start function, imports and entry points (C1, C2, C9)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.outcome import LOADED, Outcome, reject, trap, values

READ = '(func (export "read") (param i32) (result i32) local.get 0 i32.load8_u)'


def _read(*found: tuple[int, int]) -> tuple[Call, ...]:
    return tuple(
        Call("read", (("i32", place),), ("i32",), "memory after loading", expected=(values(value),))
        for place, value in found
    )


def generate() -> Iterator[Case]:
    """Every case of this module."""
    yield from _instantiation()
    yield from _imports()
    yield from _entry_points()


def _case(name: str, leaf: str, text: str, loads: Outcome = LOADED, calls: tuple[Call, ...] = ()) -> Case:
    return Case(f"start/{name}", leaf, f"(module {text})", calls, (loads,), name)


def _instantiation() -> Iterator[Case]:
    beyond, table = trap("out of bounds memory"), trap("out of bounds table")
    start = "(global $n (mut i32) (i32.const 0)) (func $s global.get $n i32.const 1 i32.add global.set $n) (start $s)"
    count = '(func (export "n") (result i32) global.get $n)'
    counted = (Call("n", (), ("i32",), "start function", expected=(values(1),)),)
    yield _case(
        "segment to the end", "C1", f'(memory 1) (data (i32.const 65534) "ab") {READ}', LOADED, _read((65535, 98))
    )
    yield _case("segment beyond the end", "C1", '(memory 1) (data (i32.const 65535) "ab")', beyond)
    yield _case("segment at a negative place", "C1", '(memory 1) (data (i32.const -1) "a")', beyond)
    yield _case("empty segment at the end", "C1", '(memory 1) (data (i32.const 65536) "")')
    yield _case("empty segment beyond the end", "C1", '(memory 1) (data (i32.const 65537) "")', beyond)
    yield _case(
        "segments that overlap",
        "C1",
        f'(memory 1) (data (i32.const 0) "abc") (data (i32.const 1) "X") {READ}',
        LOADED,
        _read((0, 97), (1, 88), (2, 99)),
    )
    yield _case("element beyond the end", "C1", "(table 1 funcref) (func) (elem (i32.const 1) 0)", table)
    yield _case("element at the end, empty", "C1", "(table 1 funcref) (elem (i32.const 1))")
    yield _case("start function runs once", "C1", f"{start} {count}", LOADED, counted)
    yield _case("start function traps", "C1", "(func unreachable) (start 0)", trap("unreachable"))
    early = f'(memory 1) (data (i32.const 7) "z") (func $s i32.const 7 i32.load8_u i32.const 122 i32.ne if unreachable end) (start $s) {READ}'
    yield _case("start function sees the segments", "C1", early, LOADED, _read((7, 122)))
    yield _case("nothing but a memory of no pages", "C1", "(memory 0)")


def _imports() -> Iterator[Case]:
    absent = reject("link")
    wrong = {
        "function that the host lacks": '(import "host" "nothing" (func))',
        "module that the host lacks": '(import "elsewhere" "same_i32" (func (param i32) (result i32)))',
        "other parameter": '(import "host" "same_i32" (func (param i64) (result i32)))',
        "other result": '(import "host" "same_i32" (func (param i32)))',
        "global in place of a function": '(import "host" "same_i32" (global i32))',
        "memory in place of a function": '(import "host" "same_i32" (memory 1))',
    }
    for label, text in wrong.items():
        # A function of JavaScript has no signature, so that there any import of it is right.
        needs = frozenset({"host", "signatures"} if label.startswith("other") else {"host"})
        yield Case(f"import/{label}", "C2", f"(module {text})", (), (absent,), label, needs=needs)
    unused = '(import "host" "same_i64" (func (param i64) (result i64))) (import "host" "fail" (func))'
    yield Case(
        "import/several, none called", "C2", f"(module {unused})", label="unused imports", needs=frozenset({"host"})
    )
    twice = '(import "host" "same_i32" (func $a (param i32) (result i32))) (import "host" "same_i32" (func $b (param i32) (result i32)))'
    body = '(func (export "f") (result i32) i32.const 3 call $a call $b)'
    call = Call("f", (), ("i32",), "one import twice", expected=(values(3),))
    yield Case(
        "import/one twice",
        "C2",
        f"(module {twice} {body})",
        (call,),
        label="one import twice",
        needs=frozenset({"host"}),
    )


def _entry_points() -> Iterator[Case]:
    state = "(global $n (mut i32) (i32.const 0))"
    command = '(func (export "_start") global.get $n i32.const 10 i32.add global.set $n)'
    reactor = '(func (export "_initialize") global.get $n i32.const 100 i32.add global.set $n)'
    count = '(func (export "n") (result i32) global.get $n)'

    def calls(*found: int) -> tuple[Call, ...]:
        return tuple(Call("n", (), ("i32",), "entry point", expected=(values(one),)) for one in found)

    run = Call("_start", label="entry point", expected=(values(),))
    yield Case("entry/nobody calls _start", "C9", f"(module {state} {command} {count})", calls(0), label="_start")
    ran = (run, *calls(10), run, *calls(20))
    yield Case("entry/_start is called", "C9", f"(module {state} {command} {count})", ran, keeps_instance=True)
    yield Case(
        "entry/nobody calls _initialize", "C9", f"(module {state} {reactor} {count})", calls(0), label="_initialize"
    )
    yield Case(
        "entry/names of any kind",
        "C9",
        '(module (func (export "") (result i32) i32.const 1) (func (export "a b") (result i32) i32.const 2) (func (export "ä\\\\22") (result i32) i32.const 3))',
        tuple(
            Call(name, (), ("i32",), "name of an export", expected=(values(place),))
            for place, name in enumerate(("", "a b"), 1)
        ),
    )

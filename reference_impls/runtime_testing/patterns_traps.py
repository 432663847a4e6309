"""Every way to trap, and the same instance called again afterwards (C5, C8, C10)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.outcome import trap, values

TRAPS: dict[str, tuple[str, str]] = {
    "divide by zero": ("i32.const 1 i32.const 0 i32.div_s", "integer divide by zero"),
    "remainder by zero": ("i32.const 1 i32.const 0 i32.rem_u", "integer divide by zero"),
    "quotient without room": ("i32.const 0x80000000 i32.const -1 i32.div_s", "integer overflow"),
    "conversion without room": ("f32.const 4294967296 i32.trunc_f32_u", "integer overflow"),
    "conversion of NaN": ("f64.const nan i32.trunc_f64_s", "invalid conversion to integer"),
    "unreachable": ("unreachable", "unreachable"),
    "beyond the memory": ("i32.const 65533 i32.load", "out of bounds memory"),
    "beyond the table": ("i32.const 3 call_indirect (result i32)", "out of bounds table"),
    "far beyond the table": ("i32.const -1 call_indirect (result i32)", "out of bounds table"),
    "empty place in the table": ("i32.const 2 call_indirect (result i32)", "uninitialized element"),
    "another signature": ("i32.const 1 call_indirect (result i32)", "indirect call mismatch"),
}
MODULE = """(module (memory 1) (table 3 funcref) (elem (i32.const 0) $same $other) (global $count (mut i32) (i32.const 0))
  (func $same (result i32) i32.const 42)
  (func $other (result i64) i64.const 4)
  (func (export "fine") (param i32) (result i32) global.get $count i32.const 1 i32.add global.set $count
    local.get 0 if (result i32) {body} else i32.const 0 call_indirect (result i32) end)
  (func (export "count") (result i32) global.get $count))"""
RECURSIVE = """(module (global $count (mut i32) (i32.const 0))
  (func $down (export "down") (param i32) (result i32) global.get $count i32.const 1 i32.add global.set $count
    local.get 0 i32.eqz if (result i32) i32.const 0 else local.get 0 i32.const 1 i32.sub call $down i32.const 1 i32.add end)
  (func $endless (export "endless") (result i32) call $endless i32.const 1 i32.add)
  (func $ping (export "ping") (result i64) call $pong i64.const 1 i64.add)
  (func $pong (result i64) (local i64 i64 i64 i64) call $ping local.get 3 i64.add))"""


def generate() -> Iterator[Case]:
    """Every case of this module."""
    for label, (body, kind) in TRAPS.items():
        text = MODULE.format(body=body)
        once = Call("fine", (("i32", 1),), ("i32",), label, expected=(trap(kind),))
        yield Case(f"trap/{label}", "C10", text, (once,))
        again = [
            Call("fine", (("i32", 0),), ("i32",), "a call after a trap"),
            Call("count", (), ("i32",), "state after a trap"),
        ]
        yield Case(f"again/{label}", "C5", text, (again[0], once, *again, once, *again), keeps_instance=True)
    yield _recursion()


def _recursion() -> Case:
    """Deep enough, too deep, and then deep enough again: the stack must be whole afterwards."""
    down = Call("down", (("i32", 150),), ("i32",), "recursion", expected=(values(150),))
    after = Call("down", (("i32", 150),), ("i32",), "recursion after exhaustion", expected=(values(150),))
    endless = Call("endless", (), ("i32",), "endless recursion", expected=(trap("stack exhausted"),))
    ping = Call("ping", (), ("i64",), "mutual recursion", expected=(trap("stack exhausted"),))
    return Case("stack/recursion", "C8", RECURSIVE, (down, endless, after, ping, endless, after), keeps_instance=True)

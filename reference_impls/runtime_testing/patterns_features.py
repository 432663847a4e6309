"""Features that the standard has and an engine may lack, and atomic accesses (C6, C7)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.outcome import trap, values

FEATURES: dict[str, tuple[str, int]] = {
    "sign extension": ("(func (export {f}) (result i32) i32.const 0x80 i32.extend8_s)", 2**32 - 128),
    "saturating conversion": ("(func (export {f}) (result i32) f32.const -5 i32.trunc_sat_f32_u)", 0),
    "bulk memory": (
        "(memory 1) (func (export {f}) (result i32) i32.const 0 i32.const 7 i32.const 4 memory.fill "
        "i32.const 3 i32.load8_u)",
        7,
    ),
    "several results": (
        "(func $two (result i32 i32) i32.const 9 i32.const 4) (func (export {f}) (result i32) call $two i32.sub)",
        5,
    ),
    "vectors of integers": (
        "(func (export {f}) (result i32) i32.const 3 i32x4.splat i32.const 4 i32x4.splat i32x4.add "
        "i32x4.extract_lane 2)",
        7,
    ),
    "dot product of vectors": (
        "(func (export {f}) (result i32) i32.const -3 i16x8.splat i32.const 5 i16x8.splat i32x4.dot_i16x8_s "
        "i32x4.extract_lane 0)",
        2**32 - 30,
    ),
    "mutable global exported": (
        '(global $g (export "g") (mut i32) (i32.const 6)) (func (export {f}) (result i32) global.get $g)',
        6,
    ),
}
ATOMIC = """(module (memory 1 1)
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.atomic.rmw.add)
  (func (export "swap") (param i32 i32 i32) (result i32) local.get 0 local.get 1 local.get 2 i32.atomic.rmw.cmpxchg)
  (func (export "get") (param i32) (result i32) local.get 0 i32.atomic.load)
  (func (export "set") (param i32 i32) local.get 0 local.get 1 i32.atomic.store))"""


def generate() -> Iterator[Case]:
    """Every case of this module."""
    for label, (text, found) in FEATURES.items():
        call = Call("f", (), ("i32",), label, expected=(values(found),))
        yield Case(f"feature/{label}", "C6", f"(module {text.format(f=chr(34) + 'f' + chr(34))})", (call,), label=label)
    yield Case("threads/atomics", "C7", ATOMIC, tuple(_atomic_calls()), label="atomics", keeps_instance=True)


def _atomic_calls() -> Iterator[Call]:
    """One counter, read between the changes; then addresses that are not aligned."""
    for by in (1, 2**32 - 1, 5):
        yield Call("add", (("i32", 8), ("i32", by)), ("i32",), "atomic add")
        yield Call("get", (("i32", 8),), ("i32",), "atomic load")
    for expected, new in ((5, 70), (5, 80)):
        yield Call("swap", (("i32", 8), ("i32", expected), ("i32", new)), ("i32",), "atomic exchange")
        yield Call("get", (("i32", 8),), ("i32",), "atomic load")
    yield Call("set", (("i32", 8), ("i32", 3)), (), "atomic store")
    for place in (8, 10, 65532):
        must = (trap("unaligned atomic"),) if place % 4 else ()
        yield Call("get", (("i32", place),), ("i32",), "atomic load", expected=must)
    yield Call("get", (("i32", 65536),), ("i32",), "atomic load", expected=(trap("out of bounds memory"),))

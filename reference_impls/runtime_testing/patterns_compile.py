"""What strains a compiler's back end: addresses that wrap, many locals, deep nesting, large tables (A2, A3, A4, A9, A10)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.binary import assemble, custom, named, section, unsigned
from reference_impls.runtime_testing.outcome import LOADED, reject, values

I32 = ("i32",)
CLEAN_LIMIT = (LOADED, reject("load"))
"""A limit of the implementation may refuse such a module, but cleanly."""


def generate() -> Iterator[Case]:
    """Every case of this module."""
    yield from _addresses()
    yield from _shapes()
    yield from _debug_information()
    yield from _others()


def _addresses() -> Iterator[Case]:
    """An address is 32 bits wide: what a shift or a sum loses must not come back when 64 bits hold it.

    CVE-2023-26489 is the first of them: x86-64's address mode took up a shift of a 32-bit value.
    """
    for name in ("i32.load", "i32.load8_u", "i64.load", "i64.load16_s"):
        result = name[:3]
        functions: list[str] = []
        calls: list[Call] = []
        for by in (1, 2, 3):
            for offset in (0, 8):
                export = f"f{len(functions)}"
                functions.append(
                    f'(func (export "{export}") (param i32) (result {result}) '
                    f"local.get 0 i32.const {by} i32.shl {name} offset={offset})"
                )
                places = (0, 4, 2 ** (32 - by), 2 ** (32 - by) + 4, 2**31 + 4)
                calls += [
                    Call(export, (("i32", given % 2**32),), (result,), f"{name} of a shifted index") for given in places
                ]
        export = f"f{len(functions)}"
        functions.append(
            f'(func (export "{export}") (param i32 i32) (result {result}) local.get 0 local.get 1 i32.add {name})'
        )
        for given in (8, 2**32 - 8):
            arguments = (("i32", given), ("i32", (16 - given) % 2**32))
            calls.append(Call(export, arguments, (result,), f"{name} of a sum that wraps"))
        data = '(memory 1) (data (i32.const 0) "*\\00\\00\\00\\01\\02\\03\\84\\05\\06\\07\\08\\89\\0a\\0b\\0c\\8d\\0e\\0f\\10")'
        yield Case(f"address/{name}", "A2", f"(module {data} {' '.join(functions)})", tuple(calls))


def _shapes() -> Iterator[Case]:
    for count in (1, 300, 2000):
        sets = " ".join(f"local.get 0 i32.const {i} i32.add local.set {i + 1}" for i in range(count))
        sums = " ".join(f"local.get {i + 1} i32.add" for i in range(count))
        text = (
            f'(module (func (export "f") (param i32) (result i32) (local {"i32 " * count}) {sets} i32.const 0 {sums}))'
        )
        yield _shape(f"live-locals/{count}", "A4", text, f"{count} locals alive at once")
    for depth in (10, 400):
        body = "block " * depth + f"local.get 0 br_if {depth - 1} " + "end " * depth + "i32.const 5"
        yield _shape(f"nested/{depth}", "A3", _of(body), f"{depth} nested blocks")
    for count in (4, 3000):
        targets = " ".join(str(i % 2) for i in range(count))
        body = f"block block local.get 0 br_table {targets} 1 end i32.const 10 return end i32.const 20"
        calls = tuple(
            Call("f", (("i32", given),), I32, "br_table")
            for given in (0, 1, count - 1, count, count + 1, 2**31, 2**32 - 1)
        )
        yield Case(f"br-table/{count}", "A3", _of(body), calls, CLEAN_LIMIT, "br_table")
    params = 900
    given = " ".join(f"local.get 0 i32.const {i} i32.mul" for i in range(params))
    text = (
        f"(module (func $g (param {'i32 ' * params}) (result i32) local.get {params - 1} local.get 0 i32.sub) "
        f'(func (export "f") (param i32) (result i32) {given} call $g))'
    )
    yield _shape(f"parameters/{params}", "A4", text, f"{params} parameters")
    deep = "local.get 0 " + "i32.const 3 i32.mul i32.const 1 i32.add " * 1500
    yield _shape("long-expression", "A3", _of(deep), "a long expression")
    operands = "local.get 0 " * 600 + "i32.sub " * 599
    yield _shape("tall-stack", "A4", _of(operands), "600 operands on the stack")
    mixed = " ".join(
        f"local.get 0 i64.extend_i32_s i64.const {i} i64.mul local.get 0 f64.convert_i32_s f64.const {i}.5 f64.add "
        "i64.trunc_sat_f64_s i64.add"
        for i in range(40)
    )
    mixed += " i64.xor" * 39 + " i32.wrap_i64"
    yield _shape("mixed-registers", "A4", _of(mixed), "integers and floats alive at once")


def _of(body: str) -> str:
    return f'(module (func (export "f") (param i32) (result i32) {body}))'


def _shape(name: str, leaf: str, text: str, label: str) -> Case:
    calls = tuple(Call("f", (("i32", given),), I32, label) for given in (0, 1, 7, 2**32 - 1))
    return Case(f"shape/{name}", leaf, text, calls, CLEAN_LIMIT, label)


def _debug_information() -> Iterator[Case]:
    """Custom sections are nobody's duty to understand: a broken one must not refuse the module."""
    plain = assemble('(module (func (export "f") (result i32) i32.const 9))')
    names = b"\1" + unsigned(6) + b"\1" + unsigned(99) + named("abc")
    broken = {
        "name of a function that is not there": custom("name", names),
        "name section cut short": custom("name", b"\1\x40\1"),
        "name section of an unknown part": custom("name", b"\x7f\1\0"),
        "two name sections": custom("name", b"") * 2,
        "DWARF that is none": custom(".debug_info", b"\xff" * 40) + custom(".debug_line", b"\0"),
        "source map address": custom("sourceMappingURL", named("no://where")),
        "custom section without content": custom("", b""),
    }
    call = (Call("f", (), I32, expected=(values(9),)),)
    for label, more in broken.items():
        yield Case(f"debug/{label}", "A9", plain + more, call, label=label)


def _others() -> Iterator[Case]:
    """Many functions that call each other, and one under many names: the whole module is compiled, in any order."""
    count = 150
    chain = " ".join(
        f"(func $g{i} (param i32) (result i32) local.get 0 i32.const {i} i32.add call $g{i + 1})" for i in range(count)
    )
    text = f'(module {chain} (func $g{count} (param i32) (result i32) local.get 0) (export "f" (func $g0)))'
    yield _shape("chain", "A10", text, "a chain of calls")
    exports = " ".join(f'(export "e{i}" (func 0))' for i in range(300))
    text = f'(module (func (export "f") (param i32) (result i32) local.get 0 i32.clz) {exports})'
    yield Case("exports/300", "A10", text, (Call("e299", (("i32", 1),), I32, "many names"),))
    empty = assemble("(module)") + section(0, named("x"))
    yield Case("empty", "A10", empty, label="an empty module")

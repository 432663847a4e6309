"""Modules that must be refused: one mutation away from a valid one, in text or in a byte (A8)."""

from collections.abc import Iterator

from reference_impls.runtime_testing import Case
from reference_impls.runtime_testing.binary import HEADER, assemble, custom, named, section, unsigned, vector
from reference_impls.runtime_testing.outcome import reject

TEXT = {
    "operand of another type": "(func (result i32) i64.const 1)",
    "operand missing": "(func (result i32) i32.const 1 i32.add)",
    "operand left over": "(func i32.const 1)",
    "result missing": "(func (result i32))",
    "branches of unlike types": "(func (result i32) i32.const 1 if (result i32) i32.const 1 else i64.const 1 end)",
    "if without else gives a value": "(func (result i32) i32.const 1 if (result i32) i32.const 1 end)",
    "local that is not there": "(func local.get 7 drop)",
    "function that is not there": "(func call 9)",
    "global that is not there": "(func global.get 3 drop)",
    "label that is not there": "(func br 4)",
    "global that is constant": "(global i32 (i32.const 1)) (func i32.const 2 global.set 0)",
    "alignment above the natural one": "(memory 1) (func i32.const 0 i32.load align=8 drop)",
    "load without a memory": "(func i32.const 0 i32.load drop)",
    "indirect call without a table": "(func i32.const 0 call_indirect)",
    "two exports of one name": '(func (export "a")) (func (export "a"))',
    "export of what is not there": '(export "a" (func 3))',
    "start with a parameter": "(func (param i32)) (start 0)",
    "start that is not there": "(start 5)",
    "memory above 65,536 pages": "(memory 65537)",
    "memory of less than nothing": "(memory 3 2)",
    "shared memory without an end": "(memory 1 shared)",
    "element of what is not there": "(table 1 funcref) (elem (i32.const 0) 8)",
    "data without a memory": '(data (i32.const 0) "a")',
    "select of unlike types": "(func i32.const 1 i64.const 1 i32.const 1 select drop)",
    "br_table of unlike types": "(func block (result i32) i32.const 1 i32.const 1 br_table 0 1 end drop)",
    "after unreachable still typed": "(func (result i32) unreachable i64.const 1)",
    "data segment that is not there": "(memory 1) (func i32.const 0 i32.const 0 i32.const 0 memory.init 2)",
}


def generate() -> Iterator[Case]:
    """Every case of this module."""
    for label, text in TEXT.items():
        yield _case(label, assemble(f"(module {text})"))
    for label, binary in binaries().items():
        yield _case(label, binary)


def _case(label: str, binary: bytes) -> Case:
    return Case(f"invalid/{label}", "A8", binary, loads=(reject("load"),), label=label)


def binaries() -> dict[str, bytes]:
    """What no text could say."""
    valid = assemble('(module (func (export "f") (result i32) i32.const 5))')
    types = section(1, vector([b"\x60\0\0"]))
    functions = section(3, vector([b"\0"]))
    code = section(10, vector([b"\2\0\x0b"]))
    return {
        "wrong magic": b"\1asm" + valid[4:],
        "wrong version": valid[:4] + b"\2\0\0\0" + valid[8:],
        "cut in a section": valid[:-1],
        "byte after the last section": valid + b"\1",
        "unknown section": HEADER + b"\x40\0",
        "sections out of order": HEADER + functions + types + code,
        "section twice": HEADER + types + types,
        "length longer than its content": HEADER + types.replace(b"\1\4\1", b"\1\5\1") + b"",
        "length shorter than its content": HEADER + types.replace(b"\1\4\1", b"\1\3\1"),
        "number of six bytes": HEADER + b"\1\x89\x80\x80\x80\x80\0\1\x60\0\0\0\0\0\0",
        "number with bits beyond 32": _constant(b"\x41\xff\xff\xff\xff\x4f"),
        "function without code": HEADER + types + functions,
        "code without function": HEADER + types + code,
        "no end": HEADER + types + functions + section(10, vector([b"\2\0\1"])),
        "code after the end": HEADER + types + functions + section(10, vector([b"\3\0\x0b\1"])),
        "opcode that is none": HEADER + types + functions + section(10, vector([b"\3\0\xff\x0b"])),
        "type that is none": HEADER + section(1, vector([b"\x61\0\0"])),
        "value type that is none": HEADER + section(1, vector([b"\x60\1\x11\0"])),
        "name that is not UTF-8": HEADER + types + functions + section(7, vector([b"\1\xff\0\0"])) + code,
        "custom section of a name that is not UTF-8": HEADER + section(0, b"\2\xc3\x28"),
        "custom section shorter than its name": HEADER + section(0, b"\x20abc"),
        "too many locals": HEADER
        + types
        + functions
        + section(10, vector([_sized(vector([unsigned(2**32 - 1) + b"\x7f"] * 2) + b"\x0b")])),
        "data count that differs": HEADER
        + section(5, vector([b"\0\1"]))
        + section(12, b"\2")
        + section(11, vector([b"\1\0"])),
        "mutability that is none": HEADER + section(6, vector([b"\x7f\2\x41\0\x0b"])),
        "limits that are none": HEADER + section(5, vector([b"\x0b\1\1"])),
        "initial value that is computed": HEADER + section(6, vector([b"\x7f\0\x41\0\x45\x0b"])),
        "import kind that is none": HEADER + section(2, vector([named("a") + named("b") + b"\x09\0"])),
        "custom only, wrong header": custom("a", b"") + HEADER,
    }


def _constant(code: bytes) -> bytes:
    types = section(1, vector([b"\x60\0\0"]))
    return HEADER + types + section(3, vector([b"\0"])) + section(10, vector([_sized(b"\0" + code + b"\x1a\x0b")]))


def _sized(code: bytes) -> bytes:
    return unsigned(len(code)) + code

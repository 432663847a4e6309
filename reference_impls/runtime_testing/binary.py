"""Encode a module in the binary format, section by section, in the order of the specification."""

from collections.abc import Iterable

from reference_impls.runtime_testing import opcodes
from reference_impls.runtime_testing.module import Function, FuncType, Import, Instruction, Limits, Module, Segment
from reference_impls.runtime_testing.wat import parse

HEADER = b"\0asm\1\0\0\0"
KINDS = {"func": 0, "table": 1, "memory": 2, "global": 3}


def assemble(text: str) -> bytes:
    """Text of a module to its binary."""
    return encode(parse(text))


def unsigned(value: int) -> bytes:
    """LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """LEB128 with a sign."""
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def section(number: int, content: bytes) -> bytes:
    """Number, length, content; nothing where there is no content."""
    return bytes([number]) + unsigned(len(content)) + content if content else b""


def custom(name: str, content: bytes) -> bytes:
    """A section that engines may skip."""
    return section(0, named(name) + content)


def vector(items: Iterable[bytes]) -> bytes:
    """A count and its items."""
    every = list(items)
    return unsigned(len(every)) + b"".join(every)


def named(name: str) -> bytes:
    """A name, with its length in front."""
    raw = name.encode()
    return unsigned(len(raw)) + raw


def encode(module: Module) -> bytes:
    """A module to its binary."""
    passive = any(segment.offset is None for segment in module.data)
    sections = [
        section(1, _some(map(_type, module.types))),
        section(2, _some(_import(one, module) for one in module.imports)),
        section(3, _some(unsigned(module.types.index(one.type)) for one in module.functions)),
        section(4, vector([b"\x70" + _limits(module.table)]) if module.table else b""),
        section(5, vector([_limits(module.memory)]) if module.memory else b""),
        section(6, _some(_type_byte(g.type) + bytes([g.mutable]) + _initial(g.type, g.value) for g in module.globals)),
        section(7, _some(named(e.name) + bytes([KINDS[e.kind]]) + unsigned(e.index) for e in module.exports)),
        section(8, unsigned(module.start) if module.start is not None else b""),
        section(9, _some(map(_element, module.elements))),
        section(12, unsigned(len(module.data)) if passive else b""),
        section(10, _some(map(_function, module.functions))),
        section(11, _some(map(_data, module.data))),
    ]
    return HEADER + b"".join(sections)


def _some(items: Iterable[bytes]) -> bytes:
    every = list(items)
    return vector(every) if every else b""


def _type_byte(name: str) -> bytes:
    return bytes([opcodes.TYPES[name]])


def _type(one: FuncType) -> bytes:
    return b"\x60" + vector(map(_type_byte, one.params)) + vector(map(_type_byte, one.results))


def _limits(limits: Limits) -> bytes:
    if limits.most is None:
        return bytes([2 * limits.shared]) + unsigned(limits.least)
    return bytes([3 if limits.shared else 1]) + unsigned(limits.least) + unsigned(limits.most)


def _import(one: Import, module: Module) -> bytes:
    if isinstance(one.type, FuncType):
        what = b"\0" + unsigned(module.types.index(one.type))
    elif isinstance(one.type, Limits):
        what = b"\2" + _limits(one.type)
    else:
        what = b"\3" + _type_byte(one.type) + b"\0"
    return named(one.module) + named(one.name) + what


def _initial(type_: str, bits: int) -> bytes:
    return instruction((f"{type_}.const", bits)) + b"\x0b"


def _element(segment: Segment) -> bytes:
    assert segment.offset is not None
    return b"\0" + _initial("i32", segment.offset) + vector(unsigned(int(one)) for one in segment.content)


def _data(segment: Segment) -> bytes:
    assert isinstance(segment.content, bytes)
    head = b"\1" if segment.offset is None else b"\0" + _initial("i32", segment.offset)
    return head + unsigned(len(segment.content)) + segment.content


def _function(function: Function) -> bytes:
    runs: list[tuple[int, str]] = []
    for one in function.locals:
        if runs and runs[-1][1] == one:
            runs[-1] = (runs[-1][0] + 1, one)
        else:
            runs.append((1, one))
    declared = vector(unsigned(count) + _type_byte(one) for count, one in runs)
    code = declared + b"".join(map(instruction, function.body))
    return unsigned(len(code)) + code


def instruction(one: Instruction) -> bytes:
    """One instruction with its immediates."""
    name, *rest = one
    if name in opcodes.CONTROL:
        return bytes([opcodes.CONTROL[name]]) + _control_immediates(name, rest)
    if name in opcodes.NUMERIC:
        return bytes([opcodes.NUMERIC[name]])
    if name in opcodes.MEMORY:
        return bytes([opcodes.MEMORY[name][0]]) + _access(rest)
    if name in opcodes.SATURATING:
        return b"\xfc" + unsigned(opcodes.SATURATING[name])
    if name in opcodes.BULK:
        number, kinds = opcodes.BULK[name]
        given = {"zero": b"\0", "index": unsigned(_number(rest[0])) if rest else b""}
        return b"\xfc" + unsigned(number) + b"".join(given[kind] for kind in kinds.split())
    if name in opcodes.ATOMIC:
        return b"\xfe" + unsigned(opcodes.ATOMIC[name][0]) + _access(rest)
    if name == "v128.const":
        return b"\xfd" + unsigned(12) + _number(rest[0]).to_bytes(16, "little")
    if name not in opcodes.SIMD:
        raise ValueError(f"unknown instruction {name}")
    number, kind = opcodes.SIMD[name]
    after = _access(rest) if kind.startswith("memory") else bytes([_number(rest[0])]) if kind == "lane" else b""
    return b"\xfd" + unsigned(number) + after


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _access(rest: list[int | str | tuple[int, ...]]) -> bytes:
    offset, alignment = map(_number, rest)
    return unsigned(alignment) + unsigned(offset)


def _control_immediates(name: str, rest: list[int | str | tuple[int, ...]]) -> bytes:
    if name in ("block", "loop", "if"):
        return _type_byte(str(rest[0])) if rest[0] else b"\x40"
    if name == "br_table":
        targets = rest[0]
        assert isinstance(targets, tuple)
        return vector(map(unsigned, targets[:-1])) + unsigned(targets[-1])
    if name == "call_indirect":
        return unsigned(_number(rest[0])) + b"\0"
    if name in ("memory.size", "memory.grow"):
        return b"\0"
    if name.endswith(".const"):
        bits, value = int(name[1:3]), _number(rest[0])
        if name[0] == "f":
            return value.to_bytes(bits // 8, "little")
        return signed(value - 2**bits if value >= 2 ** (bits - 1) else value)
    return unsigned(_number(rest[0])) if rest else b""

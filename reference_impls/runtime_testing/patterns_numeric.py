"""Boundary operands for every scalar operation: where compilers fold, round, shift or convert wrongly (A2, A7).

Each operation is a function of its own between integers, so that no engine's interface touches the bits of a float.
"""

from collections.abc import Iterator

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.numeric import operations, signature

INTEGERS = {
    bits: tuple(value % 2**bits for value in (0, 1, -1, 2, 31, bits, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 0x80, -7))
    for bits in (32, 64)
}
INTEGERS[64] += (0x7FFFFF4000000001,)  # rounds to another float of 32 bits if it goes through one of 64
FLOATS = {
    32: (
        *(0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7FA00001),
        *(0x00000001, 0x7F7FFFFF, 0x3F000000, 0xBF000000, 0x40200000, 0x4F000000, 0xCF000000, 0x5F000000, 0x4F7FFFFF),
    ),
    64: (
        *(0, 1 << 63, 0x3FF << 52, 0xBFF << 52, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 0x7FF4000000000001),
        *(1, 0x7FEFFFFFFFFFFFFF, 0x3FE << 52, 0xBFE << 52, 0x4004 << 48, 0x41E << 52, 0xC1E << 52, 0x43E << 52),
        *(0x41EFFFFFFFE00000, 0x36A0000000000000, 0x47EFFFFFF0000000, 0x3FF0000010000000),
    ),
}
"""Zeros, ones, infinities, a quiet and a signalling NaN, the smallest and largest number, ties, ends of integers, and
for doubles ties of the rounding to 32 bits."""

EXACT = ("abs", "neg", "copysign", "reinterpret")
"""Operations that touch the sign only, or nothing: every bit of a NaN is prescribed."""


def operands(type_: str) -> tuple[int, ...]:
    """Boundary values of a type, as raw bits."""
    bits = int(type_[1:])
    return FLOATS[bits] if type_[0] == "f" else INTEGERS[bits]


def carrier(type_: str) -> str:
    """The integer type of the same width."""
    return f"i{type_[1:]}"


def leaf_of(name: str) -> str:
    """Where an operation's bugs are filed: conversions and floats are operations on data, the rest compilation."""
    return "A7" if name[0] == "f" or "_f" in name or "reinterpret" in name else "A2"


def function_of(name: str, export: str, constants: tuple[int, ...] = ()) -> str:
    """Text of a function that applies an operation; with constants it has no parameters."""
    takes, gives = signature(name)
    lines = []
    for place, type_ in enumerate(takes):
        lines.append(f"{carrier(type_)}.const {constants[place]}" if constants else f"local.get {place}")
        lines += [f"{type_}.reinterpret_{carrier(type_)}"] if type_[0] == "f" else []
    lines.append(name)
    lines += [f"{carrier(gives)}.reinterpret_{gives}"] if gives[0] == "f" else []
    params = "" if constants else f"(param {' '.join(map(carrier, takes))})"
    return f'(func (export "{export}") {params} (result {carrier(gives)}) {" ".join(lines)})'


def nan_of(name: str) -> str:
    """The type of a result whose NaN is free, or nothing."""
    gives = signature(name)[1]
    return gives if gives[0] == "f" and not name.partition(".")[2].startswith(EXACT) else ""


def generate() -> Iterator[Case]:
    """A case for each group of operations, and one of folded constants."""
    groups: dict[str, list[str]] = {}
    for name in operations():
        groups.setdefault(f"{leaf_of(name)}-{name[:3]}", []).append(name)
    for group, names in sorted(groups.items()):
        yield _group_case(group, names)
        yield _folded_case(group, names)


def _pairs(name: str) -> Iterator[tuple[int, ...]]:
    takes = signature(name)[0]
    for first in operands(takes[0]):
        if len(takes) == 1:
            yield (first,)
        else:
            yield from ((first, second) for second in operands(takes[1]))


def _call(name: str, export: str, given: tuple[int, ...]) -> Call:
    takes, gives = signature(name)
    arguments = tuple((carrier(type_), bits) for type_, bits in zip(takes, given, strict=False))
    return Call(export, arguments, (carrier(gives),), name, nan_of(name))


def _group_case(group: str, names: list[str]) -> Case:
    functions = [function_of(name, f"f{number}") for number, name in enumerate(names)]
    calls = [_call(name, f"f{number}", pair) for number, name in enumerate(names) for pair in _pairs(name)]
    return Case(f"numeric/{group}", group[:2], f"(module {' '.join(functions)})", tuple(calls))


def _folded_case(group: str, names: list[str]) -> Case:
    """The same with operands that the compiler knows; every seventh pair, so that the module stays small."""
    functions: list[str] = []
    calls: list[Call] = []
    for name in names:
        for given in [*_pairs(name)][::7]:
            export = f"f{len(calls)}"
            functions.append(function_of(name, export, given))
            calls.append(_call(name, export, ()))
    return Case(f"folded/{group}", group[:2], f"(module {' '.join(functions)})", tuple(calls))

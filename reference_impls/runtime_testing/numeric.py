"""What every scalar operation of WebAssembly computes, on the raw bits of its operands.

Paper: none; the core specification, version 2, chapter 4.3. Used to answer for differential tests: arXiv 2301.12102.
Idea: a number is the integer that its bits spell, so that a NaN keeps its payload and -0 differs from +0.
Symbols: bits = 32 or 64; a float of n bits has 23 or 52 of fraction.
Simplified: scalars only; the one NaN that arithmetic makes is the canonical positive one, where the specification
    allows either sign and, for NaN operands, any payload with the quiet bit set.
Differs: nothing else.
Cost: a Python call an operation.
Checked against: numpy bit by bit, exact rationals for conversions, and five engines.
"""

import math
import struct
from collections.abc import Callable, Mapping

from reference_impls.runtime_testing.outcome import Trap

Operation = Callable[..., int]
FRACTION = {32: 23, 64: 52}
_FORMAT = {32: "<f", 64: "<d"}


def canonical_nan(bits: int) -> int:
    """The positive NaN whose payload is the quiet bit alone."""
    fraction = FRACTION[bits]
    return ((1 << (bits - fraction)) - 1) << (fraction - 1)


def is_nan(value: int, bits: int) -> bool:
    """Exponent of ones and a fraction other than zero."""
    magnitude = value % (1 << (bits - 1))
    return magnitude > ((1 << (bits - 1 - FRACTION[bits])) - 1) << FRACTION[bits]


def is_arithmetic_nan(value: int, bits: int) -> bool:
    """A NaN that arithmetic may return: its quiet bit is set."""
    return is_nan(value, bits) and bool(value >> (FRACTION[bits] - 1) & 1)


def to_float(value: int, bits: int) -> float:
    """Raw bits to a number; a NaN keeps no payload."""
    found: float = struct.unpack(_FORMAT[bits], value.to_bytes(bits // 8, "little"))[0]
    return found


def from_float(value: float, bits: int) -> int:
    """A number, rounded to nearest with ties to even, to raw bits."""
    if math.isnan(value):
        return canonical_nan(bits)
    try:
        packed = struct.pack(_FORMAT[bits], value)
    except OverflowError:  # rounds to infinity
        packed = struct.pack(_FORMAT[bits], math.copysign(math.inf, value))
    return int.from_bytes(packed, "little")


def to_signed(value: int, bits: int) -> int:
    """Two's complement."""
    return value - (1 << bits) if value >> (bits - 1) else value


def _wrap(value: int, bits: int) -> int:
    return value % (1 << bits)


def divide_signed(a: int, b: int, bits: int) -> int:
    """Towards zero; traps at zero, and where the quotient has no room."""
    if b == 0:
        raise Trap("integer divide by zero")
    x, y = to_signed(a, bits), to_signed(b, bits)
    if x == -(2 ** (bits - 1)) and y == -1:
        raise Trap("integer overflow")
    return _wrap(abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1), bits)


def remainder_signed(a: int, b: int, bits: int) -> int:
    """Sign of the dividend; the smallest number by -1 leaves 0."""
    if b == 0:
        raise Trap("integer divide by zero")
    x, y = to_signed(a, bits), to_signed(b, bits)
    return _wrap(abs(x) % abs(y) * (-1 if x < 0 else 1), bits)


def divide_unsigned(a: int, b: int, bits: int) -> int:  # noqa: ARG001 one signature for all
    """Traps at zero."""
    if b == 0:
        raise Trap("integer divide by zero")
    return a // b


def remainder_unsigned(a: int, b: int, bits: int) -> int:  # noqa: ARG001
    """Traps at zero."""
    if b == 0:
        raise Trap("integer divide by zero")
    return a % b


def rotate_left(a: int, b: int, bits: int) -> int:
    """By b modulo the width."""
    by = b % bits
    return _wrap(a << by, bits) | a >> (bits - by)


def _integer_operations(bits: int) -> Mapping[str, Operation]:
    def signed(a: int) -> int:
        return to_signed(a, bits)

    return {
        "eqz": lambda a: int(a == 0),
        "eq": lambda a, b: int(a == b),
        "ne": lambda a, b: int(a != b),
        "lt_s": lambda a, b: int(signed(a) < signed(b)),
        "lt_u": lambda a, b: int(a < b),
        "gt_s": lambda a, b: int(signed(a) > signed(b)),
        "gt_u": lambda a, b: int(a > b),
        "le_s": lambda a, b: int(signed(a) <= signed(b)),
        "le_u": lambda a, b: int(a <= b),
        "ge_s": lambda a, b: int(signed(a) >= signed(b)),
        "ge_u": lambda a, b: int(a >= b),
        "clz": lambda a: bits - a.bit_length(),
        "ctz": lambda a: (a & -a).bit_length() - 1 if a else bits,
        "popcnt": lambda a: a.bit_count(),
        "add": lambda a, b: _wrap(a + b, bits),
        "sub": lambda a, b: _wrap(a - b, bits),
        "mul": lambda a, b: _wrap(a * b, bits),
        "div_s": lambda a, b: divide_signed(a, b, bits),
        "div_u": lambda a, b: divide_unsigned(a, b, bits),
        "rem_s": lambda a, b: remainder_signed(a, b, bits),
        "rem_u": lambda a, b: remainder_unsigned(a, b, bits),
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
        "shl": lambda a, b: _wrap(a << b % bits, bits),
        "shr_s": lambda a, b: _wrap(signed(a) >> b % bits, bits),
        "shr_u": lambda a, b: a >> b % bits,
        "rotl": lambda a, b: rotate_left(a, b, bits),
        "rotr": lambda a, b: rotate_left(a, -b, bits),
        **{f"extend{n}_s": (lambda a, n=n: _wrap(to_signed(a % 2**n, n), bits)) for n in (8, 16, 32) if n < bits},
    }


def nearest(x: float) -> float:
    """To a whole number, ties to even, with the sign kept where that is zero."""
    return x if math.isinf(x) or math.isnan(x) else math.copysign(round(x), x)


def whole(function: Callable[[float], int]) -> Callable[[float], float]:
    """Floor, ceil or trunc with infinities and the sign of zero kept."""
    return lambda x: x if math.isinf(x) or math.isnan(x) else math.copysign(function(x), x)


def square_root(x: float) -> float:
    """Correctly rounded; -0 stays."""
    return math.nan if x < 0 else math.sqrt(x)


def divide(x: float, y: float) -> float:
    """IEEE division."""
    if y == 0:
        return math.nan if x == 0 or math.isnan(x) else math.copysign(math.inf, x) * math.copysign(1, y)
    return x / y


def smaller(x: float, y: float) -> float:
    """NaN where one is NaN; -0 below +0."""
    if math.isnan(x) or math.isnan(y):
        return math.nan
    return min(x, y) if x != y else (x if math.copysign(1, x) < 0 else y)


def larger(x: float, y: float) -> float:
    """NaN where one is NaN; +0 above -0."""
    return -smaller(-x, -y)


def _float_operations(bits: int) -> Mapping[str, Operation]:
    sign = 2 ** (bits - 1)

    def of(function: Callable[..., float]) -> Operation:
        return lambda *raw: from_float(function(*(to_float(one, bits) for one in raw)), bits)

    def test(function: Callable[[float, float], bool]) -> Operation:
        return lambda a, b: int(function(to_float(a, bits), to_float(b, bits)))

    return {
        "eq": test(lambda x, y: x == y),
        "ne": test(lambda x, y: x != y),
        "lt": test(lambda x, y: x < y),
        "gt": test(lambda x, y: x > y),
        "le": test(lambda x, y: x <= y),
        "ge": test(lambda x, y: x >= y),
        "abs": lambda a: a & ~sign,
        "neg": lambda a: a ^ sign,
        "copysign": lambda a, b: a & ~sign | b & sign,
        "ceil": of(whole(math.ceil)),
        "floor": of(whole(math.floor)),
        "trunc": of(whole(math.trunc)),
        "nearest": of(nearest),
        "sqrt": of(square_root),
        "add": of(lambda x, y: x + y),
        "sub": of(lambda x, y: x - y),
        "mul": of(lambda x, y: x * y),
        "div": of(divide),
        "min": of(smaller),
        "max": of(larger),
    }


def truncate(value: int, of: int, to: int, is_signed: bool, saturates: bool) -> int:
    """A float of `of` bits to an integer of `to` bits."""
    x = to_float(value, of)
    if math.isnan(x):
        if saturates:
            return 0
        raise Trap("invalid conversion to integer")
    low, high = (-(2 ** (to - 1)), 2 ** (to - 1) - 1) if is_signed else (0, 2**to - 1)
    found = (low if x < 0 else high) if math.isinf(x) else math.trunc(x)
    if math.isinf(x) or not low <= found <= high:
        if not saturates:
            raise Trap("integer overflow")
        found = min(max(found, low), high)
    return _wrap(found, to)


def convert(value: int, of: int, to: int, is_signed: bool) -> int:
    """An integer to a float, rounded once: through a double, 64 bits to 32 would round twice."""
    number = to_signed(value, of) if is_signed else value
    kept = FRACTION[to] + 1
    spare = abs(number).bit_length() - kept
    if spare > 0:
        half, rest = 1 << (spare - 1), abs(number) % (1 << spare)
        rounded = abs(number) - rest
        if rest > half or (rest == half and rounded >> spare & 1):
            rounded += 1 << spare
        number = -rounded if number < 0 else rounded
    return from_float(float(number), to)


def _conversions() -> Mapping[str, Operation]:
    found: dict[str, Operation] = {
        "i32.wrap_i64": lambda a: _wrap(a, 32),
        "i64.extend_i32_s": lambda a: _wrap(to_signed(a, 32), 64),
        "i64.extend_i32_u": lambda a: a,
        "f32.demote_f64": lambda a: from_float(to_float(a, 64), 32),
        "f64.promote_f32": lambda a: from_float(to_float(a, 32), 64),
        **{f"{to}.reinterpret_{of}": lambda a: a for to, of in (("i32", "f32"), ("f32", "i32"))},
        **{f"{to}.reinterpret_{of}": lambda a: a for to, of in (("i64", "f64"), ("f64", "i64"))},
    }
    for i in (32, 64):
        for f in (32, 64):
            for s in "su":
                found[f"i{i}.trunc_f{f}_{s}"] = lambda a, i=i, f=f, s=s: truncate(a, f, i, s == "s", False)
                found[f"i{i}.trunc_sat_f{f}_{s}"] = lambda a, i=i, f=f, s=s: truncate(a, f, i, s == "s", True)
                found[f"f{f}.convert_i{i}_{s}"] = lambda a, i=i, f=f, s=s: convert(a, i, f, s == "s")
    return found


def operations() -> dict[str, Operation]:
    """Every scalar operation by name; an operand or result is the integer that its bits spell."""
    found = {f"i{bits}.{name}": one for bits in (32, 64) for name, one in _integer_operations(bits).items()}
    found |= {f"f{bits}.{name}": one for bits in (32, 64) for name, one in _float_operations(bits).items()}
    return found | dict(_conversions())


def signature(name: str) -> tuple[tuple[str, ...], str]:
    """Types of the operands and of the result of an operation."""
    type_, what = name.split(".")
    source = next(
        (
            f"{kind}{bits}"
            for kind in "if"
            for bits in (32, 64)
            if what.endswith((f"_{kind}{bits}", f"_{kind}{bits}_s", f"_{kind}{bits}_u"))
        ),
        None,
    )
    if source:
        return (source,), type_
    tests = {"eqz", "eq", "ne", "lt", "gt", "le", "ge"}
    result = "i32" if what.removesuffix("_s").removesuffix("_u") in tests else type_
    unary = {"eqz", "clz", "ctz", "popcnt", "abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"}
    return ((type_,) if what in unary or what.startswith("extend") else (type_, type_)), result

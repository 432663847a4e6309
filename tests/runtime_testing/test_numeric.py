"""Every operation against numpy, exact fractions and Python's own numbers, bit by bit."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.runtime_testing import numeric
from reference_impls.runtime_testing.opcodes import NUMERIC, SATURATING
from reference_impls.runtime_testing.outcome import Trap

OPS = numeric.operations()
FLOATS = {32: np.float32, 64: np.float64}
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
UNARY = {"sqrt": np.sqrt, "nearest": np.rint, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}


def bits_of(value, bits):
    return int(FLOATS[bits](value).view({32: np.uint32, 64: np.uint64}[bits]))


def float_of(raw, bits):
    return np.array([raw], {32: np.uint32, 64: np.uint64}[bits]).view(FLOATS[bits])[0]


def test_every_instruction_has_an_operation_and_the_reverse():
    assert set(OPS) == set(NUMERIC) | set(SATURATING)


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_floats_are_numpys(bits, data):
    raw = st.integers(0, 2**bits - 1)
    a, b = data.draw(raw), data.draw(raw)
    with np.errstate(all="ignore"):
        for name, function in BINARY.items():
            same(OPS[f"f{bits}.{name}"](a, b), bits_of(function(float_of(a, bits), float_of(b, bits)), bits), bits)
        for name, function in UNARY.items():
            same(OPS[f"f{bits}.{name}"](a), bits_of(function(float_of(a, bits)), bits), bits)


def same(ours, theirs, bits):
    both_nan = numeric.is_arithmetic_nan(ours, bits) and numeric.is_nan(theirs, bits)
    assert both_nan or ours == theirs


@pytest.mark.parametrize("bits", [32, 64])
@given(data=st.data())
def test_integers_are_pythons(bits, data):
    a, b = data.draw(st.integers(0, 2**bits - 1)), data.draw(st.integers(0, 2**bits - 1))
    x, y = numeric.to_signed(a, bits), numeric.to_signed(b, bits)
    name = f"i{bits}."
    assert OPS[name + "mul"](a, b) == x * y % 2**bits
    assert OPS[name + "rotr"](OPS[name + "rotl"](a, b), b) == a
    assert OPS[name + "clz"](a) == len(f"{a:0{bits}b}") - len(f"{a:0{bits}b}".lstrip("0"))
    assert OPS[name + "ctz"](a) == len(f"{a:0{bits}b}") - len(f"{a:0{bits}b}".rstrip("0"))
    assert OPS[name + "shr_s"](a, b) == math.floor(Fraction(x, 2 ** (b % bits))) % 2**bits
    if y and not (x == -(2 ** (bits - 1)) and y == -1):
        quotient, rest = OPS[name + "div_s"](a, b), OPS[name + "rem_s"](a, b)
        assert (quotient * b + rest) % 2**bits == a
        assert numeric.to_signed(quotient, bits) == math.trunc(Fraction(x, y))


@given(value=st.integers(0, 2**64 - 1))
def test_a_conversion_rounds_once(value):
    found = Fraction(float(numeric.to_float(OPS["f32.convert_i64_u"](value), 32)))
    step = Fraction(2) ** max(value.bit_length() - 24, 0)
    assert abs(found - value) <= step / 2
    assert OPS["f32.convert_i64_u"](0x7FFFFF4000000001) != numeric.from_float(float(0x7FFFFF4000000001), 32)


def test_signs_of_zero_and_ties():
    minus = 1 << 63
    assert OPS["f64.nearest"](bits_of(-0.5, 64)) == minus
    assert OPS["f64.min"](0, minus) == OPS["f64.min"](minus, 0) == minus
    assert OPS["f64.max"](0, minus) == OPS["f64.max"](minus, 0) == 0
    assert [OPS["f64.nearest"](bits_of(x, 64)) for x in (0.5, 1.5, 2.5)] == [bits_of(x, 64) for x in (0.0, 2.0, 2.0)]


@pytest.mark.parametrize(
    ("name", "given_", "kind"),
    [
        ("i32.div_s", (1 << 31, 2**32 - 1), "integer overflow"),
        ("i64.rem_u", (1, 0), "integer divide by zero"),
        ("i32.trunc_f64_s", (bits_of(2.0**31, 64),), "integer overflow"),
        ("i64.trunc_f32_u", (0x7FC00000,), "invalid conversion to integer"),
    ],
)
def test_what_traps(name, given_, kind):
    with pytest.raises(Trap) as error:
        OPS[name](*given_)
    assert error.value.kind == kind


def test_the_ends_of_conversions_do_not_trap():
    assert OPS["i32.trunc_f64_s"](bits_of(-(2.0**31) - 0.999, 64)) == 1 << 31
    assert OPS["i32.trunc_f64_u"](bits_of(-0.999, 64)) == 0
    assert OPS["i32.trunc_sat_f64_u"](bits_of(-5.0, 64)) == 0
    assert OPS["i64.trunc_sat_f64_s"](0x7FF << 52) == 2**63 - 1

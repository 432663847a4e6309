"""Faults to find: the reference interpreter with one rule broken, each filed under the pattern that should notice.

Paper: none; mutation analysis of the rig itself, after the bug patterns of arXiv 2301.12102.
Idea: a rig that finds nothing may be blind. Break one rule, run all cases, and see if the intended pattern objects.
Symbols: score = faults found by a case of the intended leaf / faults.
Simplified: single faults, of our choice; how often real engines have such ones, the score does not say.
Differs: the paper counts new bugs in engines; both are shown here, apart.
Cost: one run of all cases by the interpreter for each fault.
Checked against: the interpreter without a fault, in which nothing may be found.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from reference_impls.runtime_testing import Case, numeric
from reference_impls.runtime_testing.interpreter import REFERENCE, Semantics, in_bounds
from reference_impls.runtime_testing.numeric import Operation, from_float, is_nan, to_float, to_signed
from reference_impls.runtime_testing.oracle import judge
from reference_impls.runtime_testing.reference import interpret


@dataclass(frozen=True)
class Fault:
    """What is broken, and where it should be noticed."""

    name: str
    leaf: str
    semantics: Semantics


def _operation(name: str, leaf: str, wrong: Operation, title: str) -> Fault:
    return Fault(f"{name}: {title}", leaf, replace(REFERENCE, operations={**REFERENCE.operations, name: wrong}))


def _rule(title: str, leaf: str, **changed: object) -> Fault:
    return Fault(title, leaf, replace(REFERENCE, **changed))  # type: ignore[arg-type]


def _floor_divide(a: int, b: int) -> int:
    numeric.divide_signed(a, b, 32)  # for its traps
    return to_signed(a, 32) // to_signed(b, 32) % 2**32


def _through_double(a: int) -> int:
    return from_float(float(a), 32)


def _ties_away(a: int) -> int:
    x = to_float(a, 32)
    if math.isnan(x) or math.isinf(x):
        return a if math.isinf(x) else numeric.canonical_nan(32)
    return from_float(math.copysign(math.floor(abs(x) + 0.5), x), 32)


def _without_zero_sign(a: int) -> int:
    found = REFERENCE.operations["f64.nearest"](a)
    return 0 if found == 1 << 63 else found


def _larger_of_numbers(a: int, b: int) -> int:
    if is_nan(a, 32) != is_nan(b, 32):
        return b if is_nan(a, 32) else a
    return REFERENCE.operations["f32.max"](a, b)


def _min_by_comparison(a: int, b: int) -> int:
    x, y = to_float(a, 64), to_float(b, 64)
    if math.isnan(x) or math.isnan(y):
        return numeric.canonical_nan(64)
    return a if x <= y else b


def _grow_without_limit(now: int, more: int, _most: int) -> int | None:
    return now + more if now + more <= 8 else None


def faults() -> list[Fault]:
    """Every fault, the same each time."""
    return [
        _operation("i32.div_s", "A2", _floor_divide, "rounds down instead of towards zero"),
        _operation("i32.rem_s", "A2", lambda a, b: _remainder_of_divisor(a, b), "takes the divisor's sign"),
        _operation("i64.shl", "A2", lambda a, b: (a << b) % 2**64 if b < 64 else 0, "a shift by the width gives zero"),
        _operation("i32.shr_s", "A2", lambda a, b: a >> b % 32, "forgets the sign"),
        _operation("i32.clz", "A2", lambda a: 32 - a.bit_length() if a else 0, "of zero gives zero"),
        _operation("i64.lt_u", "A2", lambda a, b: int(to_signed(a, 64) < to_signed(b, 64)), "compares with signs"),
        _operation("f64.nearest", "A7", _without_zero_sign, "loses the sign of zero"),
        _operation("f32.nearest", "A7", _ties_away, "takes ties away from zero"),
        _operation("f64.min", "A7", _min_by_comparison, "takes +0 and -0 for equal"),
        _operation("f32.max", "A7", _larger_of_numbers, "ignores NaN"),
        _operation("f32.convert_i64_u", "A7", _through_double, "rounds twice"),
        _operation("i32.trunc_sat_f64_u", "A7", lambda a: _saturate(a), "turns NaN into the largest number"),
        _rule("br_table: an index beyond the last wraps", "A3", target=lambda index, last: index % (last + 1)),
        _rule("memory: a byte beyond the end is allowed", "C4", in_bounds=lambda a, w, size: a + w <= size + 1),
        _rule(
            "memory: address and offset wrap at 32 bits", "C4", effective=lambda base, offset: (base + offset) % 2**32
        ),
        _rule("memory: grows beyond its limit", "C4", grow=_grow_without_limit),
        _rule("memory: copies that overlap go forward", "C4", copies_overlap=False),
        _rule(
            "memory: nothing at a place beyond the end",
            "C4",
            bulk_in_bounds=lambda a, n, size: not n or in_bounds(a, n, size),
        ),
        _rule("memory: small loads forget the sign", "C4", extends_sign=False),
        _rule("call_indirect: another signature is called", "C10", checks_signature=False),
        _rule("call_indirect: an empty place is called", "C5", checks_element=False),
        _rule("the stack stays as deep as it was at a trap", "C8", unwinds_after_trap=False),
        _rule("a segment that does not fit is left out", "C1", checks_segments=False),
        _rule("the start function is not run", "C1", runs_start=False),
        _rule(
            "a 64-bit argument reaches the host in 32",
            "C3",
            host_value=lambda bits, type_: bits % 2**32 if type_ == "i64" else bits,
        ),
        _rule("locals begin at one", "C12", zeroes_locals=False),
    ]


def _remainder_of_divisor(a: int, b: int) -> int:
    numeric.remainder_signed(a, b, 32)  # for its trap
    return to_signed(a, 32) % to_signed(b, 32) % 2**32


def _saturate(a: int) -> int:
    return 2**32 - 1 if is_nan(a, 64) else REFERENCE.operations["i32.trunc_sat_f64_u"](a)


def noticed(fault: Fault, cases: Iterable[Case]) -> set[str]:
    """Leaves of the cases that object to a fault."""
    return {case.leaf for case in cases if judge("fault", case, interpret(case, fault.semantics))}


def score(cases: list[Case], choose: Callable[[], list[Fault]] = faults) -> tuple[int, list[str]]:
    """-> how many faults their intended pattern notices, and the names of those that it does not"""
    missed = [
        fault.name for fault in choose() if fault.leaf not in noticed(fault, [c for c in cases if c.leaf == fault.leaf])
    ]
    return len(choose()) - len(missed), missed

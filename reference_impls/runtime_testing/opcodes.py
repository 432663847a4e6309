"""The instructions that this family's assembler and interpreter know, as data: name to opcode and immediates.

Names and numbers follow the core specification, version 2, in its order of opcodes, and the threads proposal.
"""

CONTROL: dict[str, int] = {
    "unreachable": 0x00,
    "nop": 0x01,
    "block": 0x02,
    "loop": 0x03,
    "if": 0x04,
    "else": 0x05,
    "end": 0x0B,
    "br": 0x0C,
    "br_if": 0x0D,
    "br_table": 0x0E,
    "return": 0x0F,
    "call": 0x10,
    "call_indirect": 0x11,
    "drop": 0x1A,
    "select": 0x1B,
    "local.get": 0x20,
    "local.set": 0x21,
    "local.tee": 0x22,
    "global.get": 0x23,
    "global.set": 0x24,
    "memory.size": 0x3F,
    "memory.grow": 0x40,
    "i32.const": 0x41,
    "i64.const": 0x42,
    "f32.const": 0x43,
    "f64.const": 0x44,
}

MEMORY: dict[str, tuple[int, int]] = {
    name: (0x28 + place, width)
    for place, (name, width) in enumerate(
        [
            *(("i32.load", 4), ("i64.load", 8), ("f32.load", 4), ("f64.load", 8)),
            *(("i32.load8_s", 1), ("i32.load8_u", 1), ("i32.load16_s", 2), ("i32.load16_u", 2)),
            *(("i64.load8_s", 1), ("i64.load8_u", 1), ("i64.load16_s", 2), ("i64.load16_u", 2)),
            *(("i64.load32_s", 4), ("i64.load32_u", 4)),
            *(("i32.store", 4), ("i64.store", 8), ("f32.store", 4), ("f64.store", 8)),
            *(("i32.store8", 1), ("i32.store16", 2)),
            *(("i64.store8", 1), ("i64.store16", 2), ("i64.store32", 4)),
        ]
    )
}
"""Name: opcode and width in bytes, which is also the natural alignment."""

INTEGER_TESTS = ["eqz", "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"]
FLOAT_TESTS = ["eq", "ne", "lt", "gt", "le", "ge"]
INTEGER_UNARY = ["clz", "ctz", "popcnt"]
INTEGER_BINARY = [
    *("add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor"),
    *("shl", "shr_s", "shr_u", "rotl", "rotr"),
]
FLOAT_UNARY = ["abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"]
FLOAT_BINARY = ["add", "sub", "mul", "div", "min", "max", "copysign"]
CONVERSIONS = [
    "i32.wrap_i64",
    *("i32.trunc_f32_s", "i32.trunc_f32_u", "i32.trunc_f64_s", "i32.trunc_f64_u"),
    *("i64.extend_i32_s", "i64.extend_i32_u"),
    *("i64.trunc_f32_s", "i64.trunc_f32_u", "i64.trunc_f64_s", "i64.trunc_f64_u"),
    *("f32.convert_i32_s", "f32.convert_i32_u", "f32.convert_i64_s", "f32.convert_i64_u", "f32.demote_f64"),
    *("f64.convert_i32_s", "f64.convert_i32_u", "f64.convert_i64_s", "f64.convert_i64_u", "f64.promote_f32"),
    *("i32.reinterpret_f32", "i64.reinterpret_f64", "f32.reinterpret_i32", "f64.reinterpret_i64"),
    *("i32.extend8_s", "i32.extend16_s", "i64.extend8_s", "i64.extend16_s", "i64.extend32_s"),
]

NUMERIC: dict[str, int] = {
    name: 0x45 + place
    for place, name in enumerate(
        [
            *(f"i32.{one}" for one in INTEGER_TESTS),
            *(f"i64.{one}" for one in INTEGER_TESTS),
            *(f"f32.{one}" for one in FLOAT_TESTS),
            *(f"f64.{one}" for one in FLOAT_TESTS),
            *(f"i32.{one}" for one in INTEGER_UNARY + INTEGER_BINARY),
            *(f"i64.{one}" for one in INTEGER_UNARY + INTEGER_BINARY),
            *(f"f32.{one}" for one in FLOAT_UNARY + FLOAT_BINARY),
            *(f"f64.{one}" for one in FLOAT_UNARY + FLOAT_BINARY),
            *CONVERSIONS,
        ]
    )
}

SATURATING: dict[str, int] = {
    name: place
    for place, name in enumerate(
        f"{to}.trunc_sat_{of}_{sign}" for to in ("i32", "i64") for of in ("f32", "f64") for sign in "su"
    )
}
"""After the prefix 0xFC."""

BULK: dict[str, tuple[int, str]] = {
    "memory.init": (8, "index zero"),
    "data.drop": (9, "index"),
    "memory.copy": (10, "zero zero"),
    "memory.fill": (11, "zero"),
}
"""After the prefix 0xFC: number, and the immediates that follow."""

SIMD: dict[str, tuple[int, str]] = {
    "v128.load": (0, "memory 16"),
    "v128.load64_zero": (93, "memory 8"),
    "v128.store": (11, "memory 16"),
    "i8x16.splat": (15, ""),
    "i16x8.splat": (16, ""),
    "i32x4.splat": (17, ""),
    "f32x4.splat": (19, ""),
    "i32x4.extract_lane": (27, "lane"),
    "f32x4.extract_lane": (31, "lane"),
    "v128.and": (78, ""),
    "i8x16.sub": (113, ""),
    "i8x16.shr_u": (109, ""),
    "i8x16.shr_s": (108, ""),
    "i8x16.shl": (107, ""),
    "i16x8.extend_low_i8x16_s": (135, ""),
    "i16x8.extend_high_i8x16_s": (136, ""),
    "i32x4.extend_low_i16x8_s": (167, ""),
    "i32x4.extend_high_i16x8_s": (168, ""),
    "i32x4.add": (174, ""),
    "i32x4.dot_i16x8_s": (186, ""),
    "f32x4.add": (228, ""),
    "f32x4.mul": (230, ""),
    "f32x4.convert_i32x4_s": (250, ""),
}
"""After the prefix 0xFD: number and immediates; what the kernels need."""

ATOMIC: dict[str, tuple[int, int]] = {
    "i32.atomic.load": (0x10, 4),
    "i32.atomic.store": (0x17, 4),
    "i32.atomic.rmw.add": (0x1E, 4),
    "i32.atomic.rmw.cmpxchg": (0x48, 4),
}
"""After the prefix 0xFE: number and width; an atomic access must be aligned."""

TYPES: dict[str, int] = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C, "v128": 0x7B, "funcref": 0x70}


def width_of(name: str) -> int | None:
    """Bytes that a memory instruction touches; None for any other instruction."""
    if name in MEMORY:
        return MEMORY[name][1]
    if name in ATOMIC:
        return ATOMIC[name][1]
    if name in SIMD and SIMD[name][1].startswith("memory"):
        return int(SIMD[name][1].split()[1])
    return None

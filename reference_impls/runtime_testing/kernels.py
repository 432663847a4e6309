"""Kernels of quantized inference in WebAssembly, scalar and with vectors: the same bits in every engine?

Paper: none; the check of arXiv 2301.12102 turned to this project's own arithmetic (GPTQ's codes, 2210.17323, are what
    such kernels read).
Idea: integer sums are exact in any order, and a product of an integer and a scale is rounded once, so that scalar code,
    vectors and PyTorch must agree to the last bit.
Symbols: n = codes in a vector; a 4-bit code c stands for c - 8, two in a byte, the first in the low half.
Simplified: one row, one scale; n is a multiple of 32.
Differs: nothing to differ from.
Cost: n multiply-adds.
Checked against: numpy and PyTorch, bit by bit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_impls.runtime_testing import Call, Case
from reference_impls.runtime_testing.outcome import values

Bytes = NDArray[np.int8]
WEIGHTS, INPUTS, OUTPUT = 0, 16384, 65536


@dataclass(frozen=True)
class Config:
    """How long the vectors are, and how often a call goes over them."""

    n: int = 4096
    times: int = 1
    seed: int = 0
    scale: float = 0.037

    def __post_init__(self) -> None:
        if self.n % 32 or not 0 < self.n <= INPUTS:
            raise ValueError(f"n must be a multiple of 32 up to {INPUTS}, got {self.n}")


def inputs_of(config: Config) -> tuple[Bytes, Bytes]:
    """-> weights (n,), inputs (n,): all 8-bit numbers occur"""
    rng = np.random.default_rng(config.seed)
    return rng.integers(-128, 128, config.n, dtype=np.int8), rng.integers(-128, 128, config.n, dtype=np.int8)


def packed_codes(config: Config) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """-> codes 0..15 (n,), and the same two in a byte (n / 2,)"""
    codes = np.random.default_rng(config.seed + 1).integers(0, 16, config.n, dtype=np.uint8)
    return codes, (codes[0::2] | codes[1::2] << 4).astype(np.uint8)


def _loop(body: str, step: int, extra: str = "") -> str:
    """`body` at each $i from 0 to $n in steps, all of it $times times; the sum in $sum."""
    return f"""(func (export "f") (param $times i32) (result i32)
      (local $i i32) (local $sum i32) (local $w i32) (local $end i32) {extra}
      block $done loop $again local.get $times i32.eqz br_if $done
        i32.const 0 local.set $i
        loop $next {body} local.get $i i32.const {step} i32.add local.tee $i local.get $end i32.lt_u br_if $next end
        local.get $times i32.const 1 i32.sub local.set $times br $again end end
      local.get $sum)"""


def _with_end(text: str, end: int) -> str:
    return text.replace("local.get $end", f"i32.const {end}").replace("(local $end i32)", "")


ADD_LANES = " ".join(
    f"local.get $v i32x4.extract_lane {lane} local.get $sum i32.add local.set $sum" for lane in range(4)
)
DOT8 = (
    f"local.get $i i32.load8_s local.get $i i32.load8_s offset={INPUTS} i32.mul local.get $sum i32.add local.set $sum"
)
DOT8_VECTOR = f"""local.get $i v128.load local.set $a local.get $i v128.load offset={INPUTS} local.set $b
  local.get $a i16x8.extend_low_i8x16_s local.get $b i16x8.extend_low_i8x16_s i32x4.dot_i16x8_s
  local.get $a i16x8.extend_high_i8x16_s local.get $b i16x8.extend_high_i8x16_s i32x4.dot_i16x8_s
  i32x4.add local.set $v {ADD_LANES}"""
DOT4 = f"""local.get $i i32.load8_u local.set $w
  local.get $w i32.const 15 i32.and i32.const 8 i32.sub local.get $i i32.load8_s offset={INPUTS} i32.mul
  local.get $w i32.const 4 i32.shr_u i32.const 8 i32.sub local.get $i i32.load8_s offset={INPUTS + 8192} i32.mul
  i32.add local.get $sum i32.add local.set $sum"""
_HALF = """local.get $a i16x8.extend_low_i8x16_s local.get $b i16x8.extend_low_i8x16_s i32x4.dot_i16x8_s
  local.get $a i16x8.extend_high_i8x16_s local.get $b i16x8.extend_high_i8x16_s i32x4.dot_i16x8_s i32x4.add"""
DOT4_VECTOR = f"""local.get $i v128.load local.set $c
  local.get $c i32.const 15 i8x16.splat v128.and i32.const 8 i8x16.splat i8x16.sub local.set $a
  local.get $i v128.load offset={INPUTS} local.set $b {_HALF}
  local.get $c i32.const 4 i8x16.shr_u i32.const 8 i8x16.splat i8x16.sub local.set $a
  local.get $i v128.load offset={INPUTS + 8192} local.set $b {_HALF}
  i32x4.add local.set $v {ADD_LANES}"""
_MIX = "local.get $sum i32.const 5 i32.rotl i32.xor local.set $sum"
_FOUR = "local.get $i i32.const 4 i32.mul"
DEQUANTIZE = f"{_FOUR} local.get $i i32.load8_s f32.convert_i32_s f32.const SCALE f32.mul f32.store offset={OUTPUT}"
DEQUANTIZE_VECTOR = f"""local.get $i v128.load64_zero i16x8.extend_low_i8x16_s local.set $a
  {_FOUR} local.get $a i32x4.extend_low_i16x8_s f32x4.convert_i32x4_s f32.const SCALE f32x4.splat f32x4.mul v128.store offset={OUTPUT}
  {_FOUR} local.get $a i32x4.extend_high_i16x8_s f32x4.convert_i32x4_s f32.const SCALE f32x4.splat f32x4.mul v128.store offset={OUTPUT + 16}"""
VECTORS = "(local $a v128) (local $b v128) (local $c v128) (local $v v128)"

KERNELS: dict[str, tuple[str, int, int, bool]] = {
    "int8-dot-scalar": (DOT8, 1, 1, False),
    "int8-dot-vector": (DOT8_VECTOR, 16, 1, True),
    "int4-dot-scalar": (DOT4, 1, 2, False),
    "int4-dot-vector": (DOT4_VECTOR, 16, 2, True),
    "dequantize-scalar": (DEQUANTIZE, 1, 1, False),
    "dequantize-vector": (DEQUANTIZE_VECTOR, 8, 1, True),
}
"""Name: body, bytes of weights a step, codes a byte, whether it needs vectors."""


def text_of(kernel: str, config: Config) -> str:
    """The kernel as a module, its data with it."""
    body, step, per_byte, vectors = KERNELS[kernel]
    body = body.replace("SCALE", np.float32(config.scale).item().hex())
    weights, inputs = inputs_of(config)
    stored = packed_codes(config)[1].tobytes() if per_byte == 2 else weights.tobytes()
    segments = [_data(WEIGHTS, stored)]
    if per_byte == 2:
        segments += [_data(INPUTS, inputs[0::2].tobytes()), _data(INPUTS + 8192, inputs[1::2].tobytes())]
    elif "dot" in kernel:
        segments.append(_data(INPUTS, inputs.tobytes()))
    run = _with_end(_loop(body, step, VECTORS if vectors else ""), config.n // per_byte)
    read = f"local.get $i i32.const 4 i32.mul i32.load offset={OUTPUT} {_MIX}"
    mixed = _with_end(_loop(read, 1), config.n).replace('"f"', '"mixed"')
    return f"(module (memory 4) {' '.join(segments)} {run} {mixed})"


def _data(place: int, content: bytes) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in content)
    return f'(data (i32.const {place}) "{escaped}")'


def dot(kernel: str, config: Config) -> int:
    """The exact sum, times how often it is formed, in 32 bits."""
    weights, inputs = inputs_of(config)
    used = packed_codes(config)[0].astype(np.int64) - 8 if kernel.startswith("int4") else weights.astype(np.int64)
    return int((used * inputs.astype(np.int64)).sum()) * config.times % 2**32


def mixed(numbers: NDArray[np.float32]) -> int:
    """Every bit of every number, folded into 32."""
    found = 0
    for bits in numbers.view(np.uint32).tolist():
        found = bits ^ ((found << 5 | found >> 27) & 0xFFFFFFFF)
    return found


def dequantized(config: Config) -> NDArray[np.float32]:
    """-> (n,)"""
    return inputs_of(config)[0].astype(np.float32) * np.float32(config.scale)


def case_of(kernel: str, config: Config | None = None) -> Case:
    """The kernel as a case: its result, and for numbers that it writes every bit of them."""
    config = config or Config()
    result = dot(kernel, config) if "dot" in kernel else 0
    calls = [Call("f", (("i32", config.times),), ("i32",), kernel, expected=(values(result),))]
    if "dot" not in kernel:
        written = values(mixed(dequantized(config)))
        calls.append(Call("mixed", (("i32", 1),), ("i32",), kernel, expected=(written,)))
    return Case(f"kernel/{kernel}", "A7", text_of(kernel, config), tuple(calls), label=kernel, keeps_instance=True)

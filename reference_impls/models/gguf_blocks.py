"""The number formats of GGUF tensors, decoded to float32.

Paper: none; the layouts are those of ggml's ggml-common.h (block_q4_0, block_q4_1, block_q8_0).
Idea: 32 weights share a scale, and in Q4_1 an offset; a block is a small record, so a tensor is an array of records.
Symbols: d = scale, m = offset, qs = codes.
Simplified: the types with blocks of 256 weights (Q4_K and the like) are left out.
Differs: nothing.
Cost: 4.5, 5 and 8.5 bits per weight in the file for Q4_0, Q4_1 and Q8_0; 32 once decoded.
Checked against: blocks worked by hand; gguf.quants.dequantize on SmolLM2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

Q4_0: Final = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
Q4_1: Final = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16)])
Q8_0: Final = np.dtype([("d", "<f2"), ("qs", "i1", 32)])


@dataclass(frozen=True)
class BlockType:
    """A format: how many weights and bytes a block has, and how to decode the bytes of many blocks."""

    name: str
    weights: int
    size_bytes: int
    decode: Callable[[Bytes], Floats]


def nibbles(codes: np.ndarray[Any, np.dtype[np.uint8]]) -> Floats:
    """Low halves are the first 16 weights, high halves the last. codes: (blocks, 16) -> (blocks, 32)."""
    return np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)


def decode_f32(raw: Bytes) -> Floats:
    """raw: (bytes,) -> (weights,)."""
    return raw.view("<f4").astype(np.float32)


def decode_f16(raw: Bytes) -> Floats:
    """raw: (bytes,) -> (weights,)."""
    return raw.view("<f2").astype(np.float32)


def decode_bf16(raw: Bytes) -> Floats:
    """A bfloat16 is the upper half of a float32. raw: (bytes,) -> (weights,)."""
    return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)


def decode_q4_0(raw: Bytes) -> Floats:
    """d * (q - 8). raw: (bytes,) -> (blocks, 32)."""
    blocks = raw.view(Q4_0)
    return blocks["d"].astype(np.float32)[:, None] * (nibbles(blocks["qs"]) - 8)


def decode_q4_1(raw: Bytes) -> Floats:
    """d * q + m. raw: (bytes,) -> (blocks, 32)."""
    blocks = raw.view(Q4_1)
    d, m = (blocks[name].astype(np.float32)[:, None] for name in ("d", "m"))
    return d * nibbles(blocks["qs"]) + m


def decode_q8_0(raw: Bytes) -> Floats:
    """d * q. raw: (bytes,) -> (blocks, 32)."""
    blocks = raw.view(Q8_0)
    return blocks["d"].astype(np.float32)[:, None] * blocks["qs"].astype(np.float32)


BLOCKS: Final = {
    0: BlockType("F32", 1, 4, decode_f32),
    1: BlockType("F16", 1, 2, decode_f16),
    2: BlockType("Q4_0", 32, Q4_0.itemsize, decode_q4_0),
    3: BlockType("Q4_1", 32, Q4_1.itemsize, decode_q4_1),
    8: BlockType("Q8_0", 32, Q8_0.itemsize, decode_q8_0),
    30: BlockType("BF16", 1, 2, decode_bf16),
}
"""Type number in the file -> format."""


def dequantize(raw: Bytes, block: BlockType) -> Floats:
    """Decode whole blocks; the result is its own memory. raw: (bytes,) -> (weights,)."""
    return block.decode(raw).reshape(-1)

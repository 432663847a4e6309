"""Writes small GGUF files, honest or forged, for the tests."""

import struct
from collections.abc import Sequence
from typing import Any

F32, F16, Q4_0, Q4_1, Q8_0, BF16 = 0, 1, 2, 3, 8, 30


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(found: Any) -> bytes:
    if isinstance(found, str):
        return struct.pack("<I", 8) + text(found)
    if isinstance(found, float):
        return struct.pack("<If", 6, found)
    if isinstance(found, int):
        return struct.pack("<II", 4, found)
    if isinstance(found[0], str):
        return struct.pack("<IIQ", 9, 8, len(found)) + b"".join(text(each) for each in found)
    return struct.pack("<IIQ", 9, 5, len(found)) + struct.pack(f"<{len(found)}i", *found)


def tensor_entry(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape)) + struct.pack("<IQ", kind, offset)


def build(metadata: dict[str, Any], tensors: dict[str, tuple[Sequence[int], int, bytes]]) -> bytes:
    """tensors: name -> shape outermost first, type number, bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(key) + value(found) for key, found in metadata.items())
    body = b""
    for name, (shape, kind, raw) in tensors.items():
        head += tensor_entry(name, shape, kind, len(body))
        body += raw + b"\0" * (-len(raw) % 32)
    return head + b"\0" * (-len(head) % 32) + body

"""Read GGUF files: header, metadata and tensors, without trusting a single number in them.

Paper: none; the format is specified in ggml's docs/gguf.md, versions 2 and 3.
Idea: map the file, walk its header once, and decode strings, arrays and tensors only when asked for.
Symbols: nothing beyond the axes' names.
Simplified: little-endian files in one part; of the quantized types Q4_0, Q4_1 and Q8_0.
Differs: shapes are given outermost axis first, as torch has them, where the file gives the innermost first.
Cost: opening walks the header (a 49,152-word vocabulary: some 50 ms); a tensor costs its bytes when it is read.
Checked against: the `gguf` package on SmolLM2 (every tensor bit-identical); hand-worked blocks; cut and forged files.
"""

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reference_impls.models.gguf_blocks import BLOCKS, BlockType, dequantize

Scalar = int | float | bool | str

SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type number in the file -> its letter for `struct`."""
STRING, ARRAY = 8, 9
MAX_AXES = 4
MAX_NAME_BYTES = 65_535


class GGUFError(ValueError):
    """The file is not a GGUF file, is damaged, or uses what is not supported; the message says which and where."""


@dataclass(frozen=True)
class ArrayPlace:
    """Where an array of the metadata lies; it is decoded only when asked for."""

    kind: int
    count: int
    start: int


@dataclass(frozen=True)
class TensorPlace:
    """What a tensor is and where its bytes lie."""

    shape: tuple[int, ...]
    block: BlockType
    start: int
    size_bytes: int


class Cursor:
    """A place in the file; every read checks that the bytes are there before it takes them."""

    def __init__(self, data: mmap.mmap, path: Path, at: int = 0) -> None:
        self.data, self.path, self.at = data, path, at

    def need(self, size_bytes: int, what: str) -> None:
        """Refuse what would reach past the end."""
        left = len(self.data) - self.at
        if size_bytes > left:
            raise GGUFError(f"{self.path}: byte {self.at}: {what} needs {size_bytes} bytes, the file has {left} left")

    def take(self, letters: str, what: str) -> tuple[int, ...]:
        """Little-endian numbers, as `struct` names them."""
        size = struct.calcsize(f"<{letters}")
        self.need(size, what)
        found = struct.unpack_from(f"<{letters}", self.data, self.at)
        self.at += size
        return found

    def take_bytes(self, what: str) -> bytes:
        """A length and that many bytes."""
        (size,) = self.take("Q", f"the length of {what}")
        self.need(size, what)
        self.at += size
        return self.data[self.at - size : self.at]

    def take_text(self, what: str) -> str:
        """A length and that many bytes of UTF-8."""
        try:
            return self.take_bytes(what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise GGUFError(f"{self.path}: byte {self.at}: {what} is not UTF-8") from error

    def take_name(self, what: str) -> str:
        """A text short enough to be a name."""
        name = self.take_text(what)
        if not 0 < len(name) <= MAX_NAME_BYTES:
            raise GGUFError(f"{self.path}: byte {self.at}: {what} has {len(name)} characters")
        return name

    def take_value(self, what: str) -> Scalar | ArrayPlace:
        """A type number and a value of that type."""
        (kind,) = self.take("I", f"the type of {what}")
        if kind == STRING:
            return self.take_text(what)
        if kind == ARRAY:
            return self.skip_array(what)
        if kind not in SCALARS:
            raise GGUFError(f"{self.path}: byte {self.at}: {what} has the unknown type {kind}")
        return self.take(SCALARS[kind], what)[0]

    def skip_array(self, what: str) -> ArrayPlace:
        """Step over an array after checking that all of it is there."""
        kind, count = self.take("IQ", f"the head of {what}")
        place = ArrayPlace(kind, count, self.at)
        if kind == STRING:
            self.need(8 * count, what)
            for _ in range(count):
                (size,) = self.take("Q", what)
                self.need(size, what)
                self.at += size
        elif kind in SCALARS:
            size = count * struct.calcsize(SCALARS[kind])
            self.need(size, what)
            self.at += size
        else:
            raise GGUFError(f"{self.path}: byte {self.at}: {what} is an array of the unsupported type {kind}")
        return place


class GGUFFile:
    """An open file. `metadata` has the scalars; arrays are read by `strings` and `numbers`, tensors by `tensor`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            if self.path.stat().st_size < 24:
                raise GGUFError(f"{self.path}: not a GGUF file: shorter than its 24-byte header")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        cursor = Cursor(self._data, self.path)
        tensor_count, value_count = self._read_header(cursor)
        self.metadata: dict[str, Scalar] = {}
        self.arrays: dict[str, ArrayPlace] = {}
        self._read_metadata(cursor, value_count)
        self.tensors = self._read_places(cursor, tensor_count)

    def _read_header(self, cursor: Cursor) -> tuple[int, int]:
        if self._data[:4] != b"GGUF":
            raise GGUFError(f'{self.path}: not a GGUF file: expected b"GGUF" first, got {self._data[:4]!r}')
        cursor.at = 4
        (version,) = cursor.take("I", "the version")
        if version not in (2, 3):
            raise GGUFError(f"{self.path}: expected version 2 or 3 in little-endian order, got {version}")
        tensor_count, value_count = cursor.take("QQ", "the counts")
        # a value takes at least 13 bytes and a tensor's description at least 33
        cursor.need(13 * value_count + 33 * tensor_count, f"{value_count} values and {tensor_count} tensors")
        return tensor_count, value_count

    def _read_metadata(self, cursor: Cursor, count: int) -> None:
        for _ in range(count):
            key = cursor.take_name("a key")
            if key in self.metadata or key in self.arrays:
                raise GGUFError(f"{self.path}: the key {key} appears twice")
            value = cursor.take_value(key)
            if isinstance(value, ArrayPlace):
                self.arrays[key] = value
            else:
                self.metadata[key] = value

    def _read_places(self, cursor: Cursor, count: int) -> dict[str, TensorPlace]:
        described: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(count):
            name = cursor.take_name("a tensor's name")
            if name in described:
                raise GGUFError(f"{self.path}: the tensor {name} appears twice")
            (axes,) = cursor.take("I", f"{name}'s number of axes")
            if not 1 <= axes <= MAX_AXES:
                raise GGUFError(f"{self.path}: {name}: expected 1 to {MAX_AXES} axes, got {axes}")
            shape = cursor.take("Q" * axes, f"{name}'s shape")[::-1]
            kind, offset = cursor.take("IQ", f"{name}'s type and place")
            described[name] = shape, kind, offset
        step = self.metadata.get("general.alignment", 32)
        if not isinstance(step, int) or not 0 < step <= 2**20:
            raise GGUFError(f"{self.path}: general.alignment: expected 1 to {2**20}, got {step}")
        base = -(-cursor.at // step) * step
        return {name: self._place(name, *found, base, step) for name, found in described.items()}

    def _place(self, name: str, shape: tuple[int, ...], kind: int, offset: int, base: int, step: int) -> TensorPlace:
        block = BLOCKS.get(kind)
        if block is None:
            known = ", ".join(found.name for found in BLOCKS.values())
            raise GGUFError(f"{self.path}: {name}: type {kind} is not supported, only {known}")
        if min(shape) < 1 or shape[-1] % block.weights:
            raise GGUFError(f"{self.path}: {name}: {block.name} rows hold multiples of {block.weights}, got {shape}")
        size = math.prod(shape) // block.weights * block.size_bytes
        if offset % step or base + offset + size > len(self._data):
            raise GGUFError(
                f"{self.path}: {name}: {size} bytes from {base + offset} on are not in the file of "
                f"{len(self._data)} bytes at a multiple of {step}"
            )
        return TensorPlace(shape, block, base + offset, size)

    def strings(self, key: str) -> list[str]:
        """An array of texts from the metadata; bytes that are not UTF-8 are replaced, as llama.cpp does."""
        place = self._array(key, {STRING})
        cursor = Cursor(self._data, self.path, place.start)
        return [cursor.take_bytes(key).decode("utf-8", "replace") for _ in range(place.count)]

    def numbers(self, key: str) -> list[int | float]:
        """An array of numbers from the metadata."""
        place = self._array(key, set(SCALARS))
        return list(Cursor(self._data, self.path, place.start).take(f"{place.count}{SCALARS[place.kind]}", key))

    def _array(self, key: str, kinds: set[int]) -> ArrayPlace:
        place = self.arrays.get(key)
        if place is None or place.kind not in kinds:
            raise GGUFError(f"{self.path}: no array {key} of the expected type")
        return place

    def raw(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """A tensor's bytes as they lie in the file: a read-only view, (bytes,)."""
        if name not in self.tensors:
            raise GGUFError(f"{self.path}: no tensor {name}")
        place = self.tensors[name]
        return np.frombuffer(self._data, np.uint8, place.size_bytes, place.start)

    def tensor(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor, dequantized, as its own memory. -> the shape in `tensors[name]`."""
        raw = self.raw(name)
        place = self.tensors[name]
        return torch.from_numpy(dequantize(raw, place.block)).view(place.shape).to(dtype)

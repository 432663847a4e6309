"""Read and write safetensors files with the standard library and torch.

Paper: none; the format is specified in huggingface/safetensors' README.
Idea: 8 bytes of header length, a JSON header of names, types, shapes and places, then the numbers; nothing is executed.
Symbols: nothing beyond the axes' names.
Simplified: the types that torch has a plain name for; no 4-bit or 6-bit floats.
Differs: nothing; the limits of the specification are checked (header up to 100 MB, no gaps, no overlaps).
Cost: opening reads the header only; a tensor's bytes are read from the disk when they are first touched.
Checked against: the `safetensors` library, both ways; cut and forged files.
"""

import json
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER_BYTES = 100_000_000
METADATA = "__metadata__"


class SafetensorsError(ValueError):
    """The file is not a safetensors file or is damaged; the message says where."""


@dataclass(frozen=True)
class Place:
    """What a tensor is and which bytes after the header are its own."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """-> the tensors by name, and the metadata. The tensors share the file's pages; writing to one copies its page."""
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        header, base = _read_header(path, file.read(8), size, file)
        places = _places(path, header, size - base)
        if not any(place.end > place.start for place in places.values()):
            tensors = {name: torch.empty(place.shape, dtype=place.dtype) for name, place in places.items()}
            return tensors, _metadata(path, header)
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return {name: _view(pages, base, place) for name, place in places.items()}, _metadata(path, header)


def _read_header(path: Path, first: bytes, size: int, file: Any) -> tuple[dict[str, Any], int]:
    if len(first) < 8:
        raise SafetensorsError(f"{path}: not a safetensors file: shorter than the 8 bytes of its header's length")
    (length,) = struct.unpack("<Q", first)
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise SafetensorsError(f"{path}: a header of {length} bytes is not in a file of {size} bytes")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise SafetensorsError(f"{path}: its header is not JSON with unique names: {error}") from error
    if not isinstance(header, dict):
        raise SafetensorsError(f"{path}: its header is not a JSON object")
    return header, 8 + length


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name appears twice")
    return found


def _metadata(path: Path, header: dict[str, Any]) -> dict[str, str]:
    found = header.get(METADATA, {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise SafetensorsError(f"{path}: {METADATA}: expected texts by name")
    return found


def _places(path: Path, header: dict[str, Any], size: int) -> dict[str, Place]:
    """Every place, after checking that together they cover the `size` bytes after the header exactly once."""
    places = {name: _place(path, name, entry) for name, entry in header.items() if name != METADATA}
    at = 0
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].end)):
        if place.start != at:
            raise SafetensorsError(f"{path}: {name}: expected to begin at {at}, begins at {place.start}")
        at = place.end
    if at != size:
        raise SafetensorsError(f"{path}: its tensors take {at} bytes, {size} follow the header")
    return places


def _place(path: Path, name: str, entry: Any) -> Place:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise SafetensorsError(f"{path}: {name}: expected dtype, shape and data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise SafetensorsError(f"{path}: {name}: expected a dtype of {', '.join(DTYPES)}, got {entry['dtype']!r}")
    shape, offsets = (_counts(path, name, entry[key]) for key in ("shape", "data_offsets"))
    expected = math.prod(shape) * dtype.itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != expected:
        raise SafetensorsError(f"{path}: {name}: {expected} bytes expected, data_offsets are {list(offsets)}")
    return Place(dtype, shape, *offsets)


def _counts(path: Path, name: str, found: Any) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(type(count) is int and 0 <= count < 2**63 for count in found):
        raise SafetensorsError(f"{path}: {name}: expected whole numbers from 0 to 2**63, got {found!r}")
    return tuple(found)


def _view(pages: mmap.mmap, base: int, place: Place) -> Tensor:
    """-> the tensor of this place, of place.shape, over the file's own pages."""
    count = math.prod(place.shape)
    if not count:
        return torch.empty(place.shape, dtype=place.dtype)
    if (base + place.start) % place.dtype.itemsize:  # legal where an old writer did not align; torch wants it aligned
        copied = bytearray(pages[base + place.start : base + place.end])
        return torch.frombuffer(copied, dtype=place.dtype).view(place.shape)
    return torch.frombuffer(pages, dtype=place.dtype, count=count, offset=base + place.start).view(place.shape)


def write(path: Path | str, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors, the widest types first so that all are aligned; the same tensors make the same bytes."""
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {METADATA: metadata} if metadata else {}
    at = 0
    for name in order:
        tensor = tensors[name]
        end = at + tensor.numel() * tensor.dtype.itemsize
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with Path(path).open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            file.write(tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())

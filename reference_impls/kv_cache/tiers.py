"""Where offloaded segments lie: in the host's memory, or in files; each fetch copies into one of two kept buffers.

Fresh memory for every fetch may have to be mapped anew, page by page.
"""

import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from reference_impls.kv_cache.sealed import MemoryPlace, Parts

PIECE = 1 << 20
"""Bytes of one read: so many are still in a core's cache when they are copied out of the system's."""


class Buffers:
    """Two sets of tensors, or more, taken in turn: what was fetched last stays as it is while the next is fetched."""

    def __init__(self, device: torch.device, sets: int = 2) -> None:
        self.device = device
        self._sets: list[dict[int, Tensor]] = [{} for _ in range(sets)]
        self._turn = 0

    def take(self, parts: Parts) -> Parts:
        """Of the shapes and types of these; they hold anything. The oldest set, of two that before last, is reused."""
        self._turn = (self._turn + 1) % len(self._sets)
        return tuple(self._one(number, part) for number, part in enumerate(parts))

    def _one(self, number: int, like: Tensor) -> Tensor:
        held = self._sets[self._turn].get(number)
        if held is None or held.shape[1:] != like.shape[1:] or held.dtype != like.dtype or len(held) < len(like):
            held = self._sets[self._turn][number] = torch.empty_like(like, device=self.device)
        return held[: len(like)]


class HostPlace(MemoryPlace):
    """In main memory, pinned where the device is a GPU."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.buffers = device, Buffers(device)

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`."""
        super().put(layer, tuple(part.cpu() for part in parts))
        if self.device.type == "cuda":
            self.held[layer] = tuple(part.pin_memory() for part in self.held[layer])

    def get(self, layer: int) -> Parts:
        """As `Place.get`; the second fetch from now writes over it."""
        parts = self.held[layer]
        return tuple(target.copy_(part) for target, part in zip(self.buffers.take(parts), parts, strict=True))


class DiskPlace:
    """A file for each layer, segment by segment with all its parts, in a folder that goes with this object.

    page_cache: whether the system may keep what it has read in memory; else its pages are dropped before each fetch,
    so that the disk is read. Systems without posix_fadvise keep them.
    """

    def __init__(self, device: torch.device, *, page_cache: bool = True, sets: int = 2) -> None:
        self.device, self.page_cache = device, page_cache
        self._folder = tempfile.TemporaryDirectory(prefix="frugalfm-cache-")
        self.buffers = Buffers(torch.device("cpu"), sets)
        self._like: dict[int, Parts] = {}
        """Of each layer, its parts without segments: their shapes and types."""

    def put(self, layer: int, parts: Parts) -> None:
        """As `Place.put`."""
        held = tuple(part.cpu().contiguous() for part in parts)
        self._like[layer] = tuple(part[:0] for part in held)
        with self._path(layer).open("ab") as file:
            for segment in zip(*held, strict=True):
                file.writelines(map(_raw, segment))
            if not self.page_cache:
                file.flush()
                os.fsync(file.fileno())  # a page that is not written yet cannot be dropped

    def get(self, layer: int) -> Parts:
        """As `Place.get`; the second fetch from now writes over it."""
        count = self.count(layer)
        wanted = tuple(like.new_empty(1).expand(count, *like.shape[1:]) for like in self._like[layer])
        targets = self.buffers.take(wanted)
        with self._path(layer).open("rb", buffering=0) as file:
            if not self.page_cache:
                drop_pages(file)
            for segment in zip(*targets, strict=True):
                for part in segment:
                    fill(part, file)
        return tuple(target.to(self.device) for target in targets)

    def keep(self, layer: int, count: int) -> None:
        """As `Place.keep`."""
        if layer in self._like:
            with self._path(layer).open("r+b") as file:
                file.truncate(count * self._segment_bytes(layer))

    def count(self, layer: int) -> int:
        """Segments of a layer."""
        return self._path(layer).stat().st_size // self._segment_bytes(layer) if layer in self._like else 0

    @property
    def nbytes(self) -> int:
        """As `Place.nbytes`."""
        return sum(path.stat().st_size for path in Path(self._folder.name).iterdir())

    def _path(self, layer: int) -> Path:
        return Path(self._folder.name) / str(layer)

    def _segment_bytes(self, layer: int) -> int:
        return sum(like.element_size() * like.shape[1:].numel() for like in self._like[layer])


def fill(target: Tensor, file: BinaryIO) -> None:
    """Read as many bytes as the tensor has into it, without a copy between."""
    room = _raw(target)
    while room.nbytes:
        got = file.readinto(room[:PIECE])  # type: ignore[attr-defined]
        if not got:
            raise EOFError(f"{file.name}: {room.nbytes} bytes are missing at its end")
        room = room[got:]


def drop_pages(file: BinaryIO) -> None:
    """Let the system forget what it keeps of a file in memory."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _raw(tensor: Tensor) -> memoryview:
    """A contiguous tensor's own bytes."""
    numbers: Any = tensor.flatten().view(torch.uint8).numpy()
    return memoryview(numbers)

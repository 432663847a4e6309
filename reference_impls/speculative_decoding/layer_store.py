"""Where the layers of a target lie while they are not computed: on the disk, or in the host's memory beside a GPU.

Paper: arXiv 2309.04255, section 2.2 (weights loaded anew for every token); 2303.06865, section 3 (FlexGen: from the
    host's memory to the GPU).
Idea: a layer is asked for by its number, arrives in a thread of its own, and its bytes are counted.
Symbols: nothing beyond the axes' names.
Simplified: whole layers are the unit; one reader.
Differs: a stated rate may slow the reading down, to stand for a slower disk or link; it is recorded with every result.
Cost: the bytes of a layer for every fetch; two buffers on the GPU.
Checked against: the same layers in memory; a count of bytes.
"""

import os
import time
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reference_impls.models import safetensors_file
from reference_impls.models.decoder import Decoder

Weights = dict[str, Tensor]


class Store(Protocol):
    """The layers of one model. `held`: what a fetched layer takes until it is unpacked, in bytes, by layer."""

    held: list[int]
    unpacked: int
    """Bytes of the largest layer when it computes."""

    def rest(self) -> Weights:
        """What is no layer: embedding, last norm, head; it stays in memory."""
        ...

    def fetch(self, layer: int) -> Weights:
        """Bring a layer here; called by the reader's thread."""
        ...

    def unpack(self, layer: int, fetched: Weights) -> Weights:
        """As the layer computes with it; called by the computing thread."""
        ...

    def done(self, layer: int) -> None:
        """The layer's work was given out; its place may be used again after that work."""
        ...


def split(model: Decoder) -> tuple[list[Weights], Weights]:
    """-> every layer, and what is no layer; a tied head is left out."""
    rest = {name: value for name, value in model.state_dict().items() if not name.startswith("blocks.")}
    if model.config.tied:
        rest.pop("head.weight")
    return [dict(block.state_dict()) for block in model.blocks], rest


def nbytes(weights: Weights) -> int:
    """Of all tensors."""
    return sum(value.nbytes for value in weights.values())


def write_layers(model: Decoder, folder: Path) -> None:
    """One file a layer, `rest.safetensors` for the others."""
    folder.mkdir(parents=True, exist_ok=True)
    layers, rest = split(model)
    for layer, weights in enumerate(layers):
        safetensors_file.write(folder / f"layer-{layer}.safetensors", weights)
    safetensors_file.write(folder / "rest.safetensors", rest)


class DiskStore:
    """Files that `write_layers` wrote. Read from the disk and not from the page cache, no faster than `bytes_per_s`."""

    def __init__(self, folder: Path, layers: int, bytes_per_s: float | None = None) -> None:
        self.folder, self.bytes_per_s = folder, bytes_per_s
        self.held = [nbytes(read_uncached(self.path(layer))) for layer in range(layers)]
        self.unpacked = max(self.held)

    def path(self, layer: int) -> Path:
        """Of the layer's file."""
        return self.folder / f"layer-{layer}.safetensors"

    def rest(self) -> Weights:
        """As in `Store`."""
        return read_uncached(self.folder / "rest.safetensors")

    def fetch(self, layer: int) -> Weights:
        """As in `Store`."""
        start = time.perf_counter()
        weights = read_uncached(self.path(layer))
        slow_down(nbytes(weights), self.bytes_per_s, start)
        return weights

    def unpack(self, layer: int, fetched: Weights) -> Weights:  # noqa: ARG002
        """As in `Store`."""
        return fetched

    def done(self, layer: int) -> None:
        """As in `Store`."""


class HostStore:
    """Layers in the host's memory, pinned where there is a GPU, copied into one of two buffers on a stream of its own.

    On the CPU the copies are plain ones, so that the order of events can be tested without a GPU.
    """

    def __init__(self, model: Decoder, device: torch.device | str, bytes_per_s: float | None = None) -> None:
        self.device, self.bytes_per_s = torch.device(device), bytes_per_s
        self.is_cuda = self.device.type == "cuda"
        layers, rest = split(model)
        self.layers = [{name: self._pinned(value) for name, value in layer.items()} for layer in layers]
        self._rest = {name: value.to(self.device) for name, value in rest.items()}
        self.held = [nbytes(layer) for layer in self.layers]
        self.unpacked = max(self.held)
        self.buffers = [
            {name: torch.empty_like(value, device=self.device) for name, value in self.layers[0].items()}
            for _ in range(2)
        ]
        self.stream = torch.cuda.Stream(self.device) if self.is_cuda else None  # type: ignore[no-untyped-call]
        self.free: list[torch.cuda.Event | None] = [None, None]

    def _pinned(self, value: Tensor) -> Tensor:
        return value.cpu().pin_memory() if self.is_cuda else value

    def rest(self) -> Weights:
        """As in `Store`."""
        return self._rest

    def fetch(self, layer: int) -> Weights:
        """As in `Store`: after the work that used the buffer before, and beside the work that goes on."""
        start = time.perf_counter()
        place = layer % 2
        target, source = self.buffers[place], self.layers[layer]
        if self.stream is None:
            for name, value in source.items():
                target[name].copy_(value)
        else:
            with torch.cuda.stream(self.stream):
                if (event := self.free[place]) is not None:
                    self.stream.wait_event(event)
                for name, value in source.items():
                    target[name].copy_(value, non_blocking=True)
                arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
                arrived.record(self.stream)
            arrived.synchronize()
        slow_down(self.held[layer], self.bytes_per_s, start)
        return target

    def unpack(self, layer: int, fetched: Weights) -> Weights:  # noqa: ARG002
        """As in `Store`."""
        return fetched

    def done(self, layer: int) -> None:
        """As in `Store`."""
        if self.is_cuda:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(self.device))
            self.free[layer % 2] = event


def slow_down(size: int, bytes_per_s: float | None, start: float) -> None:
    """Sleep until `size` bytes at the rate would have taken since `start` (of time.perf_counter)."""
    if bytes_per_s is not None:
        time.sleep(max(0.0, size / bytes_per_s - (time.perf_counter() - start)))


def read_uncached(path: Path) -> Weights:
    """The tensors of a file, copied; its pages are dropped from the cache before and after."""
    _drop(path)
    mapped, _ = safetensors_file.read(path)
    weights = {name: value.clone() for name, value in mapped.items()}
    del mapped
    _drop(path)
    return weights


def _drop(path: Path) -> None:
    if not hasattr(os, "posix_fadvise"):
        return  # the cache then helps every contender alike
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)

"""A target that does not fit in memory: its layers come from files, pass by pass, under a budget of bytes.

Paper: arXiv 2309.04255, sections 2.2 (weights are loaded anew for every token) and 3.4 (loading beside computing).
Idea: some layers stay, the others are read in turn; one thread reads ahead while another computes.
Symbols: nothing beyond the axes' names.
Simplified: whole layers are the unit; embedding, head and last norm always stay.
Differs: a stated rate may slow the reading down, to stand for a slower disk; it is recorded with every result.
Cost: the bytes of the layers that do not stay, read once in every pass.
Checked against: the same model in memory; a count of bytes; the budget.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reference_impls.models import safetensors_file
from reference_impls.models.cache import Cache, ContiguousCache
from reference_impls.models.decoder import Block, Decoder, rotation
from reference_impls.models.decoder import Config as Shape

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Config:
    """budget_bytes: of all weights held at a time; ahead: read the next layer while this one computes;
    bytes_per_s: slow the reading down to this rate, None: as fast as the disk gives."""

    budget_bytes: int
    ahead: bool = True
    bytes_per_s: float | None = None

    def __post_init__(self) -> None:
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise ValueError(f"bytes_per_s must be above 0, got {self.bytes_per_s}")


@dataclass
class Log:
    """What the passes cost so far."""

    passes: int = 0
    bytes_read: int = 0
    wait_s: float = 0.0
    """Seconds in which the computing thread had nothing to do, or drafted."""
    peak_bytes: int = 0


def write_layers(model: Decoder, folder: Path) -> None:
    """One file a layer, `rest.safetensors` for the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for layer, block in enumerate(model.blocks):
        safetensors_file.write(folder / f"layer-{layer}.safetensors", dict(block.state_dict()))
    rest = {name: value for name, value in model.state_dict().items() if not name.startswith("blocks.")}
    if model.config.tied:
        rest.pop("head.weight")
    safetensors_file.write(folder / "rest.safetensors", rest)


class StreamedDecoder:
    """Computes what `Decoder` computes, with most of its layers on the disk.

    idle: called again and again while a layer is awaited, until it returns False; it may draft meanwhile.
    """

    def __init__(self, folder: Path, shape: Shape, config: Config) -> None:
        self.config, self.shape, self.folder = shape, shape, folder
        self.stream = config
        self.log = Log()
        self.idle: Callable[[], bool] | None = None
        rest = _read(folder / "rest.safetensors")
        self.dtype = rest["norm.weight"].dtype
        self.embedding, self.norm_weight = rest["embedding.weight"], rest["norm.weight"]
        self.head = nn.Linear(shape.hidden, shape.vocab, bias=False, device="meta")
        self.head.weight = nn.Parameter(rest.get("head.weight", self.embedding), requires_grad=False)
        with torch.device("meta"):
            self.blocks = [Block(shape, layer) for layer in range(shape.layers)]
            self.norm = Decoder(shape).norm
        self.rest_bytes = sum(value.nbytes for value in rest.values())
        self.layer_bytes = max(sum(value.nbytes for value in _read(path).values()) for path in self._paths())
        self.resident = {layer: _read(self._path(layer)) for layer in range(self._fitting())}
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="layers")

    def _path(self, layer: int) -> Path:
        return self.folder / f"layer-{layer}.safetensors"

    def _paths(self) -> list[Path]:
        return [self._path(layer) for layer in range(self.shape.layers)]

    def _fitting(self) -> int:
        """Layers that may stay, beside the one that computes and the one that is read."""
        buffers = 2 if self.stream.ahead else 1
        room = self.stream.budget_bytes - self.rest_bytes - buffers * self.layer_bytes
        if room < 0:
            least = self.rest_bytes + buffers * self.layer_bytes
            raise ValueError(f"budget_bytes must be at least {least:,}, got {self.stream.budget_bytes:,}")
        return int(min(self.shape.layers, room // self.layer_bytes))

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> ContiguousCache:
        """As `Decoder.new_cache`."""
        c = self.shape
        return ContiguousCache(c.layers, batch, c.kv_heads, capacity or c.max_positions, c.head_dim, self.dtype)

    @torch.no_grad()
    def hidden_states(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As `Decoder.hidden_states`."""
        if positions is None:
            start = 0 if cache is None else cache.length
            positions = torch.arange(start, start + tokens.shape[1])
        turn = rotation(positions, self.shape.head_dim, self.shape.rope_theta)
        x = self.embedding[tokens]
        coming: Future[Weights] | None = None
        self.log.passes += 1
        for layer, block in enumerate(self.blocks):
            weights = self.resident.get(layer)
            if weights is None:
                weights = self._await(coming or self.reader.submit(self._fetch, layer))
                following = layer + 1
                ahead = self.stream.ahead and following < len(self.blocks)
                coming = self.reader.submit(self._fetch, following) if ahead else None
                self._count(weights, coming is not None)
            elif self.stream.ahead and coming is None and layer + 1 == len(self.resident) < len(self.blocks):
                coming = self.reader.submit(self._fetch, layer + 1)
            x = functional_call(block, weights, (x, turn, cache, mask))
        out: Tensor = functional_call(self.norm, {"weight": self.norm_weight}, (x,))
        return out

    def _await(self, coming: "Future[Weights]") -> Weights:
        start = time.perf_counter()
        while self.idle is not None and not coming.done() and self.idle():
            pass
        weights = coming.result()
        self.log.wait_s += time.perf_counter() - start
        return weights

    def _fetch(self, layer: int) -> Weights:
        """Read a layer from the disk, not from the page cache, no faster than the stated rate."""
        start = time.perf_counter()
        weights = _read(self._path(layer))
        size = sum(value.nbytes for value in weights.values())
        self.log.bytes_read += size
        if self.stream.bytes_per_s is not None:
            time.sleep(max(0.0, size / self.stream.bytes_per_s - (time.perf_counter() - start)))
        return weights

    def _count(self, weights: Weights, another: bool) -> None:
        """Note the weights held: those that stay, the layer at hand, and one that may be on its way."""
        here = sum(value.nbytes for value in weights.values()) + (self.layer_bytes if another else 0)
        held = self.rest_bytes + self.layer_bytes * len(self.resident) + here
        self.log.peak_bytes = max(self.log.peak_bytes, held)


def _read(path: Path) -> Weights:
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

"""A paged cache: many sequences of different lengths in one pool of blocks, given to the decoder as one batch.

Paper: arXiv 2309.06180, section 4.1 (attention over blocks that need not lie together).
Idea: keys and values lie in blocks of `tokens_per_block` tokens; a table says which blocks make up a sequence.
Symbols: nothing beyond the axes' names.
Simplified: a step gathers the blocks of its sequences into one tensor; within `attention.paged_decode.in_place` passes
    of one new token read them where they lie.
Differs: a block holds all layers, so that swapping or copying it is one contiguous copy.
Cost: 2 * layers * tokens_per_block * kv_heads * head_dim numbers a block; the gather reads and writes what is attended.
Checked against: the contiguous cache, for every sequence on its own; forks, swaps and shared prefixes change no token.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_impls.kv_cache.blocks import BlockManager, Config, Copy, OutOfBlocksError, Sequence
from reference_impls.kv_cache.shape import CacheShape

__all__ = ["IDENTITY", "Config", "OutOfBlocksError", "PagedCache", "PagedPool", "Sequence", "new_cache"]
IDENTITY = Config()
"""Paging changes no value, so every setting is exact."""


@dataclass(frozen=True)
class Step:
    """Where the new tokens of one pass go and what its attention reads.

    places: of each layer (new * 2 * kv_heads,), where keys and values of each new token go, counted in vectors of
    head_dim, in the order of rows and columns; picked: (new, 2), the (row, column) of each where rows have different
    numbers of new tokens, else None; table: (rows, row_blocks); ends: (rows,), tokens of each after the pass;
    kv_seq: the most of these
    """

    places: tuple[Tensor, ...]
    picked: Tensor | None
    table: Tensor
    ends: Tensor
    kv_seq: int


class PagedPool:
    """The memory, and the sequences in it. A face for a serving engine: new_sequence, batch, and those below."""

    def __init__(self, shape: CacheShape, config: Config = IDENTITY) -> None:
        """The batch and capacity of `shape` are not used: sequences come and go, and blocks are the capacity."""
        self.shape, self.config, self.manager = shape, config, BlockManager(config)
        block = (shape.layers, 2, shape.kv_heads, config.tokens_per_block, shape.head_dim)
        # zeros: what a mask hides is still multiplied by 0, which must not meet a NaN
        self.storage = _zeros((config.device_blocks, *block), shape.dtype, shape.device)
        self.host = _zeros((config.host_blocks, *block), shape.dtype)
        if self.storage.is_cuda and config.host_blocks:
            self.host = self.host.pin_memory()
        self.vectors = self.storage.view(-1, shape.head_dim)
        """The same memory as one row of vectors, by block, layer, keys or values, head and slot."""
        self.layers = [(layer[:, 0].transpose(1, 2), layer[:, 1].transpose(1, 2)) for layer in self.storage.unbind(1)]
        """Views of each layer's keys and values, (blocks, tokens_per_block, kv_heads, head_dim) each."""
        self._unfinished: list[Any] = []

    @property
    def bytes_per_block(self) -> int:
        """Keys and values of all layers."""
        return self.storage[0].nbytes

    def new_sequence(self) -> Sequence:
        """An empty one; it holds no block yet."""
        return self.manager.new_sequence()

    def batch(self, sequences: Many[Sequence], new_tokens: Many[int] | None = None) -> "PagedCache":
        """These sequences as the cache of one pass or of several; new_tokens: see `PagedCache`."""
        return PagedCache(self, sequences, new_tokens)

    def fork(self, sequence: Sequence) -> Sequence:
        """A second sequence with the same tokens, which shares all blocks until one of the two writes."""
        return self.manager.fork(sequence)

    def free(self, sequence: Sequence) -> None:
        """Give all its blocks back: finished, cancelled or preempted for recomputation."""
        self.manager.free(sequence)

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Keep its first `length` tokens."""
        self.manager.truncate(sequence, length)

    def swap_out(self, sequence: Sequence, stream: Any = None) -> int:
        """Move it to the host, on a CUDA stream of the caller's where one is given. -> bytes moved."""
        return self._swap(self.manager.swap_out(sequence), self.storage, self.host, stream)

    def swap_in(self, sequence: Sequence, stream: Any = None) -> int:
        """Move it back. -> bytes moved."""
        return self._swap(self.manager.swap_in(sequence), self.host, self.storage, stream)

    def _swap(self, copies: list[Copy], source: Tensor, target: Tensor, stream: Any) -> int:
        """Copy whole blocks. What runs on a stream of its own is waited for before blocks are used again."""
        if stream is None:
            self.wait()
            copy_blocks(copies, source, target)
        else:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                copy_blocks(copies, source, target)
                self._unfinished.append(stream.record_event())
        return len(copies) * self.bytes_per_block

    def wait(self) -> None:
        """Let the current stream (not the host) wait for swaps that run on other streams."""
        for event in self._unfinished:
            torch.cuda.current_stream().wait_event(event)
        self._unfinished.clear()


def _zeros(axes: tuple[int, ...], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Zeros; those of a CPU take memory only as they are written."""
    if torch.device(device).type != "cpu":
        return torch.zeros(axes, dtype=dtype, device=device)
    # NumPy asks the system for zeroed memory and for large pages of it; torch writes the zeros itself.
    line, needed = 64, math.prod(axes) * dtype.itemsize
    memory = torch.from_numpy(np.zeros(needed + line, np.uint8))
    start = -memory.data_ptr() % line
    return memory[start : start + needed].view(dtype).view(axes)


def copy_blocks(copies: list[Copy], source: Tensor, target: Tensor) -> None:
    """Copy blocks one by one, each in one piece. source, target: (blocks, layers, 2, kv_heads, ...)."""
    for read, write in copies:
        target[write].copy_(source[read], non_blocking=True)


class PagedCache:
    """Some sequences of a pool as the cache of a batch: what a decoder asks of a cache, and `inputs` beside it.

    Rows of different lengths start at slot 0 and differ in their ends, so the decoder needs `inputs`:

        cache = pool.batch([a, b]); logits = model(tokens, cache, *cache.inputs(tokens.shape[1]))

    Where all rows are equally long, `model(tokens, cache)` does. Rows may also take different numbers of new tokens in
    one pass (prefill of one beside decode of another): give `new_tokens`, and pad `tokens` on the left.
    """

    def __init__(self, pool: PagedPool, sequences: Many[Sequence], new_tokens: Many[int] | None = None) -> None:
        if new_tokens is not None and len(new_tokens) != len(sequences):
            raise ValueError(
                f"new_tokens: expected one number for each of {len(sequences)} rows, got {len(new_tokens)}"
            )
        self.pool, self.sequences, self.new_tokens = pool, [*sequences], new_tokens
        self._ahead = [0] * pool.shape.layers  # columns that a layer holds beyond what all layers hold
        self._steps: dict[tuple[int, int], Step] = {}
        self.gathers = True
        """False: one new token a row is only stored, for an attention that reads through the table of `newest`."""
        self.newest: Step
        """What the last `append` did; there is none before the first."""
        self.mask: Tensor | None = None
        """What the last `inputs` made."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row that every layer holds."""
        return [one.length for one in self.sequences]

    @property
    def length(self) -> int:
        """Tokens of the shortest row."""
        return min(self.lengths)

    def inputs(self, q_seq: int) -> tuple[Tensor, Tensor]:
        """Positions and mask of the next pass. -> (rows, q_seq), bool (rows, 1, q_seq, kv_seq), True = may be seen."""
        device = self.pool.shape.device
        new = self._new(q_seq)
        ends = torch.tensor([held + more for held, more in zip(self.lengths, new, strict=True)], device=device)
        positions = (ends[:, None] - q_seq + torch.arange(q_seq, device=device)).clamp(min=0)
        if self.new_tokens is not None:  # padding looks at slot 0, so that none of its rows is empty
            padding = torch.arange(q_seq, device=device) < q_seq - torch.tensor(new, device=device)[:, None]
            positions = positions.masked_fill(padding, 0)
        slots = torch.arange(int(ends.max()), device=device)
        self.mask = slots <= positions[:, None, :, None]
        return positions, self.mask

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens, in new blocks where needed; OutOfBlocksError leaves everything as it was.

        keys, values: (rows, kv_heads, q_seq, head_dim) -> (rows, kv_heads, kv_seq, head_dim) each; slots behind a
        row's end hold anything finite
        """
        q_seq = keys.shape[2]
        self.newest = step = self.step(layer, q_seq)
        new = torch.stack([keys, values], 1).permute(0, 3, 1, 2, 4)  # (rows, q_seq, 2, kv_heads, head_dim)
        new = new if step.picked is None else new[step.picked[:, 0], step.picked[:, 1]]
        self.pool.vectors.index_copy_(0, step.places[layer], new.reshape(-1, keys.shape[3]))
        self._advance(layer, q_seq)
        if not self.gathers and q_seq == 1:
            return keys, values
        read_keys, read_values = (self._gather(layer, which, step) for which in (0, 1))
        return read_keys, read_values

    def crop(self, length: int) -> None:
        """Keep at most the first `length` tokens of every row, and drop what a pass that was cut short left behind."""
        if not 0 <= length <= max(self.lengths):
            raise ValueError(f"crop keeps 0 to {max(self.lengths)} tokens (what is held), got {length}")
        self._ahead = [0] * len(self._ahead)
        self._steps.clear()
        for one in self.sequences:
            self.pool.truncate(one, min(length, one.length))

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copy tokens to other slots of their row (accepted branches of a tree). sources, targets: (rows, n) slots."""
        wide = self.pool.config.tokens_per_block
        places = []
        for slots in (sources, targets):
            table = self._table()
            rows = torch.arange(len(slots), device=table.device)[:, None]
            places.append((table[rows, slots.to(table.device) // wide], slots.to(table.device) % wide))
        (read, read_offsets), (write, write_offsets) = places
        self.pool.storage[write, :, :, :, write_offsets] = self.pool.storage[read, :, :, :, read_offsets]

    def step(self, layer: int, q_seq: int) -> Step:
        """Where the next `q_seq` columns of a layer go; made for its first layer and kept for the others."""
        key = (self._ahead[layer], q_seq)
        if key not in self._steps:
            self._steps[key] = self._plan(*key)
        return self._steps[key]

    def _new(self, q_seq: int) -> list[int]:
        """New tokens of each row in a pass of `q_seq` columns."""
        if self.new_tokens is None:
            return [q_seq] * len(self.sequences)
        if max(self.new_tokens) != q_seq or min(self.new_tokens) < 1:
            raise ValueError(f"new_tokens must be 1 to the {q_seq} columns of the pass, got {[*self.new_tokens]}")
        return [*self.new_tokens]

    def _plan(self, ahead: int, q_seq: int) -> Step:
        if ahead and self.new_tokens is not None:
            raise ValueError("rows with different numbers of new tokens must pass all layers before the next pass")
        new = self._new(q_seq)
        starts = [held + ahead for held in self.lengths]
        ends = [start + more for start, more in zip(starts, new, strict=True)]
        copies = self.pool.manager.reserve(zip(self.sequences, starts, ends, strict=True))
        self.pool.wait()
        copy_blocks(copies, self.pool.storage, self.pool.storage)
        wide, shape = self.pool.config.tokens_per_block, self.pool.shape
        slots = [
            (one.blocks[slot // wide], slot % wide)
            for one, start, end in zip(self.sequences, starts, ends, strict=True)
            for slot in range(start, end)
        ]
        picked = None
        if self.new_tokens is not None:
            picked = [(row, column) for row, more in enumerate(new) for column in range(q_seq - more, q_seq)]
        # In NumPy, whose operations on a few numbers take a fraction of torch's; this runs once a pass.
        blocks, offsets = np.array(slots).T[:, :, None]
        layers, heads = np.arange(shape.layers)[:, None, None], np.arange(2 * shape.kv_heads)
        places = ((blocks * shape.layers + layers) * len(heads) + heads) * wide + offsets  # (layers, new, 2 * kv_heads)
        return Step(
            self._on_device(places.reshape(shape.layers, -1)).unbind(),
            None if picked is None else self._on_device(picked),
            self._table(max(ends)),
            self._on_device(ends),
            max(ends),
        )

    def _on_device(self, numbers: Any) -> Tensor:
        return torch.from_numpy(np.asarray(numbers)).to(self.pool.shape.device)

    def _table(self, length: int | None = None) -> Tensor:
        """Block tables as one tensor, filled up with block 0. -> (rows, row_blocks)"""
        width = max(len(one.blocks) for one in self.sequences)
        if length is not None:
            width = self.pool.manager.blocks_for(length)
        rows = [(one.blocks + [0] * width)[:width] for one in self.sequences]
        return self._on_device(rows)

    def _advance(self, layer: int, q_seq: int) -> None:
        self._ahead[layer] += q_seq
        done = min(self._ahead)
        if done:
            for one, more in zip(self.sequences, self._new(done), strict=True):
                one.length += more
            self._ahead = [ahead - done for ahead in self._ahead]
            self._steps.clear()

    def _gather(self, layer: int, which: int, step: Step) -> Tensor:
        """Keys (0) or values (1) of a layer. -> (rows, kv_heads, kv_seq, head_dim), a copy"""
        heads, wide, dim = self.pool.storage.shape[3:]
        runs = self.pool.storage.view(-1, wide * dim)  # of one block and head
        first = (step.table[:, None] * self.pool.shape.layers + layer) * 2 + which
        pieces = first * heads + torch.arange(heads, device=runs.device)[:, None]  # (rows, kv_heads, row_blocks)
        found = runs.index_select(0, pieces.flatten())
        return found.view(len(self.sequences), heads, -1, dim)[:, :, : step.kv_seq]


def new_cache(shape: CacheShape, config: Config = IDENTITY) -> PagedCache:
    """A pool that holds `shape.batch` sequences of `shape.capacity` tokens, and these sequences as its batch."""
    per_row = -(-shape.capacity // config.tokens_per_block)
    enough = Config(config.tokens_per_block, shape.batch * per_row, config.host_blocks)
    pool = PagedPool(shape, enough)
    return pool.batch([pool.new_sequence() for _ in range(shape.batch)])
